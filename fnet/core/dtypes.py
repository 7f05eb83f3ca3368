"""Conversion of integers to floats."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def floating(x: jax.Array, dtype: DTypeLike = float) -> jax.Array:
    """Return `x` unchanged if it is floating, otherwise cast to `dtype`."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(dtype)


def at_least_float32(x: jax.Array) -> jax.Array:
    """Cast integers to floats, and narrower floats to float32.

    The square of a float16 above 256 overflows, and a long sum in bfloat16 stops growing.
    """
    x = floating(x)
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
