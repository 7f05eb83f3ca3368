"""The IDX file format of MNIST, read strictly.

A file is, uncompressed:

    magic number   four bytes: 0, 0, 8 (the elements are unsigned bytes), number of axes
    shape          one 32-bit big-endian integer an axis
    elements       in C order, and nothing after them
"""

import gzip
import hashlib
import io
import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class IdxFile:
    """What is known of a file before it is opened.

    Args:
        name: the file's name, without `.gz`.
        shape: the shape of its array.
        sha256: hex digest of the uncompressed file, because no two mirrors gzip alike.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The bytes before the elements."""
        return struct.pack(f">HBB{len(self.shape)}I", 0, 8, len(self.shape), *self.shape)

    def read(self, stream: io.BufferedIOBase) -> NDArray[np.uint8]:
        """Read the array from a stream of uncompressed bytes, for example a `gzip.GzipFile`.

        Returns:
            A fresh array, uint8 of shape `shape`.

        Raises:
            ValueError: a byte is damaged, missing or too many.
        """
        size = len(self.header) + math.prod(self.shape)
        try:
            data = stream.read(size + 1)  # bounded, yet enough to notice a longer file
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"expected a whole gzip file, got: {error}") from error
        if not data:
            raise ValueError(f"expected {size} bytes, got an empty file")
        if not data.startswith(self.header):
            start = data[: len(self.header)].hex(" ")
            raise ValueError(
                f"expected the magic number and shape {self.header.hex(' ')}, got {start}"
            )
        if len(data) != size:
            received = "more" if len(data) > size else len(data)
            raise ValueError(f"expected {size} bytes, got {received}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise ValueError(f"expected the SHA-256 {self.sha256}, got {digest}")
        return np.frombuffer(data, np.uint8, offset=len(self.header)).reshape(self.shape).copy()
