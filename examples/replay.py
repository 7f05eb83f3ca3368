"""A strange step of a finished run, looked at again: it holds a digit with a wrong label.

    python examples/replay.py

Writes replay.png into the current folder.
"""

import tempfile

import jax
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, tidy

EPOCHS, BATCH_SIZE = 8, 16
EASY = 3  # epochs, after which the model knows most digits
WRONG, LABEL = 1363, 6  # a row, and the label that somebody gave it by mistake


def main() -> None:
    fnet.cache_programs()
    (images, labels), _ = fnet.datasets.mnist_5k()
    right = labels[WRONG]
    labels = labels.copy()
    labels[WRONG] = LABEL
    data = images, labels

    net = fnet.sequential(
        fnet.rescale(1 / 255), fnet.flatten, fnet.dense(64), fnet.relu, fnet.dense(10),
        fnet.softmax,
    )  # fmt: skip
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    start = fnet.train_state(net, "adam", jax.random.key(0), (28, 28))

    with tempfile.TemporaryDirectory() as folder:
        checkpoints = fnet.Checkpoints(folder, keep=EPOCHS)
        _, history = fnet.fit(
            task, start, data, epochs=EPOCHS, batch_size=BATCH_SIZE, record=["loss"],
            callbacks=[checkpoints],
        )  # fmt: skip

        losses = np.asarray(history["record"]["loss"])
        first = EASY * len(losses) // EPOCHS
        step = first + int(losses[first:].argmax())

        # The state before that step, which nobody saved, and the rows that it took.
        before = fnet.replay(task, checkpoints, data, step, start=start)
        rows, (x, y) = fnet.batch_of(before, data, BATCH_SIZE)
        _, logs = jax.jit(fnet.train_step(task))(before, (x, y))
        print(f"step {step} had a loss of {losses[step]:.3f}, {logs['loss']:.3f} again;", end=" ")
        print(f"the median of that time is {np.median(losses[first:]):.3f}")

    of_each = np.asarray(fnet.sparse_categorical_crossentropy(y, fnet.predict(net, before, x)))
    worst = int(of_each.argmax())
    share = of_each[worst] / of_each.sum()
    print(
        f"row {rows[worst]} gives {100 * share:.0f}% of it: it has the label {y[worst]};", end=" "
    )
    print(f"mislabelled was row {WRONG}, a {right}")

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    curve, digits = figure.subfigures(1, 2)  # type: ignore[misc]
    axes = curve.subplots()
    axes.plot(losses, color=COLORS[0], linewidth=0.5)
    axes.plot(step, losses[step], "o", color=COLORS[1], fillstyle="none", markersize=10)
    tidy(axes, "step", "loss of the batch")
    for ax, image, label, loss in zip(digits.subplots(4, 4).ravel(), x, y, of_each, strict=True):
        color = COLORS[1] if loss == of_each[worst] else "black"
        ax.imshow(image, cmap="gray_r")
        ax.set_title(f"{label}: {loss:.2f}", fontsize=8, color=color)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color(color)
    digits.suptitle(f"the batch of step {step}: label and loss of each", fontsize=9)
    figure.savefig("replay.png", dpi=120)
    print("see replay.png")


if __name__ == "__main__":
    main()
