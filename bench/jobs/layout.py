"""Lays MNIST out as the four gzipped IDX files, from wherever fnet finds or downloads it."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fnet
from bench.clock import Clock, Result
from bench.data import NAMES, SAMPLES


def lay_out(clock: Clock, folder: str) -> Result:
    try:
        (x, y), (x_test, y_test) = fnet.datasets.mnist()
        whole = True
    except FileNotFoundError:
        (x, y), (x_test, y_test) = fnet.datasets.mnist_5k()
        x, y = np.resize(x, (SAMPLES, 28, 28)), np.resize(y, SAMPLES)
        whole = False
    arrays: tuple[NDArray[Any], ...] = (x, y, x_test, y_test)
    for name, array in zip(NAMES, arrays, strict=True):
        write(Path(folder, f"{name}-ubyte.gz"), array)
    return {"whole": whole}


def write(path: Path, array: NDArray[Any]) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.write(header + array.astype(np.uint8).tobytes())
