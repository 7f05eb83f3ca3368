"""Schedules of pieces, see `decays`."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from .hyperparameters import Hyperparameters, Number, checked, checked_or_schedule, known, pytree


@pytree
class piecewise(Hyperparameters):
    """Piecewise constant: the rate is `values[i]` from step `boundaries[i - 1]` on.

    Keras changes the rate one step later, after the boundary.

    Args:
        boundaries: n steps in increasing order.
        values: n + 1 learning rates.

    Raises:
        ValueError: `values` is not one longer than `boundaries`, `boundaries` do not increase, or a
            number is negative or not finite.

    Example:
        >>> import fnet
        >>> schedule = fnet.piecewise((100, 200), (0.1, 0.01, 0.001))
        >>> [round(float(schedule(step)), 4) for step in (0, 99, 100, 200)]
        [0.1, 0.1, 0.01, 0.001]

    Source: He et al. 2016, Deep Residual Learning, section 3.4.
    """

    boundaries: tuple[Number, ...]
    values: tuple[Number, ...]

    def __post_init__(self) -> None:
        check_pieces("piecewise", "values", "rate", self.values, self.boundaries)
        object.__setattr__(self, "boundaries", checked_boundaries("piecewise", self.boundaries))
        values = enumerate(self.values)
        floats = tuple(checked(f"`values[{i}]` of piecewise", value) for i, value in values)
        object.__setattr__(self, "values", floats)

    def __call__(self, step: jax.Array) -> jax.Array:
        step, rate = jnp.asarray(step, float), jnp.asarray(self.values[0], float)
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = jnp.where(step >= boundary, value, rate)
        return rate


@pytree
class joined(Hyperparameters):
    """Schedules one after another: `schedules[i](t - boundaries[i - 1])` at step t.

    Schedule i begins at step `boundaries[i - 1]`, and counts its steps from there. A plain function
    among them gets that count as a float.

    Args:
        schedules: n + 1 schedules, or numbers for a constant rate.
        boundaries: n steps in increasing order.

    Raises:
        ValueError: `schedules` is not one longer than `boundaries`, `boundaries` do not increase,
            or a number is negative or not finite.
        TypeError: an element of `schedules` is neither a number nor a schedule.

    Example:
        >>> import fnet
        >>> warmup, fall = fnet.polynomial(0.0, 10, 0.1), fnet.cosine(0.1, 100)
        >>> schedule = fnet.joined((warmup, 0.1, fall), boundaries=(10, 20))
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 20, 70, 120)]
        [0.0, 0.05, 0.1, 0.1, 0.05, 0.0]

    Source: `join_schedules` of optax.
    """

    schedules: Sequence[Any]
    boundaries: Sequence[Number]

    def __post_init__(self) -> None:
        check_pieces("joined", "schedules", "schedule", self.schedules, self.boundaries)
        object.__setattr__(self, "boundaries", checked_boundaries("joined", self.boundaries))
        parts = enumerate(self.schedules)
        schedules = tuple(
            checked_or_schedule(f"`schedules[{i}]` of joined", part) for i, part in parts
        )
        object.__setattr__(self, "schedules", schedules)

    def __call__(self, step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, float)
        rate = jnp.zeros(())
        for start, schedule in zip((0, *self.boundaries), self.schedules, strict=True):
            own = schedule(jnp.maximum(step - start, 0)) if callable(schedule) else schedule
            rate = jnp.where(step >= start, own, rate)
        return rate


def check_pieces(name: str, field: str, what: str, parts: Any, boundaries: Any) -> None:
    if len(parts) != len(boundaries) + 1:
        raise ValueError(
            f"`{field}` of {name} must be one longer than `boundaries`, got {len(parts)} {field} "
            f"and {len(boundaries)} boundaries. Add the {what} after the last boundary."
        )


def checked_boundaries(name: str, boundaries: Any) -> tuple[Number, ...]:
    numbers = enumerate(boundaries)
    floats = tuple(checked(f"`boundaries[{i}]` of {name}", number) for i, number in numbers)
    for earlier, later in pairwise(floats):
        if known(earlier, later) and not earlier < later:
            raise ValueError(f"`boundaries` of {name} must increase, got {floats}. Sort them.")
    return floats
