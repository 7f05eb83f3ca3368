"""The headline job's numbers and data: MNIST read by hand for the peers, and made-up images."""

import contextlib
import gzip
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.child import Clock, Result
from bench.processes import fresh

if TYPE_CHECKING:  # the parent of the measured processes stays small
    import numpy as np
    from numpy.typing import NDArray

    Split = tuple[NDArray[np.uint8], NDArray[np.int32]]

SIZES = (784, 512, 10)
BATCH_SIZE = 128
SAMPLES = 60_000
LEARNING_RATE, RHO, EPSILON = 1e-3, 0.9, 1e-7
EPOCHS = 5


def flops(sizes: tuple[int, ...] = SIZES) -> int:
    """Of one sample's training step: the products forward, for each dW, and for each dh.

    The gradient of the input is not needed, so the first layer has no dh.
    """
    products = [fan_in * fan_out for fan_in, fan_out in zip(sizes, sizes[1:], strict=False)]
    return 2 * (2 * sum(products) + sum(products[1:]))


NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


class DataFolder(NamedTuple):
    """Where the four files of MNIST lie."""

    folder: str
    whole: bool  # or only the digits that come with fnet, repeated


@contextlib.contextmanager
def laid_out() -> Iterator[DataFolder]:
    """MNIST's four files in a temporary folder, where every contender finds the same."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "mnist")
        data.mkdir()
        result = fresh("data:lay_out", folder=str(data))
        if "failed" in result:
            raise RuntimeError(f"MNIST could not be laid out: {result['failed']}")
        before = os.environ.get("FNET_DATA_DIR")
        os.environ["FNET_DATA_DIR"] = folder
        try:
            yield DataFolder(str(data), result["whole"])
        finally:
            os.environ.pop("FNET_DATA_DIR")
            if before is not None:
                os.environ["FNET_DATA_DIR"] = before


def lay_out(clock: Clock, folder: str) -> Result:
    """Writes the four files, from wherever fnet finds or downloads MNIST."""
    import numpy as np

    import fnet

    try:
        (x, y), (x_test, y_test) = fnet.datasets.mnist()
        whole = True
    except FileNotFoundError:
        (x, y), (x_test, y_test) = fnet.datasets.mnist_5k()
        x, y = np.resize(x, (SAMPLES, 28, 28)), np.resize(y, SAMPLES)
        whole = False
    arrays: tuple[NDArray[Any], ...] = (x, y, x_test, y_test)
    for name, array in zip(NAMES, arrays, strict=True):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        with gzip.open(Path(folder, f"{name}-ubyte.gz"), "wb", compresslevel=6) as file:
            file.write(header + array.astype(np.uint8).tobytes())
    return {"whole": whole}


def mnist(folder: str) -> "tuple[Split, Split]":
    """`(images, labels), (test_images, test_labels)`: uint8 `(n, 28, 28)` and int32 `(n,)`."""
    import numpy as np

    def read(name: str) -> Any:
        with gzip.open(Path(folder, f"{name}-ubyte.gz")) as file:
            data = file.read()
        axes = data[3]
        shape = np.frombuffer(data, ">u4", axes, offset=4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)

    x, y, x_test, y_test = map(read, NAMES)
    return (x, y.astype(np.int32)), (x_test, y_test.astype(np.int32))


def flat_mnist(folder: str) -> Any:
    """The same as most peers take it: float32 `(n, 784)` in [0, 1]."""
    import numpy as np

    return tuple((x.reshape(len(x), -1).astype(np.float32) / 255, y) for x, y in mnist(folder))


def synthetic(samples: int) -> "Split":
    """Random bytes in the shape of MNIST, for what depends on shapes alone."""
    import numpy as np

    random = np.random.default_rng(0)
    images = np.frombuffer(random.bytes(samples * 784), np.uint8).reshape(samples, 28, 28)
    return images, random.integers(10, size=samples, dtype=np.int32)
