"""Flax NNX and optax, in the functional loop of Flax's own page on performance.

With `nnx.jit` alone every step walks the model in Python, which is slower for small models.
"""

from functools import partial
from typing import Any

import jax
import optax
from flax import nnx

from bench.clock import Clock, Result
from bench.data import EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist
from bench.jobs import loop


def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def start() -> tuple[Any, Any]:
    """The graph of model and optimizer, and their arrays."""
    inputs, hidden, classes = SIZES
    rngs = nnx.Rngs(0)
    layers = nnx.Linear(inputs, hidden, rngs=rngs), nnx.Linear(hidden, classes, rngs=rngs)
    model = nnx.Sequential(layers[0], nnx.relu, layers[1])
    rule = optax.rmsprop(LEARNING_RATE, decay=RHO, eps=EPSILON)
    return nnx.split((model, nnx.Optimizer(model, rule, wrt=nnx.Param)))


def updated(graph: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
    model, optimizer = nnx.merge(graph, state)
    optimizer.update(model, nnx.grad(loss)(model, x, y))
    return nnx.state((model, optimizer))


def run(clock: Clock, folder: str, epochs: int) -> Result:
    data, (x_test, y_test) = flat_mnist(folder)
    graph, state = start()
    step = jax.jit(partial(updated, graph), donate_argnums=0)
    state = loop.train(step, state, data, clock, epochs, jax.block_until_ready)
    result = clock.result()
    return result | {"accuracy": loop.accuracy(scores(graph, state, x_test), y_test)}


def scores(graph: Any, state: Any, x: Any) -> Any:
    model, _ = nnx.merge(graph, state)
    return model(x)
