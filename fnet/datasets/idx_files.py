"""The IDX file format of MNIST, read strictly.

An uncompressed file has three parts:

    magic number   four bytes: 0, 0, the type of the elements (8: unsigned bytes), number of axes
    shape          one 32-bit big-endian integer per axis
    elements       in C order, up to the end of the file
"""

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class IdxFile:
    """A file of unsigned bytes whose contents are known.

    Args:
        name: the file's name, without `.gz`.
        shape: the shape of its array.
        sha256: hex digest of the uncompressed file, because mirrors compress it differently.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The bytes before the elements."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 8, len(self.shape), *self.shape)

    def read(self, stream: io.RawIOBase | io.BufferedIOBase) -> NDArray[np.uint8]:
        """Read the array from a stream of uncompressed bytes, for example a `gzip.GzipFile`.

        Returns:
            A new uint8 array of shape `shape`.

        Raises:
            ValueError: the bytes are not those of the file.
        """
        size = len(self.header) + math.prod(self.shape)
        array = np.empty(size + 1, np.uint8)  # bounded, but enough to detect a longer file
        data = array.data
        received = 0
        try:
            while read := stream.readinto(data[received:]):
                received += read
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"expected a complete gzip file, got: {error}") from error
        if received != size:
            raise ValueError(
                f"expected {size} bytes, got {received if received < size else 'more'}"
            )
        digest = hashlib.sha256(data[:size]).hexdigest()  # covers the header too
        if digest != self.sha256:
            raise ValueError(f"expected the SHA-256 {self.sha256}, got {digest}")
        return array[len(self.header) : size].reshape(self.shape)


def idx(path: str | os.PathLike[str]) -> np.memmap[Any, Any]:
    """Map an uncompressed IDX file into memory; its elements are read when used.

    `fnet.fit` accepts such arrays as x and y, and reads them while it trains.

    Args:
        path: the file.

    Returns:
        A read-only `np.memmap` with the file's shape and dtype: uint8, int8, or big-endian int16,
        int32, float32 or float64.

    Raises:
        ValueError: the file is compressed, empty, too short, too long or not an IDX file.

    Example:
        >>> import pathlib, tempfile, fnet
        >>> path = pathlib.Path(tempfile.mkdtemp(), "labels-idx1-ubyte")
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
        >>> fnet.datasets.idx(path)
        memmap([7, 2, 1], dtype=uint8)

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", the file format.
    """
    path = Path(path)
    with path.open("rb") as file:
        magic = file.read(4)
        if magic.startswith(b"\x1f\x8b"):
            raise ValueError(
                f"`path` must be an uncompressed file, got {path}, a gzip file. Unpack it, for "
                f"example with `gunzip --keep {path.name}`."
            )
        known = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in TYPES and magic[3] > 0
        axes = file.read(4 * magic[3]) if known else b""
    if not known or len(axes) < 4 * magic[3]:
        raise ValueError(
            f"`path` must be an IDX file, which starts with 0, 0, one of the types "
            f"{', '.join(map(str, TYPES))}, and the number and lengths of its axes, got {path}, "
            f"which starts with {(magic + axes)[:16].hex(' ') or 'nothing'}. Choose another file."
        )
    shape, dtype = struct.unpack(f">{magic[3]}I", axes), np.dtype(TYPES[magic[2]])
    size, found = math.prod(shape) * dtype.itemsize, path.stat().st_size - 4 - len(axes)
    if found != size or not size:
        raise ValueError(
            f"`path` must hold one element or more, and for its shape {shape} {size} bytes of "
            f"{dtype.name}, got {path} with {found}. Copy the whole file again."
        )
    return np.memmap(path, dtype, "r", offset=4 + len(axes), shape=shape)
