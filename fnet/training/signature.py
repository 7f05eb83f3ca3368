"""What arrays look like, as a value: what a check was made for, so that it is made once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.trees import Tree

Signature = tuple[tuple[tuple[int, ...], Any], ...]  # shape and dtype of each leaf


def signature_of(tree: Tree) -> tuple[Signature, Any]:
    """The shapes and dtypes of the leaves, and the structure: equal for trees that look alike."""
    leaves, structure = jax.tree.flatten(tree)
    return tuple(
        (leaf.shape, leaf.dtype)
        if isinstance(leaf, jax.Array)
        else (np.shape(leaf), dtype_of(leaf))
        for leaf in leaves
    ), structure


def dtype_of(leaf: Any) -> Any:
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)
    extended = jnp.issubdtype(dtype, jax.dtypes.extended)  # a typed key
    return dtype if extended else jax.dtypes.canonicalize_dtype(dtype)


def abstract_of(shapes: Signature, structure: Any) -> Tree:
    """The tree, as arrays that hold nothing, for `jax.eval_shape`."""
    return jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*one) for one in shapes])


def batch_like(data: Tree, batch_size: int) -> Tree:
    """What a batch of the data looks like, None of none."""
    return jax.tree.map(
        lambda array: jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), dtype_of(array)), data
    )


def abstract(tree: Tree) -> Tree:
    """The tree without its numbers."""
    return abstract_of(*signature_of(tree))
