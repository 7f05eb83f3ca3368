"""A network that learns to learn: after it, ten points and a few steps of descent give a sinusoid.

    python examples/maml.py

Writes maml.png into the current folder.

Source: Finn, Abbeel and Levine 2017, Model-agnostic meta-learning, section 5.1.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

WAVES, POINTS = 25, 10
STEPS = 10_000
SHOWN = 0  # the new wave in the picture
NET = fnet.sequential(*[fnet.dense(40), fnet.relu] * 2, fnet.dense(1))
FITTED = fnet.supervised(NET, "mean_squared_error")

Data = tuple[jax.Array, jax.Array]


def wave(key: jax.Array, points: int) -> Data:
    """Points of a sinusoid of some amplitude and phase."""
    of_wave, of_points = jax.random.split(key)
    amplitude, phase = jax.random.uniform(
        of_wave, (2,), minval=jnp.array([0.1, 0.0]), maxval=jnp.array([5.0, jnp.pi])
    )
    x = jax.random.uniform(of_points, (points, 1), minval=-5.0, maxval=5.0)
    return x, amplitude * jnp.sin(x - phase)


def adapted(params: Any, data: Data, steps: int) -> Any:
    """The parameters after some steps of gradient descent on a few points."""
    if steps == 0:
        return params
    state = fnet.TrainState.create(params, fnet.sgd(0.01), jax.random.key(0))
    return fnet.train(FITTED, state, data, epochs=steps, batch_size=None)[0].params


def error(params: Any, few: Data, rest: Data, steps: int) -> jax.Array:
    x, y = rest
    return jnp.mean((fnet.apply(NET, adapted(params, few, steps), x) - y) ** 2)


def meta(params: Any, batch: None, key: jax.Array, steps: int) -> jax.Array:
    """The error on other points of new waves, after steps on a few."""

    def of_wave(key: jax.Array) -> jax.Array:
        x, y = wave(key, 2 * POINTS)
        return error(params, (x[:POINTS], y[:POINTS]), (x[POINTS:], y[POINTS:]), steps)

    return jax.vmap(of_wave)(jax.random.split(key, WAVES)).mean()


def main() -> None:
    fnet.cache_programs()
    optimizer = fnet.adam(fnet.cosine(3e-3, STEPS))
    start = fnet.train_state(NET, optimizer, jax.random.key(0), (1,))

    # The loss of the outer run is that of whole inner runs, and `train` differentiates `train`.
    learners = {}
    for name, steps in (("MAML", 1), ("without MAML", 0)):
        task = fnet.task(partial(meta, steps=steps))
        state, _ = fnet.train(task, start, None, steps=STEPS, epochs=1)
        learners[name] = state.params

    waves = jax.vmap(partial(wave, points=POINTS + 100))(jax.random.split(jax.random.key(1), 600))
    few = jax.tree.map(lambda array: array[:, :POINTS], waves)
    rest = jax.tree.map(lambda array: array[:, POINTS:], waves)

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    *panels, curve = figure.subplots(1, 3)
    x = jnp.linspace(-5, 5, 200)[:, None]
    one = jax.tree.map(lambda array: array[SHOWN], few)
    for (name, params), axes, color in zip(
        learners.items(), panels, (TRAINING, VALIDATION), strict=True
    ):
        means = []
        for steps in (0, 1, 5, 10):
            errors = jax.vmap(partial(error, params, steps=steps))(few, rest)
            means.append(float(errors.mean()))
            print(f"{name}, {steps:2} gradient steps: mean squared error {means[-1]:.3f}")
        curve.plot([0, 1, 5, 10], means, "o-", color=color, label=name)
        for steps, style in ((0, ":"), (1, "--"), (10, "-")):
            y = fnet.apply(NET, adapted(params, one, steps), x)
            axes.plot(x, y, style, color=color, label=f"{steps} steps" if steps != 1 else "1 step")
        axes.plot(*one, "^", color="black", label="the ten points")
        axes.set(title=name, ylim=(-5.2, 5.2))
        tidy(axes, "x", "y")
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower center")
    curve.set_ylim(bottom=0)
    tidy(curve, "gradient steps, mean of 600 new waves", "mean squared error")
    curve.legend(frameon=False)
    figure.savefig("maml.png", dpi=120)
    print("see maml.png")


if __name__ == "__main__":
    main()
