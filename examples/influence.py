"""Which labels are wrong: the influence of every training sample on the validation loss.

    python examples/influence.py

Writes influence.png into the current folder.
"""

import jax
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

SAMPLES, FLIPPED = 2000, 100  # 5 %


def main() -> None:
    fnet.cache_programs()
    (x, y), test = fnet.datasets.mnist_5k()
    validation = x[SAMPLES:], y[SAMPLES:]
    x, right = x[:SAMPLES], y[:SAMPLES]
    random = np.random.default_rng(0)
    flipped = random.choice(SAMPLES, FLIPPED, replace=False)
    y = right.copy()
    y[flipped] = (right[flipped] + random.integers(1, 10, FLIPPED)) % 10  # always another digit

    net = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(10), fnet.softmax)
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    state = fnet.train_state(net, fnet.momentum(0.003), jax.random.key(0), (28, 28))

    # The whole run is a function of the weights of its samples, so it has a gradient by them.
    values = fnet.influence(task, state, (x, y), validation, epochs=10, batch_size=50)
    worst = np.argsort(-np.asarray(values))
    found = np.isin(worst, flipped).cumsum()
    tenth = SAMPLES // 10
    print(f"the most harmful tenth holds {found[tenth - 1] / FLIPPED:.0%} of the flipped labels")

    def accuracy_with(labels: np.ndarray) -> float:
        end, _ = fnet.train(task, state, (x, labels), epochs=10, batch_size=50)
        return fnet.evaluate(task, end, test)["accuracy"]

    mended = y.copy()
    mended[worst[:tenth]] = right[worst[:tenth]]  # somebody looks at these
    for name, labels in {"as they came": y, "mended": mended, "all right": right}.items():
        print(f"labels {name}: test accuracy {accuracy_with(labels):.3f}")

    figure = Figure(figsize=(11, 5), layout="constrained")
    grid = figure.add_gridspec(4, 9)
    axes = figure.add_subplot(grid[:, :4])
    axes.plot(np.arange(1, SAMPLES + 1) / SAMPLES, found / FLIPPED, color=TRAINING)
    axes.plot([0, 1], [0, 1], "--", color=VALIDATION, label="in a random order")
    axes.legend(frameon=False, loc="lower right")
    tidy(axes, "share of the samples, the most harmful first", "share of the flipped labels found")
    figure.suptitle("the worst twenty: the label given, and the right one", x=0.72)
    for place, number in enumerate(worst[:20]):
        cell = figure.add_subplot(grid[place // 5, 4 + place % 5])
        cell.imshow(x[number], cmap="gray_r")
        cell.set_title(f"{y[number]}, is {right[number]}")
        cell.axis("off")
    figure.savefig("influence.png", dpi=100)


if __name__ == "__main__":
    main()
