"""Loops whose derivative in reverse keeps a square root of their steps in memory."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Carry = TypeVar("Carry")

STEPS_A_TURN = "fnet_{}_a_turn"


def nothing(number: jax.Array, steps: int) -> None:
    return None


def scan(
    step: Callable[[jax.Array, Carry, Any], tuple[Carry, Any]],
    carry: Carry,
    start: Any,
    length: int,
    ahead: Callable[[jax.Array, int], Any] = nothing,
    unroll: int = 1,
) -> Any:
    """`lax.scan` over so many numbers from `start` on, in rematerialised segments.

    `ahead(number, steps)` makes what the steps of a segment take, one for each, before its loop,
    of which a turn takes `unroll` steps.

    Reverse-mode differentiation of n steps keeps the carry at the start of each of about sqrt(n)
    segments, and while it is in a segment that of each of its steps; both are computed again from
    there. Without differentiation it is the same loop.
    """
    again = partial(jax.checkpoint, prevent_cse=False)  # which a scan does by itself

    # A TPU counts for nothing, but fetches a number from an array in a pass of its own.
    def counted(carry: tuple[jax.Array, Carry], x: Any) -> tuple[tuple[jax.Array, Carry], Any]:
        number, inner = carry
        inner, y = step(number, inner, x)
        return (number + 1, inner), y

    def segment(carry: tuple[jax.Array, Carry], _: None, steps: int) -> Any:
        return unrolled(again(counted), carry, ahead(carry[0], steps), steps, unroll)

    size = segment_size(length)
    count, rest = divmod(length, size)
    begun = jnp.asarray(start), carry
    (number, carry), ys = lax.scan(again(partial(segment, steps=size)), begun, length=count)
    ys = jax.tree.map(lambda y: y.reshape(count * size, *y.shape[2:]), ys)
    if not rest:
        return carry, ys
    (_, carry), last = segment((number, carry), None, rest)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), ys, last)


def unrolled(step: Callable[..., Any], carry: Any, xs: Any, length: int, unroll: int) -> Any:
    """`lax.scan` of so many steps a turn, if that divides; a name in the program says how many."""
    if length % unroll:
        unroll = 1
    with jax.named_scope(STEPS_A_TURN.format(unroll)):
        return lax.scan(step, carry, xs, length, unroll=unroll)


def segment_size(length: int) -> int:
    """A divisor, which spares the program a second loop, unless all are far from the root."""
    root = max(math.isqrt(length), 1)
    size = next(size for size in range(root, 0, -1) if length % size == 0)
    return size if size + length // size <= 6 * root else root
