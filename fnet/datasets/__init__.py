"""Image datasets as NumPy arrays: `(x_train, y_train), (x_test, y_test)`."""

import os
from pathlib import Path

import numpy as np

from .download import Dataset, Split, folders_of, load
from .idx_files import IdxFile, idx

__all__ = ["fashion_mnist", "idx", "mnist", "mnist_5k"]


def _files(*sha256: str) -> tuple[IdxFile, ...]:
    """The four files of MNIST, whose names and shapes its successors share."""
    names_and_shapes = (
        ("train-images-idx3-ubyte", (60_000, 28, 28)),
        ("train-labels-idx1-ubyte", (60_000,)),
        ("t10k-images-idx3-ubyte", (10_000, 28, 28)),
        ("t10k-labels-idx1-ubyte", (10_000,)),
    )
    return tuple(
        IdxFile(name, shape, digest)
        for (name, shape), digest in zip(names_and_shapes, sha256, strict=True)
    )


_MNIST = Dataset(
    "mnist",
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    files=_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

_FASHION_MNIST = Dataset(
    "fashion-mnist",
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    files=_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    folders=("/usr/share/datasets/fashion-mnist",),  # Debian's dataset-fashion-mnist
)


def found() -> dict[str, list[Path]]:
    """The datasets by name, and the folders where their files lie; none where one is missing."""
    return {dataset.name: folders_of(dataset) for dataset in (_MNIST, _FASHION_MNIST)}


def mnist(data_dir: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load MNIST: 70,000 handwritten digits, downloaded once unless they are on this machine.

    Each of the four files is looked up, with and without `.gz`, in `data_dir/mnist`, `data_dir`,
    `$FNET_DATA_DIR/mnist` and the user's cache. Every file is checked against its SHA-256. What was
    packed is kept unpacked in the user's cache, 55 MB, which is looked at first the next time.

    Args:
        data_dir: a folder with the files, or None.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images uint8 `[60000, 28, 28]` and
        `[10000, 28, 28]`, background 0 and ink 255, and labels int32 `[60000]` and `[10000]`. The
        arrays are new and writable.

    Raises:
        NotADirectoryError: `data_dir` is not a folder.
        ValueError: a file outside the cache is damaged.
        FileNotFoundError: a file is not on this machine, and no mirror provides it.

    Example:
        >>> from fnet.datasets import mnist
        >>> (x_train, y_train), (x_test, y_test) = mnist()  # doctest: +SKIP

    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
    recognition", 1998.
    """
    return load(_MNIST, data_dir)


def fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load Fashion-MNIST: 70,000 pictures of clothes in the format of MNIST.

    The labels are 0 T-shirt, 1 trousers, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt,
    7 sneaker, 8 bag and 9 ankle boot. The files are looked up like those of `mnist`, in folders
    named `fashion-mnist`, and in `/usr/share/datasets/fashion-mnist` before the cache.

    Args:
        data_dir: a folder with the files, or None.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, with the shapes and dtypes of `mnist`.

    Raises:
        NotADirectoryError: `data_dir` is not a folder.
        ValueError: a file outside the cache is damaged.
        FileNotFoundError: a file is not on this machine, and no mirror provides it.

    Example:
        >>> from fnet.datasets import fashion_mnist
        >>> (x_train, y_train), (x_test, y_test) = fashion_mnist()  # doctest: +SKIP

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", 2017.
    """
    return load(_FASHION_MNIST, data_dir)


def mnist_5k() -> tuple[Split, Split]:
    """Load 5,000 of MNIST's training digits, which are part of this package.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images uint8 `[4000, 28, 28]` and
        `[1000, 28, 28]`, background 0 and ink 255, and labels int32 `[4000]` and `[1000]`, with 400
        and 100 of each digit in a fixed random order. The arrays are new and writable.

    Example:
        >>> from fnet.datasets import mnist_5k
        >>> (x_train, y_train), (x_test, y_test) = mnist_5k()
        >>> x_train.shape, x_test.shape
        ((4000, 28, 28), (1000, 28, 28))
        >>> y_train[:8]
        array([4, 3, 9, 9, 0, 9, 6, 5], dtype=int32)

    Source: as `mnist`; `mnist_5k.md` beside this file says how the digits are chosen.
    """
    with np.load(Path(__file__).with_name("mnist_5k.npz"), allow_pickle=False) as file:
        return (
            (file["x_train"], file["y_train"].astype(np.int32)),
            (file["x_test"], file["y_test"].astype(np.int32)),
        )
