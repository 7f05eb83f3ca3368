"""Mixed precision: computing in a lower precision than that of the parameters.

The parameters and the input are rounded before the first layer, and the output of each layer after
it, since a layer may create floats, as `rescale` does from bytes.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.trees import Tree
from ..core.values import describe
from ..layers.base import Key, Output
from ..layers.wrappers import Wrapped


def cast_floats(tree: Tree, dtype: Any) -> Tree:
    """The tree with its floats in another dtype; integers and keys stay."""
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )


@dataclass(frozen=True, repr=False)
class Rounded(Wrapped):
    """A layer whose output is rounded."""

    dtype: Any

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        y, state = self.layer.apply(params, state, x, key, training)
        return cast_floats(y, self.dtype), state


def check_compute_dtype(compute_dtype: Any) -> Any:
    """The dtype as a value, or None."""
    if compute_dtype is None:
        return None
    try:
        dtype = jnp.dtype(compute_dtype)
    except TypeError:
        dtype = np.dtype(object)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"`compute_dtype` must be a floating dtype, got {describe(compute_dtype)}. "
            f"Write 'bfloat16', or leave it out for that of the parameters."
        )
    return dtype
