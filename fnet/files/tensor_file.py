"""Tensors by name in one file, of which every bit is checked.

It is a safetensors file, so any reader of these opens it: 8 bytes that hold the length of a header,
the header in JSON, then the tensors. The format has no checksums, so they lie in its metadata: the
SHA-256 of every tensor under "sha256", and under "digest" that of the length and the header, with
zeros in place of this digest. The bytes follow from the tensors alone, which those of the library
safetensors do not, as it shuffles the metadata.
"""

import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from io import BufferedReader
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from . import atomic

FORMAT = "1"  # of the metadata
ZEROS = "0" * 64
MAX_HEADER = 100_000_000  # bytes, that of other readers of the format

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
    """A file that is damaged, or not of the kind that was asked for.

    Example:
        >>> import os, tempfile, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> fnet.save_weights(path, {"kernel": 1.0})
        >>> os.truncate(path, 200)
        >>> try:
        ...     fnet.load_weights(path)
        ... except fnet.CorruptFileError:
        ...     print("another copy, please")
        another copy, please
    """


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write the tensors and the metadata, with checksums of all of it.

    Raises:
        TypeError: a dtype that the format does not have.
        ValueError: a name that it keeps for itself, a header that no reader takes.
        OSError: as `atomic.write`.
    """
    check_tensors(tensors)
    # The wide ones first, so that each of them lies at a multiple of its own width.
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
        "version": version("fnet"),
        "sha256": json.dumps(sums),
    }
    header["__metadata__"] = {**marks, **metadata}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"names, shapes and metadata must fit into {MAX_HEADER} bytes, got {len(text)}. Stack "
            f"tensors that are alike, as fnet.scan_layers does."
        )
    length = len(text).to_bytes(8, "little")
    text = text.replace(ZEROS.encode(), digest(length, text).encode(), 1)
    atomic.write(path, [length, text, *parts])


def check_tensors(tensors: Mapping[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise ValueError(
                f"a tensor must not be called {name}, which the format keeps. Rename it."
            )
        if tensor.dtype not in CODES:
            raise TypeError(
                f"{name} must be of a dtype that safetensors has, {', '.join(map(str, CODES))}, "
                f"got {tensor.dtype}. Convert it with astype."
            )


def digest(length: bytes, header: bytes) -> str:
    return hashlib.sha256(length + header).hexdigest()


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file, and of one of fnet's every bit checked.

    The metadata of a file of another program has no "fnet" in it; nothing says whether such a file
    is as it was written.

    Raises:
        CorruptFileError: a file that is damaged or no safetensors file.
        OSError: one that is not there or cannot be read.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        end = 8 + int.from_bytes(start, "little")
        if len(start) < 8 or end > min(size, 8 + MAX_HEADER):
            corrupt(path, f"{size} bytes that do not begin with the length of a header")
        file.seek(0)
        data = file.read()
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        metadata = json.loads(data[8:end]).get("__metadata__") or {}
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
        corrupt(path, f"other bits than were written in {', '.join(damaged)}")
    return tensors, metadata


def check_kind(path: str | os.PathLike[str], metadata: Mapping[str, str], kind: str) -> None:
    if metadata.get("kind") != kind:
        raise CorruptFileError(
            f"`{os.fspath(path)}` must be a file of fnet's of the kind {kind!r}, got "
            f"{metadata.get('kind', 'no kind')!r}. Read weights with fnet.load_weights, and what "
            f"fnet.save wrote with fnet.load."
        )


def parsed(path: str, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
        if all(isinstance(value, str) for value in header.get("__metadata__", {}).values()):
            return header
    except (ValueError, AttributeError, RecursionError):
        pass
    corrupt(path, "a header that is not JSON of tensors")


def checksums(
    path: str, metadata: Mapping[str, str], length: bytes, text: bytes
) -> dict[str, str] | None:
    """Those of the tensors, once the header is known to be good; None in a foreign file."""
    # One flipped bit takes at most one of the marks away.
    if "fnet" not in metadata and not {"digest", "sha256"} <= metadata.keys():
        return None
    found = metadata.get("digest", "")
    zeroed = text.replace(found.encode(errors="replace"), ZEROS.encode(), 1)
    if digest(length, zeroed) != found:
        corrupt(path, "a header with other bits than were written")
    if metadata.get("fnet") != FORMAT:
        corrupt(path, f"format {metadata.get('fnet')} of fnet's files, where this fnet reads 1")
    try:
        return dict(json.loads(metadata["sha256"]))
    except (KeyError, ValueError, TypeError):
        corrupt(path, "no checksums of its tensors")


def check_spans(path: str, header: Mapping[str, Any], size: int) -> None:
    """Every entry is well formed, and together they cover the data without a gap."""
    end = 0
    try:
        for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
            begin, stop = entry["data_offsets"]
            shape, dtype = entry["shape"], DTYPES.get(entry["dtype"])
            if dtype is None:
                corrupt(path, f"a tensor of dtype {entry['dtype']!r}, which JAX does not have")
            if not all(type(n) is int and 0 <= n <= sys.maxsize for n in (begin, stop, *shape)):
                raise ValueError
            if begin != end or stop - begin != math.prod(shape) * dtype.itemsize:
                raise ValueError
            end = stop
    except CorruptFileError:
        raise
    except (KeyError, TypeError, ValueError):
        corrupt(path, "a header whose tensors do not lie one after the other")
    if end != size:
        corrupt(path, f"{size} bytes of data, where its header declares {end}")


def read_tensor(path: str, file: BufferedReader, entry: Mapping[str, Any]) -> np.ndarray:
    try:
        tensor = np.empty(entry["shape"], DTYPES[entry["dtype"]])
    except ValueError:
        corrupt(path, f"a tensor of {len(entry['shape'])} axes, which NumPy cannot hold")
    data = flat(tensor)
    if file.readinto(data) != len(data):
        corrupt(path, "an end before that of its tensors")
    return tensor


def flat(tensor: np.ndarray) -> memoryview:
    """The bytes of a tensor, in C order."""
    return np.asarray(tensor, order="C").reshape(-1).view(np.uint8).data


def corrupt(path: str, found: str) -> NoReturn:
    raise CorruptFileError(
        f"`{path}` must be a safetensors file as it was written, got {found}. Read another copy of "
        f"it, or save it anew."
    )
