"""stax with the optimizers that lie beside it in JAX's examples."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.example_libraries import optimizers, stax

from bench.clock import Clock, Result
from bench.data import flat_mnist
from bench.headline_job import EPSILON, LEARNING_RATE, RHO, SIZES
from bench.jobs import loop


def run(clock: Clock, folder: str, epochs: int) -> Result:
    data, (x_test, y_test) = flat_mnist(folder)
    inputs, hidden, classes = SIZES
    init, forward = stax.serial(stax.Dense(hidden), stax.Relu, stax.Dense(classes), stax.LogSoftmax)
    start, update, get_params = optimizers.rmsprop(LEARNING_RATE, gamma=RHO, eps=EPSILON)

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return -jnp.take_along_axis(forward(params, x), y[:, None], axis=1).mean()

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: jax.Array, y: jax.Array) -> Any:
        index, opt_state = state
        grads = jax.grad(loss)(get_params(opt_state), x, y)
        return index + 1, update(index, grads, opt_state)

    _, params = init(jax.random.key(0), (-1, inputs))
    state = jnp.zeros((), jnp.int32), start(params)
    _, opt_state = loop.train(step, state, data, clock, epochs, jax.block_until_ready)
    result = clock.result()
    scores = jax.jit(forward)(get_params(opt_state), x_test)
    return result | {"accuracy": loop.accuracy(scores, y_test)}
