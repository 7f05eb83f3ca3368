"""Regression: a perceptron, and how close one hidden layer of more and more units comes.

    python examples/regression.py

Writes regression.png into the current folder.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, TRAINING, VALIDATION, tidy

SEEDS, STEPS = 5, 1500
WIDTHS = (2, 4, 8, 16, 32, 64)


def main() -> None:
    fnet.cache_programs()

    # A perceptron is one unit, relu(b + w · x): a flat line with one bend.
    perceptron = fnet.sequential(fnet.dense(1), fnet.relu)
    weights = {"kernel": jnp.array([[2.0], [-1.0]]), "bias": jnp.array([0.5])}
    points = jnp.array([[1.0, 1.0], [0.0, 3.0]])
    by_hand = [max(0.5 + 2 * 1 - 1 * 1, 0), max(0.5 + 2 * 0 - 1 * 3, 0)]
    assert fnet.apply(perceptron, {"dense": weights}, points).ravel().tolist() == by_hand
    print(f"the perceptron relu(b + w · x) gives {by_hand}")

    x = np.linspace(-1, 1, 200, dtype="float32")[:, None]
    y = np.sin(3 * x) + 0.4 * np.sin(9 * x) + 0.6
    keys = jax.random.split(jax.random.key(0), SEEDS)

    # One hidden layer is a sum of perceptrons, so a curve with as many bends as there are units.
    # They start steep and with biases apart, so that the bends lie all over the curve.
    steep = partial(fnet.initializers.normal, stddev=3.0)
    apart = partial(fnet.initializers.normal, stddev=2.0)
    models = {
        width: fnet.sequential(
            fnet.dense(width, kernel_init=steep, bias_init=apart), fnet.relu, fnet.dense(1)
        )
        for width in WIDTHS
    }
    names = {0: "the perceptron"} | {width: f"{width} hidden units" for width in WIDTHS}
    curves, errors = {}, {}
    for width, net in {0: perceptron, **models}.items():
        optimizer = fnet.adam(fnet.cosine(0.03, STEPS))
        states = jax.vmap(lambda key, net=net, o=optimizer: fnet.train_state(net, o, key, (1,)))(
            keys
        )
        task = fnet.supervised(net, "mean_squared_error")
        states, _ = fnet.train_many(task, states, (x, y), epochs=STEPS, batch_size=None)
        outputs = np.asarray(jax.vmap(lambda state, net=net: fnet.predict(net, state, x))(states))
        errors[width] = ((outputs - y) ** 2).mean(axis=(1, 2))
        curves[width] = outputs[errors[width].argmin()]
        print(f"{names[width]}: mean squared error {np.median(errors[width]):.5f}")

    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    fits, width_axes = figure.subplots(1, 2)
    fits.plot(x, y, "-", color="0.7", linewidth=5, label="the curve")
    for color, (width, style) in zip(
        COLORS, {0: ":", 2: "-.", 16: "--", 64: "-"}.items(), strict=False
    ):
        fits.plot(x, curves[width], style, color=color, label=names[width])
    tidy(fits, "x", "y")
    fits.legend(frameon=False)
    each = np.stack([errors[width] for width in WIDTHS])
    width_axes.loglog(WIDTHS, np.median(each, axis=1), "o-", color=TRAINING, label="median")
    width_axes.loglog(WIDTHS, each, ".", color=VALIDATION, alpha=0.6)
    width_axes.plot([], [], ".", color=VALIDATION, label="each of five runs")
    width_axes.set_xscale("log", base=2)
    width_axes.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
    tidy(width_axes, "hidden units", "mean squared error")
    width_axes.legend(frameon=False)
    figure.savefig("regression.png", dpi=110)
    print("see regression.png")


if __name__ == "__main__":
    main()
