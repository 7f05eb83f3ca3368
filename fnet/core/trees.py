"""Trees of arrays, and the names of their leaves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any  # nested dicts of arrays, or any other pytree


def by_path(tree: Tree, separator: str = "/") -> dict[str, Any]:
    """Map each leaf's path, such as `dense_1/kernel`, to the leaf."""
    return {
        jax.tree_util.keystr(path, simple=True, separator=separator): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def in_form(tree: Tree, like: Tree) -> Tree:
    """The leaves of a tree, found by their paths, in the form of another."""
    leaves = by_path(tree)
    return jax.tree.unflatten(jax.tree.structure(like), [leaves[path] for path in by_path(like)])


def as_arrays(tree: Tree, every_list: bool = False) -> Tree:
    """The tree with arrays as leaves: a list of numbers is one, and `every_list` may be."""
    return jax.tree.map(
        lambda leaf: leaf if hasattr(leaf, "shape") else from_list(leaf),
        tree,
        is_leaf=lambda node: is_numbers(node) or (every_list and isinstance(node, list)),
    )


def from_list(numbers: Any) -> np.ndarray:
    """A list as an array."""
    try:
        return np.asarray(numbers)
    except ValueError as error:
        raise ValueError(
            f"a list of numbers must have rows of one length, got a list for which NumPy says: "
            f"{error} Fill the rows up, and mask what is filled."
        ) from None


def on_device(leaf: Any) -> Any:
    """The leaf as an array of JAX: of NumPy's a copy, which later changes of it do not reach.

    `jnp.asarray` compiles a program for each shape, and without a copy memory may be shared.
    """
    if isinstance(leaf, jax.Array):
        return leaf
    return jax.device_put(np.array(leaf) if isinstance(leaf, np.ndarray) else leaf)


def is_numbers(node: Any) -> bool:
    """Whether this is a list of numbers, nested as you like, or a tuple of them."""
    inner = node
    while isinstance(inner, (list, tuple)) and inner:
        inner = inner[0]
    if isinstance(node, tuple):
        return all(isinstance(number, (bool, int, float)) for number in node) and bool(node)
    return isinstance(node, list) and not (getattr(inner, "shape", ()) or isinstance(inner, dict))


def global_norm(tree: Tree) -> jax.Array:
    """The Euclidean norm of all entries together, in at least float32; its slope at 0 is 0."""
    squares = [jnp.sum(jnp.square(leaf.astype(float))) for leaf in jax.tree.leaves(tree)]
    total = sum(squares, jnp.zeros(()))
    return jnp.where(jnp.isnan(total), total, root(total))


def root(v: jax.Array) -> jax.Array:
    """The square root, with a slope of 0 at 0, which keeps hypergradients finite there."""
    positive = v > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, v, 1)), 0)
