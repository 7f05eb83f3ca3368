"""Transfer: a network that learned the digits 0 to 4 learns 5 to 9 from ten images of each.

    python examples/transfer.py

Writes transfer.png into the current folder. Its trunk is frozen. What trains is a new head and, in
each dense layer, an adapter of low rank: Hu et al. 2021, LoRA, section 4.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, tidy

RANK, SEEDS, EPOCHS = 4, 6, 30


@dataclass(frozen=True, repr=False)
class adapted(fnet.Layer):
    """A dense layer with an adapter, y = x kernel + bias + (x down) up."""

    layer: fnet.dense

    @property
    def name(self) -> str:
        return self.layer.name  # so that its parameters go by the name of those without adapter

    def init(self, key: jax.Array, in_shape: tuple[int, ...]) -> Any:
        params, state, out_shape = self.layer.init(key, in_shape)
        down = jax.random.normal(jax.random.fold_in(key, 1), (in_shape[-1], RANK))
        params["down"] = down / in_shape[-1] ** 0.5
        params["up"] = jnp.zeros((RANK, *out_shape))  # so that it begins as the layer alone
        return params, state, out_shape

    def apply(self, params: Any, state: Any, x: jax.Array, key: Any, training: bool) -> Any:
        own = {"kernel": params["kernel"], "bias": params["bias"]}
        y, state = self.layer.apply(own, state, x, key, training)
        return y + x @ params["down"] @ params["up"], state


def through(layers: Any, x: jax.Array) -> jax.Array:
    return layers.head(layers.trunk(x))


def model(first: fnet.Layer, second: fnet.Layer) -> fnet.Layer:
    images = fnet.sequential(
        fnet.random_shift(2),
        fnet.rescale(1 / 255),
        fnet.reshape((28, 28, 1)),
        fnet.conv(16, (5, 5), strides=(2, 2)),
        fnet.relu,
        fnet.conv(32, (3, 3), strides=(2, 2)),
        fnet.relu,
        fnet.flatten,
    )
    trunk = fnet.sequential(images, first, fnet.relu, second, fnet.relu)
    return fnet.graph(through, trunk=trunk, head=fnet.sequential(fnet.dense(5), fnet.softmax))


def everything(path: str) -> bool:
    return True


def head(path: str) -> bool:
    return path.startswith("head/")


def head_and_adapters(path: str) -> bool:
    return head(path) or path.endswith(("/down", "/up"))


def supervised(net: fnet.Layer) -> fnet.Task:
    return fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])


def size(params: Any, trained: Callable[[str], bool]) -> int:
    """The number of parameters that train."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return sum(leaf.size for path, (_, leaf) in zip(paths, leaves, strict=True) if trained(path))


def merged(own: Any, known: Any) -> Any:
    """The parameters of one tree, replaced where the other has them too."""
    if not isinstance(own, dict):
        return known
    return own | {name: merged(own[name], known[name]) for name in known}


def main() -> None:
    fnet.cache_programs()
    (x, y), (x_test, y_test) = fnet.datasets.mnist_5k()
    early, late = y < 5, y_test >= 5
    few = np.concatenate([np.flatnonzero(y == digit)[:10] for digit in range(5, 10)])
    new, test = (x[few], y[few] - 5), (x_test[late], y_test[late] - 5)

    net = model(fnet.dense(128), fnet.dense(128))
    old = fnet.train_state(net, "adam", jax.random.key(0), (28, 28))
    old, history = fnet.train(supervised(net), old, (x[early], y[early]), epochs=8, batch_size=50)
    print(f"digits 0 to 4: training accuracy {history['accuracy'][-1]:.4f}")

    def run(net: fnet.Layer, trained: Callable[[str], bool], trunk: Any) -> tuple[int, np.ndarray]:
        """How many parameters train, and the test accuracies, for each seed and epoch."""
        # What trains is a property of the optimizer: one function of a parameter's path freezes the
        # others, which then have no optimizer state, and the seeds are one program as ever.
        optimizer = fnet.masked(fnet.adam(fnet.cosine(5e-3, EPOCHS * 5)), trained)

        def start(key: jax.Array) -> fnet.TrainState:
            state = fnet.train_state(net, optimizer, key, (28, 28))
            params = state.params | {"trunk": merged(state.params["trunk"], trunk)}
            return replace(state, params=params)

        states = jax.vmap(start)(jax.random.split(jax.random.key(1), SEEDS))
        count = size(states.params, trained) // SEEDS
        _, history = fnet.train_many(
            supervised(net), states, new, epochs=EPOCHS, batch_size=10, validation=test
        )
        return count, np.asarray(history["val_accuracy"])

    known = old.params["trunk"]
    with_adapters = model(adapted(fnet.dense(128)), adapted(fnet.dense(128)))
    rows = {
        "head and adapters": run(with_adapters, head_and_adapters, known),
        "head alone": run(net, head, known),
        "all": run(net, everything, known),
        "all, from scratch": run(net, everything, {}),
    }
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    curves, ends = figure.subplots(1, 2)
    for (name, (count, accuracy)), color in zip(rows.items(), COLORS, strict=False):
        mean, spread = accuracy.mean(axis=0), accuracy.std(axis=0)
        print(
            f"{name}: {count:,} parameters train, test accuracy {mean[-1]:.4f} ± {spread[-1]:.4f}"
        )
        epochs = np.arange(1, EPOCHS + 1)
        curves.plot(epochs, mean, color=color, label=name)
        curves.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.12)
        ends.errorbar(count, mean[-1], spread[-1], fmt="o", color=color, capsize=3)
    tidy(curves, "epoch", "test accuracy on digits 5 to 9")
    curves.legend(frameon=False, loc="lower right")
    ends.set_xscale("log")
    tidy(ends, "parameters that train", "test accuracy in the end")
    figure.savefig("transfer.png", dpi=120)
    print("see transfer.png")


if __name__ == "__main__":
    main()
