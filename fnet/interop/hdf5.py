"""HDF5 files as Keras 3 writes them; reading never leaves the file."""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.checks import check_path
from ..files.tensor_file import CorruptFileError
from .foreign import Form

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
MEMBER = "model.weights.h5"
OBJECTS = 50_000  # groups and arrays in one file; a layer of Keras has two to fourteen
DEPTH = 64
SPARE = 1 << 26  # bytes of a file besides the weights
OTHERS = {"seed_generator"}  # groups that hold no weights
FIX = "Write it again with model.save_weights of Keras 3, or get another copy."


class Arrays(NamedTuple):
    """The arrays of an open file, and their shapes and dtypes, by name."""

    path: str
    datasets: dict[str, Any]
    forms: dict[str, Form]

    def array(self, name: str) -> np.ndarray:
        with damaged(self.path):
            return np.asarray(self.datasets[name][()]).view(self.forms[name][1])


@contextmanager
def opened(path: str | os.PathLike[str], needed: int) -> Iterator[Arrays]:
    """The arrays of a `.weights.h5` or of a `.keras` with weights of `needed` bytes."""
    import h5py

    path = check_path("path", path)
    with open(path, "rb") as file:
        magic = file.read(len(HDF5))
        if magic != HDF5 and not magic.startswith(ZIP):
            raise CorruptFileError(
                f"{path} must be a .weights.h5 or a .keras file of Keras 3, got one that begins "
                f"with {magic!r}. {FIX}"
            )
        with damaged(path):
            group = h5py.File(file if magic == HDF5 else io.BytesIO(member(path, file, needed)))
        with group:
            with damaged(path):
                datasets = dict(walk(path, group))
                forms = {name: form(path, name, dataset) for name, dataset in datasets.items()}
            yield Arrays(path, datasets, forms)


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a file with these arrays."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as group:
        for name, array in arrays.items():
            dataset = group.create_dataset(name, data=array)
            if array.dtype == jnp.bfloat16:  # opaque to HDF5: Keras reads the attribute
                dataset.attrs["dtype"] = "bfloat16"
    return file.getvalue()


@contextmanager
def damaged(path: str) -> Iterator[None]:
    """Turn any error of a parser into a CorruptFileError."""
    try:
        yield
    except CorruptFileError:
        raise
    except Exception as error:
        raise CorruptFileError(
            f"{path} must be a file as Keras 3 writes it, got one that cannot be read "
            f"({type(error).__name__}: {error}). {FIX}"
        ) from error


def refusal(path: str, name: str, came: str) -> CorruptFileError:
    return CorruptFileError(
        f"{path} must hold plain arrays and groups, got {came} at {name[:200]!r}. {FIX}"
    )


def member(path: str, file: BinaryIO, needed: int) -> bytes:
    """The weights in a `.keras` archive; its other members are ignored."""
    most = 8 * needed + SPARE  # optimizers keep up to three more arrays, of 64 bits at most
    with zipfile.ZipFile(file) as archive:
        found = [info for info in archive.infolist() if info.filename == MEMBER]
        if len(found) != 1:
            raise refusal(path, MEMBER, f"{len(found)} members instead of one")
        info = found[0]
        if info.file_size > most:
            raise refusal(path, MEMBER, f"{info.file_size} bytes where {most} are more than enough")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refusal(path, MEMBER, f"compression of kind {info.compress_type}")
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)
    if len(content) != info.file_size or not content.startswith(HDF5):
        raise refusal(path, MEMBER, f"{len(content)} bytes that are not the HDF5 it says")
    return content


def walk(path: str, root: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset by name; only hard links are followed, as they cannot leave the file."""
    import h5py

    pending, objects = [("", root)], 0
    while pending:
        above, group = pending.pop()
        for own in group:
            name = f"{above}/{own}".removeprefix("/")
            if name == "optimizer" or own in OTHERS:
                continue
            objects += 1
            if objects > OBJECTS or name.count("/") > DEPTH:
                raise refusal(path, name, f"more than {OBJECTS} objects, or {DEPTH} levels")
            link = group.get(own, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise refusal(path, name, f"a link ({type(link).__name__})")
            item = group[own]
            if isinstance(item, h5py.Group):
                pending.append((name, item))
            elif isinstance(item, h5py.Dataset):
                yield name, item
            else:
                raise refusal(path, name, f"a {type(item).__name__}")


def form(path: str, name: str, dataset: Any) -> Form:
    """Shape and dtype of a dataset, which must be contiguous, as all those of Keras are.

    A contiguous dataset is no larger in memory than in the file, and does not use other files.
    """
    import h5py

    properties = dataset.id.get_create_plist()
    if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_external_count():
        raise refusal(path, name, "an array in chunks, elsewhere, or virtual")
    dtype = dataset.dtype
    if dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16":
        dtype = np.dtype(jnp.bfloat16)
    return dataset.shape, dtype
