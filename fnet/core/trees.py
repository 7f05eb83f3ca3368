"""Trees of arrays, and the names of their leaves."""

from typing import Any

import jax

Tree = Any  # nested dicts of arrays, or any other pytree


def by_path(tree: Tree) -> dict[str, Any]:
    """The leaves by path, as in a file of weights: `dense_1/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
