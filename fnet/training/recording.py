"""What a run can record of each step besides its loss and metrics."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..core.trees import Tree


def norm(tree: Tree) -> jax.Array:
    """The Euclidean norm of all entries together, in at least float32."""
    squares = [jnp.sum(jnp.square(leaf.astype(float))) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(squares, jnp.zeros(())))


def step(before: Any, grads: Tree, after: Any) -> jax.Array:
    return before.step


def grad_norm(before: Any, grads: Tree, after: Any) -> jax.Array:
    return norm(grads)


def param_norm(before: Any, grads: Tree, after: Any) -> jax.Array:
    return norm(before.params)


def update_norm(before: Any, grads: Tree, after: Any) -> jax.Array:
    return norm(jax.tree.map(jnp.subtract, after.params, before.params))


def learning_rate(before: Any, grads: Tree, after: Any) -> jax.Array:
    return jnp.asarray(before.optimizer.learning_rate_at(before.opt_state.step), float)


# From the TrainState before the step, its gradients, and the TrainState after it.
STEP_METRICS: dict[str, Callable[[Any, Tree, Any], jax.Array]] = {
    function.__name__: function
    for function in (step, grad_norm, param_norm, update_norm, learning_rate)
}
