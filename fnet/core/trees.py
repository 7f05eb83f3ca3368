"""Trees of arrays, and the names of their leaves."""

from typing import Any

import jax
import jax.numpy as jnp

Tree = Any  # nested dicts of arrays, or any other pytree


def by_path(tree: Tree) -> dict[str, Any]:
    """Map each leaf's path, such as `dense_1/kernel`, to the leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def global_norm(tree: Tree) -> jax.Array:
    """The Euclidean norm of all entries together, in at least float32; its slope at 0 is 0."""
    squares = [jnp.sum(jnp.square(leaf.astype(float))) for leaf in jax.tree.leaves(tree)]
    total = sum(squares, jnp.zeros(()))
    return jnp.where(jnp.isnan(total), total, root(total))


def root(v: jax.Array) -> jax.Array:
    """The square root, with a slope of 0 at 0, which keeps hypergradients finite there."""
    positive = v > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, v, 1)), 0)
