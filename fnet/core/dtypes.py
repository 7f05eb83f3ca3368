"""Conversion of integers to floats; what is complex where it must be real."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from .errors import LayerTypeError


def floating(x: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Return `x` unchanged if it is floating, otherwise cast to `dtype`, that of the parameters.

    Where these are real, so must `x` be.
    """
    x = jnp.asarray(x)
    if dtype is not None:
        check_real(x, dtype)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(dtype or float)


def check_real(x: jax.Array, dtype: DTypeLike) -> None:
    """Refuse complex input where the parameters are real, before its imaginary part is lost."""
    if is_complex(x.dtype) and not is_complex(dtype):
        raise LayerTypeError(
            f"expected real input, as the layer is, got {x.dtype}. Take its parts for features: "
            f"jnp.concatenate([x.real, x.imag], -1)."
        )


def is_complex(dtype: DTypeLike) -> bool:
    return bool(jnp.issubdtype(jnp.dtype(dtype), jnp.complexfloating))


def at_least_float32(x: jax.Array) -> jax.Array:
    """Cast integers to floats, and narrower floats to float32.

    The square of a float16 above 256 overflows, and a long sum in bfloat16 stops growing.
    """
    x = floating(x)
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
