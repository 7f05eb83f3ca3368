"""Named tensors in one file, with checksums of every bit.

The file is a safetensors file: 8 bytes with the length of a header, the header in JSON, then the
tensors. The format has no checksums, so its metadata holds them: "sha256" is the SHA-256 of every
tensor, and "digest" is that of the length and the header, with zeros in place of the digest. The
same tensors always give the same bytes; the library safetensors does not write this file because it
orders the metadata at random.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from ..core.checks import check_path
from ..core.version import __version__
from . import atomic

FORMAT = "1"  # version of the metadata
ZEROS = "0" * 64
MAX_HEADER = 100_000_000  # bytes, the limit of the library safetensors
MAX_TENSORS = 100_000  # which take 3 s and 300 MB to read, however empty they are

DTYPES = {
    "BOOL": jnp.dtype(jnp.bool_),
    "U8": jnp.dtype(jnp.uint8),
    "U16": jnp.dtype(jnp.uint16),
    "U32": jnp.dtype(jnp.uint32),
    "U64": jnp.dtype(jnp.uint64),
    "I8": jnp.dtype(jnp.int8),
    "I16": jnp.dtype(jnp.int16),
    "I32": jnp.dtype(jnp.int32),
    "I64": jnp.dtype(jnp.int64),
    "F8_E4M3": jnp.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": jnp.dtype(jnp.float8_e5m2),
    "F8_E8M0": jnp.dtype(jnp.float8_e8m0fnu),
    "F16": jnp.dtype(jnp.float16),
    "BF16": jnp.dtype(jnp.bfloat16),
    "F32": jnp.dtype(jnp.float32),
    "F64": jnp.dtype(jnp.float64),
    "C64": jnp.dtype(jnp.complex64),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


class CorruptFileError(ValueError):
    """The file is damaged, or of another kind than expected.

    Example:
        >>> import os, tempfile, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> fnet.save_weights(path, {"kernel": 1.0})
        >>> os.truncate(path, 200)
        >>> try:
        ...     fnet.load_weights(path)
        ... except fnet.CorruptFileError:
        ...     print("use another copy")
        use another copy
    """


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata, with checksums of both.

    Raises:
        TypeError: the format does not have the dtype of a tensor.
        ValueError: the format reserves the name of a tensor, there are too many, or the header is
            too long.
        OSError: as `atomic.write`.
    """
    check_tensors(tensors)
    if len(tensors) > MAX_TENSORS:
        raise ValueError(
            f"a file must hold at most {MAX_TENSORS} tensors, got {len(tensors)}. Stack tensors of "
            f"the same shape, as fnet.scan_layers does."
        )
    # Wide dtypes come first, so that each tensor is aligned to its item size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": {}}
    parts, sums, end = [], {}, 0
    for name, tensor in ordered:
        parts.append(data := flat(tensor))
        sums[name] = hashlib.sha256(data).hexdigest()
        header[name] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end := end + len(data)],
        }
    marks = {
        "digest": ZEROS,
        "fnet": FORMAT,
        "version": __version__,
        "sha256": json.dumps(sums),
    }
    header["__metadata__"] = {**marks, **metadata}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"names, shapes and metadata must fit into {MAX_HEADER} bytes, got {len(text)}. Stack "
            f"tensors of the same shape, as fnet.scan_layers does."
        )
    length = len(text).to_bytes(8, "little")
    text = text.replace(ZEROS.encode(), digest(text).encode(), 1)
    atomic.write(path, [length, text, *parts])


def check_tensors(tensors: Mapping[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise ValueError(
                f"names of tensors must differ from {name}, which the format reserves, got "
                f"{name}. Rename the tensor."
            )
        if tensor.dtype not in CODES:
            raise TypeError(
                f"{name} must have a dtype of safetensors, {', '.join(map(str, CODES))}, "
                f"got {tensor.dtype}. Convert it with astype."
            )


def digest(header: bytes) -> str:
    return hashlib.sha256(len(header).to_bytes(8, "little") + header).hexdigest()


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; every bit is checked if fnet wrote it.

    The metadata of a file from another program lacks "fnet"; nothing tells whether such a file is
    intact.

    Raises:
        CorruptFileError: the file is damaged or not a safetensors file.
        OSError: the file does not exist or cannot be read.
    """
    import safetensors

    path = check_path("path", path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        end = 8 + int.from_bytes(start, "little")
        if len(start) < 8 or end > min(size, 8 + MAX_HEADER):
            corrupt(path, f"{size} bytes that do not begin with the length of a header")
        file.seek(0)
        data = file.read()
    if (count := data.count(b'"data_offsets"', 8, end)) > MAX_TENSORS:
        corrupt(path, f"{count} tensors, which are more than {MAX_TENSORS}")
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        header = json.loads(data[8:end], object_pairs_hook=distinct)
        metadata = header.get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError) as error:
        corrupt(path, f"a file that cannot be parsed ({str(error)[:200]})", error)
    sums = checksums(path, metadata, data[8:end])
    tensors, damaged = {}, []
    for name, entry in sorted(dict(entries).items()):  # deserialize returns them in random order
        if sums is not None and sums.get(name) != hashlib.sha256(entry["data"]).hexdigest():
            damaged.append(name or "its tensor")
        if entry["dtype"] not in DTYPES:
            corrupt(path, f"a tensor of dtype {entry['dtype']}, which JAX does not have")
        tensor = np.frombuffer(entry["data"], DTYPES[entry["dtype"]])
        try:
            tensors[name] = tensor.reshape(entry["shape"])
        except ValueError as error:
            corrupt(path, f"a tensor of {len(entry['shape'])} axes, too many for NumPy", error)
    if damaged:
        corrupt(path, f"changed bits in {', '.join(damaged)}")
    return tensors, metadata


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which a second entry of a name would hide the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise ValueError(f"two entries are called {twice[:100]!r}")
    return found


def check_kind(path: str | os.PathLike[str], metadata: Mapping[str, str], kind: str) -> None:
    if metadata.get("kind") != kind:
        raise CorruptFileError(
            f"`{os.fspath(path)}` must be an fnet file of the kind {kind!r}, got "
            f"{metadata.get('kind', 'no kind')!r}. Read files of fnet.save_weights with "
            f"fnet.load_weights, and files of fnet.save with fnet.load."
        )


def checksums(path: str, metadata: Mapping[str, str], text: bytes) -> dict[str, str] | None:
    """The checksums of the tensors, from an intact header; None for a file of another program."""
    # One flipped bit removes at most one of these keys.
    if "fnet" not in metadata and not {"digest", "sha256"} <= metadata.keys():
        return None
    found = metadata.get("digest", "")
    zeroed = text.replace(found.encode(errors="replace"), ZEROS.encode(), 1)
    if digest(zeroed) != found:
        corrupt(path, "changed bits in the header")
    if metadata.get("fnet") != FORMAT:
        corrupt(path, f"format {metadata.get('fnet')}, but this version of fnet reads {FORMAT}")
    try:
        return dict(json.loads(metadata["sha256"]))
    except (KeyError, ValueError, TypeError):
        corrupt(path, "no checksums of its tensors")


def flat(tensor: np.ndarray) -> memoryview:
    """The bytes of a tensor, in C order."""
    return np.asarray(tensor, order="C").reshape(-1).view(np.uint8).data


def corrupt(path: str, found: str, cause: Exception | None = None) -> NoReturn:
    raise CorruptFileError(
        f"`{path}` must be an intact safetensors file, got {found}. Read another copy, or save the "
        f"file again."
    ) from cause
