"""Integers as the floats that layers compute with."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def floating(x: jax.Array, dtype: DTypeLike = float) -> jax.Array:
    """`x` itself where it is floating, integers in `dtype`."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(dtype)
