"""Checksums of arrays on the devices that hold them, however they are sharded."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..data.shuffle import murmur
from .trees import WIDE

SEEDS = (0x9E3779B9, 0x7F4A7C15)


def checksums(arrays: Mapping[str, Any]) -> dict[str, str]:
    """64 bits of each array, in hexadecimal: sum over i of murmur(word_i ^ murmur(seed + i)).

    Each half has a seed of its own, and sums the 32-bit words modulo 2^32. So neither the order of
    summation nor the place of a word counts, only its index; and as murmur is a bijection, words
    that differ in one place never have the same sum. Numbers below 32 bits are words of their own.

    Args:
        arrays: of JAX or NumPy, no typed keys. One that lies on the devices of many processes is
            summed by all of them.
    """
    groups: dict[Any, dict[str, Any]] = {}  # a program runs on one set of devices
    for name, array in arrays.items():
        devices = array.sharding.device_set if isinstance(array, jax.Array) else ()
        groups.setdefault(frozenset(devices), {})[name] = uncut(array)
    sums = [jax.device_get(compiled_sums(group)) for group in groups.values()]
    found = {name: halves for group in sums for name, halves in group.items()}
    return {name: "".join(f"{int(half):08x}" for half in found[name]) for name in arrays}


def uncut(array: Any) -> Any:
    """An array of NumPy as what JAX does not cut from 64 bits to 32."""
    if isinstance(array, jax.Array) or np.asarray(array).dtype.name not in WIDE:
        return array
    return np.ascontiguousarray(array)[..., None].view(np.uint32)


@jax.jit
def compiled_sums(arrays: dict[str, jax.Array]) -> dict[str, list[jax.Array]]:
    # Scalars, which are on every device: no process lacks them.
    return {name: [total(words(array), seed) for seed in SEEDS] for name, array in arrays.items()}


def words(array: jax.Array) -> jax.Array:
    """The bits of an array as uint32; numbers of 64 bits have one more axis, of two words."""
    if jnp.iscomplexobj(array):
        array = jnp.stack([array.real, array.imag], axis=-1)
    if array.dtype.itemsize == 8:
        return lax.bitcast_convert_type(array, jnp.uint32)
    unsigned = f"uint{8 * array.dtype.itemsize}"
    if jnp.issubdtype(array.dtype, jnp.floating):
        array = lax.bitcast_convert_type(array, unsigned)
    return array.astype(unsigned).astype(jnp.uint32)


def total(words: jax.Array, seed: int) -> jax.Array:
    place = jnp.uint32(seed)
    for axis in range(words.ndim):  # not reshaped, which would move what is sharded
        stride = jnp.uint32(math.prod(words.shape[axis + 1 :]) % 2**32)
        place = place + stride * lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(murmur(words ^ murmur(place)), dtype=jnp.uint32)
