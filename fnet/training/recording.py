"""What a run can record of each step besides its loss and metrics."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..core.trees import Tree, global_norm


def step(before: Any, grads: Tree, after: Any) -> jax.Array:
    return before.step


def grad_norm(before: Any, grads: Tree, after: Any) -> jax.Array:
    return global_norm(grads)


def param_norm(before: Any, grads: Tree, after: Any) -> jax.Array:
    return global_norm(before.params)


def update_norm(before: Any, grads: Tree, after: Any) -> jax.Array:
    return global_norm(jax.tree.map(jnp.subtract, after.params, before.params))


def learning_rate(before: Any, grads: Tree, after: Any) -> jax.Array:
    return jnp.asarray(before.optimizer.learning_rate_at(before.opt_state.step), float)


# From the TrainState before the step, its gradients, and the TrainState after it.
STEP_METRICS: dict[str, Callable[[Any, Tree, Any], jax.Array]] = {
    function.__name__: function
    for function in (step, grad_norm, param_norm, update_norm, learning_rate)
}
