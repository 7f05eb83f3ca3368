"""A diffusion model: a network that learns to take noise off points draws two moons out of noise.

    python examples/diffusion.py

Writes diffusion.png into the current folder. What is learnt is the velocity of Salimans and Ho
2022, and points are drawn by DDIM, Song et al. 2021.
"""

from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

SEEDS = 4
EPOCHS = 250
DRAWING_STEPS = 100


def velocity(layers: Any, x: dict[str, jax.Array]) -> jax.Array:
    """Where a point moves as its angle grows from 0, the data, to pi / 2, noise alone."""
    waves = x["angle"][:, None] * jnp.arange(1, 9)
    angles = layers.angle(jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], axis=-1))
    return layers.trunk(layers.point(x["point"]) + angles)


hidden = fnet.silu, fnet.dense(64)
net = fnet.graph(
    velocity,
    point=fnet.dense(64),
    angle=fnet.dense(64),
    trunk=fnet.sequential(*hidden, *hidden, *hidden, fnet.silu, fnet.dense(2)),
)


def velocity_error(params: Any, points: jax.Array, key: jax.Array) -> jax.Array:
    """The squared error at a random angle between each point and a noise of its own."""
    angle_key, noise_key = jax.random.split(key)
    angle = jax.random.uniform(angle_key, points.shape[:1], maxval=jnp.pi / 2)
    noise = jax.random.normal(noise_key, points.shape)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    predicted = fnet.apply(net, params, {"point": cos * points + sin * noise, "angle": angle})
    return ((predicted - (cos * noise - sin * points)) ** 2).sum(axis=-1)


def draw(params: Any, noise: jax.Array) -> jax.Array:
    """The points at each angle on their way back from noise to data."""
    step = jnp.pi / 2 / DRAWING_STEPS

    def turn(x: jax.Array, angle: jax.Array) -> tuple[jax.Array, jax.Array]:
        moves = fnet.apply(net, params, {"point": x, "angle": jnp.full(x.shape[:1], angle)})
        x = jnp.cos(step) * x - jnp.sin(step) * moves
        return x, x

    _, points = jax.lax.scan(turn, noise, step * jnp.arange(DRAWING_STEPS, 0, -1))
    return jnp.concatenate([noise[None], points])


def moons(key: jax.Array, count: int) -> jax.Array:
    """Points near two half circles, centred, in a unit of about their spread."""
    angle_key, noise_key = jax.random.split(key)
    angle = jax.random.uniform(angle_key, (count,), maxval=2 * jnp.pi)
    lower = (angle > jnp.pi) * jnp.array([[1.0], [0.5]])
    circle = jnp.stack([jnp.cos(angle), jnp.sin(angle)]) + lower
    noise = 0.05 * jax.random.normal(noise_key, (count, 2))
    return (circle.T + noise - jnp.array([0.5, 0.25])) / 0.7


def energy_distance(x: jax.Array, y: jax.Array) -> jax.Array:
    """2 E|x - y| - E|x - x'| - E|y - y'|, which is 0 for two samples of one distribution."""

    def mean_distance(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.linalg.norm(x[:, None] - y, axis=-1).mean()

    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)


def main() -> None:
    fnet.cache_programs()
    data_key, fresh_key, noise_key, run_key = jax.random.split(jax.random.key(0), 4)
    data, fresh = moons(data_key, 4000), moons(fresh_key, 2000)

    # The average of the parameters is part of the state, and a whole run is one function of that:
    # a vmap over keys makes the seeds, and one program trains them, each with its own average.
    task = fnet.task(velocity_error)
    optimizer = fnet.averaged(fnet.adam(3e-3), 0.995)
    in_shape = {"point": (2,), "angle": ()}
    keys = jax.random.split(run_key, SEEDS)
    states = jax.vmap(lambda key: fnet.train_state(net, optimizer, key, in_shape))(keys)
    states, _ = fnet.train_many(task, states, data, epochs=EPOCHS, batch_size=250)

    noise = jax.random.normal(noise_key, (2000, 2))
    averages = fnet.averaged_params(states.opt_state)
    draw_many = jax.jit(jax.vmap(draw, in_axes=(0, None)))
    last, drawn = draw_many(states.params, noise), draw_many(averages, noise)
    print(f"energy distance to fresh data, mean of {SEEDS} seeds:")
    for name, points in [("last", last), ("averaged", drawn)]:
        distances = jax.vmap(energy_distance, in_axes=(0, None))(points[:, -1], fresh)
        print(f"{name} parameters: {distances.mean():.4f} ± {distances.std():.4f}")
    print(f"the training data themselves: {energy_distance(data[:2000], fresh):.4f}")

    figure = Figure(figsize=(12.6, 2.5), layout="constrained")
    panels = figure.subplots(1, 6, sharex=True, sharey=True)
    for axes, degrees in zip(panels, (90, 36, 18, 9, 0), strict=False):
        points = drawn[0, round((1 - degrees / 90) * DRAWING_STEPS)]
        axes.plot(*points.T, ".", color=TRAINING, markersize=1.5)
        axes.set_title(f"angle {degrees}°")
    panels[-1].plot(*fresh.T, ".", color=VALIDATION, markersize=1.5)
    panels[-1].set_title("data")
    for axes in panels:
        tidy(axes, "", "")
        axes.set(box_aspect=1, xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    figure.savefig("diffusion.png", dpi=120)
    print("see diffusion.png")


if __name__ == "__main__":
    main()
