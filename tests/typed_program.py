"""A user's program, which `mypy --strict` checks in `make lint`; it is not run.

`assert_type` holds what a call gives; a task, a layer and a callback of one's own are written with
the types that the contracts ask for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_type

import jax
import jax.numpy as jnp
import numpy as np

import fnet


@dataclass(frozen=True)
class Scale(fnet.Layer):
    """A layer of one's own: a factor that is learned."""

    start: float = 1.0

    def init(self, key: jax.Array, in_shape: tuple[int, ...]) -> tuple[Any, Any, tuple[int, ...]]:
        return {"scale": jnp.full((), self.start)}, {}, in_shape

    def apply(
        self, params: Any, state: Any, x: jax.Array, key: jax.Array | None, training: bool
    ) -> tuple[jax.Array, Any]:
        return params["scale"] * x, state


def distance(params: Mapping[str, jax.Array], batch: jax.Array, key: jax.Array) -> jax.Array:
    """A task of one's own: the squared distance of each sample to a point."""
    return jnp.square(batch - params["point"]).sum(-1)


def report(epoch: int, state: fnet.TrainState, logs: Mapping[str, float]) -> object:
    return fnet.STOP if logs["loss"] < 1e-6 else None


def supervised(folder: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 4)).astype(np.float32), rng.integers(0, 3, 64)
    net = fnet.sequential(fnet.dense(8), fnet.relu, Scale(), fnet.dense(3), fnet.softmax)
    print(fnet.summary(net, (4,)))
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    task = fnet.penalized(task, fnet.l2(1e-4))
    optimizer = fnet.clipped(fnet.adam(fnet.cosine(1e-3, 100)), 1.0)
    state = fnet.train_state(net, optimizer, jax.random.key(0), (4,))
    assert_type(state, fnet.TrainState)
    assert_type(fnet.count_params(state.params), int)

    state, history = fnet.train(task, state, (x, y), epochs=1, batch_size=16)
    assert_type(history["loss"], Any)
    checkpoints = fnet.Checkpoints(folder, keep=2)
    assert_type(checkpoints.steps(), list[int])
    state, history = fnet.fit(
        task,
        state,
        (x, y),
        epochs=2,
        batch_size=16,
        validation_split=0.25,
        callbacks=[checkpoints, fnet.early_stopping(patience=3), report],
        progress=False,
    )
    state, _ = fnet.train_step(task)(state, (x[:16], y[:16]))
    assert_type(state, fnet.TrainState)
    assert_type(fnet.evaluate(task, state, (x, y)), dict[str, Any])
    fnet.predict_classes(net, state, x)

    grid = fnet.grid(learning_rate=[1e-3, 1e-2], seed=range(2))
    states = grid.states(net, "rmsprop", (4,))
    _, many = fnet.train_many(task, states, (x, y), epochs=1, batch_size=16)
    print(grid.table(many))
    assert_type(fnet.export(net, state.params, (4,)), bytes)
    fnet.save_weights(f"{folder}/weights.safetensors", state.params, net)


def own() -> None:
    task = fnet.task(distance)
    points = np.ones((32, 2), np.float32)
    state = fnet.TrainState.create({"point": jnp.zeros(2)}, fnet.sgd(0.1), jax.random.key(0))
    state, _ = fnet.train(task, state, points, epochs=1, batch_size=8)
    plan = fnet.plan(task, state, points, batch_size=8)
    assert_type(plan, fnet.Plan)
    assert_type(plan.fits, bool | None)
