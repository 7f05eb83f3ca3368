"""A jitted step in a Python loop: by hand, and in stax, flax and equinox.

Each library is imported where it is used, so that a process imports one.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bench.child import Clock, Result
from bench.data import EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist
from bench.jobs.with_numpy import accuracy, train


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
    params, _ = train(
        step if donate else jax.jit(update), state, data, clock, epochs, jax.block_until_ready
    )
    result = clock.result()
    return result | {"accuracy": accuracy(jax.jit(forward)(params, x_test), y_test)}


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
    _, opt_state = train(step, state, data, clock, epochs, jax.block_until_ready)
    result = clock.result()
    scores = jax.jit(forward)(get_params(opt_state), x_test)
    return result | {"accuracy": accuracy(scores, y_test)}


def flax(clock: Clock, folder: str, epochs: int) -> Result:
    """Flax NNX and optax, in the functional loop of Flax's own page on performance.

    With `nnx.jit` alone every step walks the model in Python, which is slower for small models.
    """
    data, (x_test, y_test) = flat_mnist(folder)
    graph, state = flax_start()
    step = jax.jit(partial(flax_updated, graph), donate_argnums=0)
    state = train(step, state, data, clock, epochs, jax.block_until_ready)
    result = clock.result()
    return result | {"accuracy": accuracy(flax_scores(graph, state, x_test), y_test)}


def flax_start() -> tuple[Any, Any]:
    """The graph of model and optimizer, and their arrays."""
    import optax
    from flax import nnx

    inputs, hidden, classes = SIZES
    rngs = nnx.Rngs(0)
    layers = nnx.Linear(inputs, hidden, rngs=rngs), nnx.Linear(hidden, classes, rngs=rngs)
    model = nnx.Sequential(layers[0], nnx.relu, layers[1])
    rule = optax.rmsprop(LEARNING_RATE, decay=RHO, eps=EPSILON)
    return nnx.split((model, nnx.Optimizer(model, rule, wrt=nnx.Param)))


def flax_updated(graph: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
    import optax
    from flax import nnx

    def loss(model: Any) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    model, optimizer = nnx.merge(graph, state)
    optimizer.update(model, nnx.grad(loss)(model))
    return nnx.state((model, optimizer))


def flax_scores(graph: Any, state: Any, x: Any) -> Any:
    from flax import nnx

    model, _ = nnx.merge(graph, state)
    return model(x)


def equinox(clock: Clock, folder: str, epochs: int) -> Result:
    """Equinox and optax."""
    import equinox
    import optax

    data, (x_test, y_test) = flat_mnist(folder)
    inputs, hidden, classes = SIZES
    model = equinox.nn.MLP(inputs, classes, hidden, depth=1, key=jax.random.key(0))
    rule = optax.rmsprop(LEARNING_RATE, decay=RHO, eps=EPSILON)

    def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y).mean()

    def step(state: Any, x: jax.Array, y: jax.Array) -> Any:
        model, opt_state = state
        grads = equinox.filter_grad(loss)(model, x, y)
        updates, opt_state = rule.update(grads, opt_state)
        return equinox.apply_updates(model, updates), opt_state

    jitted = equinox.filter_jit(step, donate="all")
    state = model, rule.init(equinox.filter(model, equinox.is_array))
    model, _ = train(jitted, state, data, clock, epochs, jax.block_until_ready)
    result = clock.result()
    return result | {"accuracy": accuracy(equinox.filter_jit(jax.vmap(model))(x_test), y_test)}
