"""A generative adversarial network: a generator learns eight heaps of points by fooling a critic.

    python examples/gan.py

Writes gan.png and gan.gif into the current folder. The losses are those of Goodfellow et al. 2014,
with the penalty R1 of Mescheder et al. 2018 on the slope of the critic.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

SEEDS, FRAMES, STEPS = 4, 40, 75  # steps from frame to frame
BATCH_SIZE, NOISE, SPREAD = 256, 8, 0.1

hidden = fnet.dense(64), fnet.relu, fnet.dense(64), fnet.relu
generator = fnet.sequential(*hidden, fnet.dense(2))
critic = fnet.sequential(*hidden, fnet.dense(1), fnet.reshape(()))


def centres() -> jax.Array:
    angles = jnp.arange(8) * jnp.pi / 4
    return 2 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def heaps(key: jax.Array, count: int) -> jax.Array:
    which_key, where_key = jax.random.split(key)
    which = jax.random.randint(which_key, (count,), 0, 8)
    return centres()[which] + SPREAD * jax.random.normal(where_key, (count, 2))


def generate(params: Any, key: jax.Array, count: int) -> jax.Array:
    return fnet.apply(generator, params["generator"], jax.random.normal(key, (count, NOISE)))


def rivals(params: Any, batch: None, key: jax.Array) -> dict[str, jax.Array]:
    """The loss of the critic, which does not move the generator, plus that of the generator."""
    real_key, noise_key = jax.random.split(key)
    real, made = heaps(real_key, BATCH_SIZE), generate(params, noise_key, BATCH_SIZE)
    fixed_critic, fixed_points = jax.lax.stop_gradient((params["critic"], made))

    def opinion(x: jax.Array) -> jax.Array:
        return fnet.apply(critic, params["critic"], x)

    slopes = jax.grad(lambda x: opinion(x).sum())(real)
    misjudged = jax.nn.softplus(-opinion(real)) + jax.nn.softplus(opinion(fixed_points))
    caught = jax.nn.softplus(-fnet.apply(critic, fixed_critic, made))
    loss = misjudged + 0.02 * (slopes**2).sum(axis=-1) + caught
    return {"loss": loss.mean(), "misjudged": misjudged.mean(), "caught": caught.mean()}


def begin(key: jax.Array) -> fnet.TrainState:
    generator_key, critic_key, run_key = jax.random.split(key, 3)
    params = {
        "generator": fnet.init(generator, generator_key, (NOISE,)),
        "critic": fnet.init(critic, critic_key, (2,)),
    }
    adams = {"generator": fnet.adam(2e-3, 0.0, 0.99), "critic": fnet.adam(4e-3, 0.0, 0.99)}
    return fnet.TrainState.create(params, fnet.averaged(fnet.partitioned(adams), 0.99), run_key)


def draw(axes: Axes, points: Any, title: str) -> None:
    axes.clear()
    axes.plot(*centres().T, "o", color=VALIDATION, alpha=0.3, markersize=12)
    axes.plot(*points.T, ".", color=TRAINING, markersize=1.5)
    tidy(axes, "", "")
    axes.set(title=title, xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), xticks=[], yticks=[], box_aspect=1)


def main() -> None:
    fnet.cache_programs()

    # Two optimizers in one state make the whole game one function of it, as any other run: a vmap
    # over keys plays four games in one program, each with its averages, which draw the points.
    task = fnet.task(rivals)
    states = jax.vmap(begin)(jax.random.split(jax.random.key(0), SEEDS))
    key = jax.random.key(1)
    drawn = jax.jit(jax.vmap(lambda params: generate(params, key, 2000)))
    frames = [drawn(states.params)]
    for _ in range(FRAMES):
        states, _ = fnet.train_many(task, states, None, epochs=1, steps=STEPS)
        frames.append(drawn(fnet.averaged_params(states.opt_state)))

    for seed, points in enumerate(frames[-1]):
        near = jnp.linalg.norm(points[:, None] - centres(), axis=-1) < 3 * SPREAD
        found, share = (near.mean(axis=0) > 1 / 16).sum(), near.any(axis=-1).mean()
        print(f"seed {seed}: {found} of 8 heaps found, {share:.1%} of the points in one")

    strip = Figure(figsize=(12.6, 2.4), layout="constrained")
    for axes, number in zip(strip.subplots(1, 6), (0, 2, 4, 8, 16, FRAMES), strict=True):
        draw(axes, frames[number][0], f"step {number * STEPS:,}")
    strip.savefig("gan.png", dpi=120)

    film = Figure(figsize=(9.6, 2.7), layout="constrained")
    panels = film.subplots(1, SEEDS)
    writer = PillowWriter(fps=8)
    with writer.saving(film, "gan.gif", dpi=64):
        for number, points in enumerate(frames + frames[-1:] * 8):  # a second to look at the end
            for seed, axes in enumerate(panels):
                draw(axes, np.asarray(points[seed]), f"seed {seed}")
            film.suptitle(f"step {min(number, FRAMES) * STEPS:,}")
            writer.grab_frame()
    print("see gan.png and gan.gif")


if __name__ == "__main__":
    main()
