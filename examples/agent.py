"""Eight agents that learn to balance a pole on a cart, in one program with their environments.

    python examples/agent.py

Writes agent.png into the current folder.

Source: Williams 1992, Simple statistical gradient-following algorithms for connectionist
reinforcement learning (REINFORCE with a baseline); the cart: Barto, Sutton and Anderson 1983.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, tidy

SEEDS = 8
CARTS, TIME = 16, 256  # an agent learns from this many carts for this many moments a step
STEPS, EPOCHS = 10, 40
DISCOUNT, LIMIT = 0.99, 500
POLICY = fnet.sequential(fnet.dense(64), fnet.tanh, fnet.dense(2))
VALUE = fnet.sequential(fnet.dense(64), fnet.tanh, fnet.dense(1))

Carts = dict[str, jax.Array]  # "seen": (carts, 4), "age": (carts,)


def begin(key: jax.Array) -> Carts:
    seen = jax.random.uniform(key, (CARTS, 4), minval=-0.05, maxval=0.05)
    return {"seen": seen, "age": jnp.zeros(CARTS)}


def move(carts: Carts, right: jax.Array, key: jax.Array) -> tuple[Carts, jax.Array, jax.Array]:
    """CartPole-v1 of Gymnasium, 0.02 s of it: who fell or reached the limit begins anew."""
    position, speed, angle, turn = carts["seen"].T
    push = jnp.where(right, 10.0, -10.0)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    total = (push + 0.05 * turn**2 * sine) / 1.1
    bend = (9.8 * sine - cosine * total) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    pull = total - 0.05 * bend * cosine / 1.1
    rates = jnp.stack([speed, pull, turn, bend], axis=1)
    seen, age = carts["seen"] + 0.02 * rates, carts["age"] + 1
    fell = (jnp.abs(seen[:, 0]) > 2.4) | (jnp.abs(seen[:, 2]) > jnp.pi / 15)
    over = fell | (age >= LIMIT)
    seen = jnp.where(over[:, None], begin(key)["seen"], seen)
    return {"seen": seen, "age": jnp.where(over, 0, age)}, fell, over


def ratio(means: tuple[jax.Array, jax.Array]) -> jax.Array:
    return means[0] / means[1]


def reinforce(
    params: Any, carts: Carts, batch: None, key: jax.Array
) -> tuple[dict[str, Any], Carts]:
    """Play on from where the carts are, then make more probable what turned out well."""

    def play(carts: Carts, key: jax.Array) -> tuple[Carts, tuple[jax.Array, ...]]:
        choice, chance = jax.random.split(key)
        logits = fnet.apply(POLICY, jax.lax.stop_gradient(params["policy"]), carts["seen"])
        action = jax.random.categorical(choice, logits)
        after, fell, over = move(carts, action == 1, chance)
        return after, (carts["seen"], action, fell, over, carts["age"] + 1)

    after, (seen, action, fell, over, age) = jax.lax.scan(play, carts, jax.random.split(key, TIME))
    places = jnp.concatenate([seen, after["seen"][None]])
    values = fnet.apply(VALUE, params["value"], places)[..., 0]

    def discounted(later: jax.Array, moment: Any) -> tuple[jax.Array, jax.Array]:
        fell, over, value = moment  # at the limit, where nobody fell, the value stands for the rest
        now = 1 + DISCOUNT * jnp.where(fell, 0, jnp.where(over, value, later))
        return now, now

    guess = jax.lax.stop_gradient(values)
    _, returns = jax.lax.scan(discounted, guess[-1], (fell, over, guess[:-1]), reverse=True)
    advantage = returns - values[:-1]
    weight = jax.lax.stop_gradient(advantage / advantage.std())
    logs = jax.nn.log_softmax(fnet.apply(POLICY, params["policy"], seen))
    chosen = jnp.take_along_axis(logs, action[..., None], axis=-1)[..., 0]
    entropy = -(jnp.exp(logs) * logs).sum(-1)
    loss = -weight * chosen + 0.5 * advantage**2 / returns.var() - 0.01 * entropy
    ended = jnp.where(over, age, 0).ravel(), over.ravel().astype(float)
    return {"loss": loss.ravel(), "return": fnet.Statistic(ended, ratio)}, after


def start(key: jax.Array) -> fnet.TrainState:
    policy, value, carts = jax.random.split(key, 3)
    params = {"policy": fnet.init(POLICY, policy, (4,)), "value": fnet.init(VALUE, value, (4,))}
    optimizer = fnet.adam(fnet.cosine(5e-3, STEPS * EPOCHS))
    return fnet.TrainState.create(params, optimizer, key, begin(carts))


def main() -> None:
    fnet.cache_programs()

    # The carts are part of the state, so a step plays and learns, and eight whole runs with all
    # that happens in them are one program.
    task = fnet.task(reinforce, stateful=True)
    states = jax.vmap(start)(jax.random.split(jax.random.key(0), SEEDS))
    states, history = fnet.train_many(task, states, None, steps=STEPS, epochs=EPOCHS)

    returns = np.asarray(history["return"])
    mean, low, high = returns.mean(axis=0), returns.min(axis=0), returns.max(axis=0)
    moments = np.arange(1, EPOCHS + 1) * STEPS * CARTS * TIME / 1000
    for epoch in np.array([1, 5, 10, 20, 40]) - 1:
        print(
            f"after {moments[epoch]:4.0f} thousand moments: mean return {mean[epoch]:5.1f}, "
            f"{low[epoch]:5.1f} to {high[epoch]:5.1f} over {SEEDS} seeds"
        )

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(LIMIT, color="0.5", linestyle="--")
    axes.fill_between(moments, low, high, color=TRAINING, alpha=0.15, linewidth=0)
    axes.plot(moments, returns.T, color=TRAINING, alpha=0.3, linewidth=0.8)
    axes.plot(moments, mean, color=TRAINING, label=f"mean of {SEEDS} seeds")
    tidy(axes, "thousand moments of play", "moments that the pole stays up")
    axes.set_ylim(0, 1.05 * LIMIT)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig("agent.png", dpi=120)
    print("see agent.png")


if __name__ == "__main__":
    main()
