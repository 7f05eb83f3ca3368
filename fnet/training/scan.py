"""Loops whose derivative in reverse keeps a square root of their steps in memory."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Carry = TypeVar("Carry")


def scan(step: Callable[[Carry, Any], tuple[Carry, Any]], carry: Carry, xs: jax.Array) -> Any:
    """`lax.scan` in rematerialised segments.

    Reverse-mode differentiation of n steps keeps the carry at the start of each of about sqrt(n)
    segments, and while it is in a segment that of each of its steps; both are computed again from
    there. Without differentiation it is the same loop.
    """
    again = partial(jax.checkpoint, prevent_cse=False)  # which a scan does by itself

    def segment(carry: Carry, xs: jax.Array) -> tuple[Carry, Any]:
        return lax.scan(again(step), carry, xs)

    size = segment_size(len(xs))
    whole = len(xs) // size * size
    carry, ys = lax.scan(again(segment), carry, xs[:whole].reshape(-1, size))
    ys = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), ys)
    if whole == len(xs):
        return carry, ys
    carry, rest = segment(carry, xs[whole:])
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), ys, rest)


def segment_size(length: int) -> int:
    """A divisor, which spares the program a second loop, unless all are far from the root."""
    root = max(math.isqrt(length), 1)
    size = next(size for size in range(root, 0, -1) if length % size == 0)
    return size if size + length // size <= 6 * root else root


def loop(
    start: int | jax.Array, stop: int | jax.Array, step: Callable[[Any, Carry], Carry], carry: Carry
) -> Carry:
    """`lax.fori_loop`; bounds that are Python integers make one that `scan` differentiates."""
    if isinstance(start, int) and isinstance(stop, int):
        return scan(lambda carry, i: (step(i, carry), None), carry, jnp.arange(start, stop))[0]
    return lax.fori_loop(start, stop, step, carry)
