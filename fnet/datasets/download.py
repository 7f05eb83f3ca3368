"""Find the files of a dataset on this machine, or download them to the cache."""

import contextlib
import gzip
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from ..core.user_cache import user_cache
from .idx_files import IdxFile

Split = tuple[NDArray[np.uint8], NDArray[np.int32]]

TIMEOUT = 10  # seconds without a byte before a connection counts as dead
PAUSES = (0, 1, 2)  # seconds before each round over the mirrors


@dataclass(frozen=True)
class Dataset:
    """Images and labels in four IDX files.

    Args:
        name: the dataset's name and that of its folder.
        mirrors: URLs that serve the gzipped files, each ending in a slash.
        files: train images, train labels, test images, test labels.
        folders: where an operating system's package puts the files.
    """

    name: str
    mirrors: tuple[str, ...]
    files: tuple[IdxFile, ...]
    folders: tuple[str, ...] = ()


def load(dataset: Dataset, data_dir: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load each file of a dataset from the first folder that has it, or else from a mirror."""
    folders = _folders(dataset, data_dir)
    arrays = (_load_file(dataset, file, folders) for file in dataset.files)
    x_train, y_train, x_test, y_test = arrays
    return (x_train, y_train.astype(np.int32)), (x_test, y_test.astype(np.int32))


def _folders(dataset: Dataset, data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The folders to search, in order; the last is the cache, whose unpacked files come first."""
    folders = [*map(Path, dataset.folders), user_cache() / dataset.name]
    if root := os.environ.get("FNET_DATA_DIR"):
        folders.insert(0, Path(root).expanduser() / dataset.name)
    if data_dir is not None:
        root_dir = Path(data_dir).expanduser()
        if not root_dir.is_dir():
            # A typo must not start a download.
            raise NotADirectoryError(
                f"`data_dir` must be an existing folder, got {str(data_dir)!r}. "
                "Correct the path, or leave `data_dir` out to use the cache."
            )
        # The subfolder comes first: files of another dataset may have the same names beside it.
        folders = [root_dir / dataset.name, root_dir, *folders]
    return folders


def folders_of(dataset: Dataset) -> list[Path]:
    """The folders where the files of a dataset lie; none if one of them has to be downloaded."""
    folders = _folders(dataset, None)
    found = [next(_found(file, folders), None) for file in dataset.files]
    return list(dict.fromkeys(path.parent for path in found if path)) if all(found) else []


def _found(file: IdxFile, folders: list[Path]) -> Iterator[Path]:
    """Where a file lies; first unpacked in the cache, which takes a quarter of the time to read."""
    yield from (path for path in [folders[-1] / file.name] if path.is_file())
    for folder in folders:
        for suffix in (".gz", ""):
            if (path := folder / f"{file.name}{suffix}").is_file():
                yield path


def _load_file(dataset: Dataset, file: IdxFile, folders: list[Path]) -> NDArray[np.uint8]:
    cache = folders[-1]
    unpacked = cache / file.name
    for path in _found(file, folders):
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb", 0) as stream:
                array = file.read(stream)
        except ValueError as error:
            if path.parent != cache:  # a damaged file in the cache is replaced
                raise ValueError(
                    f"{path} is not {file.name} of {dataset.name}: {error}. "
                    "Delete it to download an intact copy, or choose another folder."
                ) from error
            continue
        if path.suffix == ".gz":
            with contextlib.suppress(OSError):  # only the next time is slower
                _save(unpacked, file.header + array.tobytes())
        return array
    array = _fetch(dataset, file, folders)
    try:
        _save(unpacked, file.header + array.tobytes())
    except OSError as error:  # the data is loaded all the same
        warnings.warn(
            f"{cache} must be writable to cache {file.name}, got: {error}. The file is downloaded "
            f"again next time. Free some space, or set XDG_CACHE_HOME to a writable folder.",
            stacklevel=4,
        )
    return array


def _fetch(dataset: Dataset, file: IdxFile, folders: list[Path]) -> NDArray[np.uint8]:
    """Download one file, trying the mirrors in turn."""
    from http.client import HTTPException  # with urllib, half of the import time of fnet
    from urllib.error import HTTPError

    urls = [f"{mirror}{file.name}.gz" for mirror in dataset.mirrors]
    failures = {}
    for pause in PAUSES:
        time.sleep(pause)
        for url in tuple(urls):
            try:
                return _get(url, file)
            except (OSError, HTTPException, ValueError) as error:
                failures[url] = error
                if isinstance(error, HTTPError):
                    error.close()
                    if error.code < 500:  # such as 404: a retry does not help
                        urls.remove(url)
    raise FileNotFoundError(
        f"{dataset.name} needs the file {file.name} or {file.name}.gz. No intact copy is in "
        + ", ".join(map(str, folders))
        + ", and no mirror provides one: "
        + "; ".join(f"{url}: {error}" for url, error in failures.items())
        + f". Put the {len(dataset.files)} files in a folder and pass it as `data_dir`, "
        f"or put them in a folder {dataset.name} and set FNET_DATA_DIR to its parent."
    )


def _get(url: str, file: IdxFile) -> NDArray[np.uint8]:
    import urllib.request

    from tqdm import tqdm

    with (
        urllib.request.urlopen(url, timeout=TIMEOUT) as response,
        tqdm.wrapattr(
            response,
            "read",
            total=response.length,
            desc=file.name,
            disable=None,  # shown only on a terminal
        ) as body,
        gzip.open(cast(IO[bytes], body)) as stream,
    ):
        return file.read(stream)


def _save(path: Path, data: bytes) -> None:
    """Write a file atomically, so that other processes never see part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder, path.name)
        part.write_bytes(data)
        os.replace(part, path)
