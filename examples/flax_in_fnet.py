"""A flax model in fnet: eight seeds in one program, with and without dropout and batch norm.

    python examples/flax_in_fnet.py

Writes flax_in_fnet.png into the current folder.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

SEEDS = 8
EPOCHS = 15


class MLP(nn.Module):
    """Two hidden layers, as a user of flax writes them; nothing in it knows of fnet."""

    regularized: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.reshape(x.shape[0], -1) / 255
        for width in (64, 64):
            x = nn.Dense(width)(x)
            if self.regularized:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = nn.relu(x)
            if self.regularized:
                x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(10)(x)


def main() -> None:
    fnet.cache_programs()
    train, (images, labels) = fnet.datasets.mnist_5k()
    keys = jax.random.split(jax.random.key(0), SEEDS)

    def run(module: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        """The test loss of each seed by epoch, and the probabilities that each gives at the end."""
        net = fnet.sequential(fnet.from_flax(module), fnet.softmax)
        task = fnet.supervised(net, "sparse_categorical_crossentropy")

        # What a hand-written loop would not have: a vmap over keys makes the seeds, and one program
        # trains all of them, with parameters, running statistics and dropout of their own. One seed
        # alone is `fnet.fit(task, state, train)`, with checkpoints that resume to the same bits.
        states = jax.vmap(lambda key: fnet.train_state(net, "adam", key, (28, 28)))(keys)
        states, history = fnet.train_many(
            task, states, train, epochs=EPOCHS, batch_size=64, validation=(images, labels)
        )
        y = jax.vmap(lambda state: fnet.predict(net, state, images))(states)
        return np.asarray(history["val_loss"]), np.asarray(y)

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    curves, ends = figure.subplots(1, 2)
    rows: list[tuple[str, Any, str]] = [
        ("plain", MLP(regularized=False), VALIDATION),
        ("dropout and batch norm", MLP(regularized=True), TRAINING),
    ]
    for place, (name, module, color) in enumerate(rows):
        losses, probabilities = run(module)
        alone = (probabilities.argmax(-1) == labels).mean(axis=1)
        together = (probabilities.mean(axis=0).argmax(-1) == labels).mean()
        print(
            f"{name}: test accuracy {alone.mean():.4f} ± {alone.std():.4f} over {SEEDS} seeds, "
            f"{together:.4f} of their average, loss {losses[:, -1].mean():.3f}"
        )
        epochs, mean = np.arange(1, EPOCHS + 1), losses.mean(axis=0)
        curves.plot(epochs, losses.T, color=color, alpha=0.25, linewidth=0.8)
        curves.plot(epochs, mean, color=color, label=name)
        spots = place + np.linspace(-0.15, 0.15, SEEDS)
        ends.plot(spots, alone, "o", color=color, markersize=4, label="one seed")
        ends.hlines(
            together, place - 0.25, place + 0.25, color=color, label="average of their answers"
        )
    tidy(curves, "epoch", "test loss of eight seeds and their mean")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True))
    curves.legend(frameon=False)
    tidy(ends, "", "test accuracy")
    ends.set_xticks([0, 1], [name for name, *_ in rows])
    ends.set_xlim(-0.5, 1.5)
    ends.legend(*(entries[2:] for entries in ends.get_legend_handles_labels()), frameon=False)
    figure.savefig("flax_in_fnet.png", dpi=120)
    print("see flax_in_fnet.png")


if __name__ == "__main__":
    main()
