"""Overfitting, and what helps: dropout, batch norm, skip connections, an ensemble.

    python examples/regularization.py

Writes regularization.png into the current folder.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

START = (fnet.rescale(1 / 255), fnet.flatten)
END = (fnet.dense(10), fnet.softmax)


def task_of(net: Any) -> Any:
    return fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])


def main() -> None:
    fnet.cache_programs()

    # Few samples and many parameters: what is learned of these digits is not true of others.
    (x, y), test = fnet.datasets.mnist_5k()
    train = x[:1000], y[:1000]

    def history(net: Any, optimizer: Any, epochs: int) -> dict[str, np.ndarray]:
        state = fnet.train_state(net, optimizer, jax.random.key(0), (28, 28))
        _, curves = fnet.train(
            task_of(net), state, train, epochs=epochs, batch_size=50, validation=test
        )
        return jax.tree.map(np.asarray, curves)

    def compare(
        axes: Axes, title: str, name: str, before: tuple[str, Any], after: tuple[str, Any]
    ) -> None:
        for (label, curves), color, style in (
            (before, VALIDATION, "s--"),
            (after, TRAINING, "o-"),
        ):
            epochs = np.arange(1, len(curves) + 1)
            axes.plot(epochs, curves, style, color=color, label=label, markersize=3)
        axes.set_title(title, fontsize=10)
        tidy(axes, "epoch", name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    overfit, gap, drop, norm, skip, average = figure.subplots(2, 3).ravel()

    wide = fnet.sequential(*START, fnet.dense(256), fnet.relu, *END)
    plain = history(wide, fnet.rmsprop(1e-3), 25)
    ends = "validation", plain["val_loss"]
    compare(overfit, "overfitting", "loss", ends, ("training", plain["loss"]))
    ends = "validation", plain["val_accuracy"]
    compare(gap, "the gap", "accuracy", ends, ("training", plain["accuracy"]))
    lowest, last = plain["val_loss"].min(), plain["val_loss"][-1]
    print(
        f"overfitting: training loss {plain['loss'][-1]:.4f}, validation {lowest:.3f} to {last:.3f}"
    )
    difference = plain["accuracy"][-1] - plain["val_accuracy"][-1]
    print(f"the gap between training and validation accuracy is {difference:.3f}")

    # Dropout: in training, half of the units are missing, others at each step.
    dropped = fnet.sequential(*START, fnet.dense(256), fnet.relu, fnet.dropout(0.5), *END)
    with_dropout = history(dropped, fnet.rmsprop(1e-3), 25)
    both = ("without", plain["val_loss"]), ("with", with_dropout["val_loss"])
    compare(drop, "dropout", "validation loss", *both)
    print(f"dropout: validation loss {last:.3f} without, {with_dropout['val_loss'][-1]:.3f} with")

    # Batch norm: what comes out of a layer is brought to mean 0 and variance 1 in each batch.
    layers = [fnet.dense(64), fnet.sigmoid] * 4
    normed = [fnet.dense(64), fnet.batch_norm(momentum=0.9), fnet.sigmoid] * 4
    without, with_norm = (
        history(fnet.sequential(*START, *hidden, *END), fnet.sgd(0.1), 12)["loss"]
        for hidden in (layers, normed)
    )
    title = "batch norm, 4 sigmoid layers"
    compare(norm, title, "training loss", ("without", without), ("with", with_norm))
    print(f"batch norm: training loss {without[-1]:.3f} without, {with_norm[-1]:.3f} with")

    # Skip connections: x + f(x) lets the gradient through, however many layers there are.
    block = (fnet.dense(32), fnet.tanh)
    stacked, skipped = (
        fnet.sequential(*START, fnet.dense(32), fnet.scan_layers(layer, 20), *END)
        for layer in (fnet.sequential(*block), fnet.residual(*block))
    )
    without, with_skips = (
        history(net, fnet.momentum(0.003), 12)["loss"] for net in (stacked, skipped)
    )
    title = "skip connections, 20 layers"
    compare(skip, title, "training loss", ("without", without), ("with", with_skips))
    print(f"skip connections: training loss {without[-1]:.3f} without, {with_skips[-1]:.3f} with")

    # An ensemble: the average of the predictions of many models, each from a start of its own.
    small = fnet.sequential(*START, fnet.dense(32), fnet.relu, *END)
    keys = jax.random.split(jax.random.key(0), 16)
    states = jax.vmap(lambda key: fnet.train_state(small, "rmsprop", key, (28, 28)))(keys)
    states, _ = fnet.train_many(task_of(small), states, train, epochs=15, batch_size=50)
    outputs = jax.vmap(lambda state: fnet.predict(small, state, test[0]))(states)
    sizes = jnp.arange(1, 17)
    averages = jnp.cumsum(outputs, axis=0) / sizes[:, None, None]
    loss = jax.vmap(fnet.sparse_categorical_crossentropy, in_axes=(None, 0))
    labels = jnp.asarray(test[1])
    together, alone = loss(labels, averages).mean(axis=1), loss(labels, outputs).mean()
    average.plot(sizes, together, "o-", color=TRAINING, label="their average", markersize=3)
    average.axhline(float(alone), linestyle="--", color=VALIDATION, label="one, on average")
    average.set_title("ensemble", fontsize=10)
    tidy(average, "members", "validation loss")
    average.xaxis.set_major_locator(MaxNLocator(integer=True))
    average.legend(frameon=False)
    print(f"ensemble: validation loss {alone:.3f} of one, {together[-1]:.3f} of 16")

    figure.savefig("regularization.png", dpi=110)
    print("see regularization.png")


if __name__ == "__main__":
    main()
