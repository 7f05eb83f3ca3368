"""Equinox and optax."""

from typing import Any

import equinox
import jax
import optax

from bench.clock import Clock, Result
from bench.data import EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist
from bench.jobs import loop


def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y).mean()


def run(clock: Clock, folder: str, epochs: int) -> Result:
    data, (x_test, y_test) = flat_mnist(folder)
    inputs, hidden, classes = SIZES
    model = equinox.nn.MLP(inputs, classes, hidden, depth=1, key=jax.random.key(0))
    rule = optax.rmsprop(LEARNING_RATE, decay=RHO, eps=EPSILON)

    def step(state: Any, x: jax.Array, y: jax.Array) -> Any:
        model, opt_state = state
        grads = equinox.filter_grad(loss)(model, x, y)
        updates, opt_state = rule.update(grads, opt_state)
        return equinox.apply_updates(model, updates), opt_state

    jitted = equinox.filter_jit(step, donate="all")
    state = model, rule.init(equinox.filter(model, equinox.is_array))
    model, _ = loop.train(jitted, state, data, clock, epochs, jax.block_until_ready)
    result = clock.result()
    scores = equinox.filter_jit(jax.vmap(model))(x_test)
    return result | {"accuracy": loop.accuracy(scores, y_test)}
