"""What one writes without a library: a jitted step in a Python loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bench.clock import Clock, Result
from bench.data import EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist
from bench.jobs import loop


@partial(jax.jit, static_argnums=1)
def init(key: jax.Array, sizes: tuple[int, ...]) -> Any:
    glorot = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(sizes) - 1)
    params = [
        (glorot(key, shape), jnp.zeros(shape[1]))
        for key, shape in zip(keys, zip(sizes, sizes[1:], strict=False), strict=True)
    ]
    return params, jax.tree.map(jnp.zeros_like, params)


def forward(params: Any, x: jax.Array) -> jax.Array:
    *hidden, (kernel, bias) = params
    for weights, offset in hidden:
        x = jax.nn.relu(x @ weights + offset)
    return x @ kernel + bias


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    log_probabilities = jax.nn.log_softmax(forward(params, x))
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def update(state: Any, x: jax.Array, y: jax.Array) -> Any:
    params, v = state
    grads = jax.grad(loss)(params, x, y)
    v = jax.tree.map(lambda v, g: RHO * v + (1 - RHO) * g**2, v, grads)
    params = jax.tree.map(
        lambda p, g, v: p - LEARNING_RATE * g / jnp.sqrt(v + EPSILON), params, grads, v
    )
    return params, v


step = jax.jit(update, donate_argnums=0)


def raw(clock: Clock, folder: str, epochs: int, donate: bool) -> Result:
    data, (x_test, y_test) = flat_mnist(folder)
    state = init(jax.random.key(0), SIZES)
    params, _ = loop.train(
        step if donate else jax.jit(update), state, data, clock, epochs, jax.block_until_ready
    )
    result = clock.result()
    return result | {"accuracy": loop.accuracy(jax.jit(forward)(params, x_test), y_test)}


def stax(clock: Clock, folder: str, epochs: int) -> Result:
    """stax with the optimizers that lie beside it in JAX's examples."""
    from jax.example_libraries import optimizers, stax

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
