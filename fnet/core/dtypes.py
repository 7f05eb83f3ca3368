"""Conversion of integers to floats."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def floating(x: jax.Array, dtype: DTypeLike = float) -> jax.Array:
    """Return `x` unchanged if it is floating, otherwise cast to `dtype`."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(dtype)


def at_least_float32(leaf: jax.Array) -> jax.Array:
    """`leaf` itself or, from a narrower type, in float32: a long sum in bfloat16 stops growing."""
    return jnp.asarray(leaf, leaf.dtype if leaf.dtype.itemsize >= 4 else jnp.float32)
