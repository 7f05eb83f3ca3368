"""`from_optax` gives what a loop of optax gives, for transformations that ask for the loss too."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnet

NET = fnet.sequential(fnet.dense(4), jnp.tanh, fnet.dense(1))
X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(24, 1)
BATCHES = [(X[i::3], np.sin(3 * X[i::3])) for i in range(3)]
TRANSFORMATIONS = {
    "lbfgs": optax.lbfgs(),
    "polyak_sgd": optax.polyak_sgd(0.5),
    "reduce_on_plateau": optax.chain(
        optax.adam(0.1), optax.contrib.reduce_on_plateau(patience=1, cooldown=0, rtol=0.5)
    ),
    "backtracking": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10)),
}


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        yield


def own_loop(transformation, params, steps):
    """As the documentation of optax writes it."""

    @jax.jit
    def step(params, opt_state, x, y):
        def loss(params):
            return jnp.mean((fnet.apply(NET, params, x) - y) ** 2)

        value, grad = jax.value_and_grad(loss)(params)
        updates, opt_state = transformation.update(
            grad, opt_state, params, value=value, grad=grad, value_fn=loss
        )
        return optax.apply_updates(params, updates), opt_state

    opt_state = transformation.init(params)
    for i in range(steps):
        params, opt_state = step(params, opt_state, *BATCHES[i % 3])
    return params


@pytest.mark.parametrize(
    "name",  # a line search of optax compiles for seconds
    [pytest.param(n, marks=pytest.mark.soak if n == "lbfgs" else ()) for n in TRANSFORMATIONS],
)
def test_equals_the_loop_of_optax(name):
    optimizer = fnet.from_optax(TRANSFORMATIONS[name])
    state = fnet.train_state(NET, optimizer, jax.random.key(0), (1,))
    desired = own_loop(TRANSFORMATIONS[name], state.params, 12)
    step = jax.jit(fnet.train_step(fnet.supervised(NET, "mean_squared_error")))
    for i in range(12):
        state, _ = step(state, BATCHES[i % 3])
    chex.assert_trees_all_close(state.params, desired, rtol=1e-4, atol=1e-5)
