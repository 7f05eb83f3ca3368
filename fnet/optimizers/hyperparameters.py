"""The base of optimizers and schedules: frozen dataclasses of numbers, registered as pytrees.

The numbers are leaves: changing one does not recompile, `jax.vmap` over an array of them is a
sweep, and `jax.grad` with respect to them is a hypergradient.
"""

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from ..core.values import by_value

T = TypeVar("T", bound=type)

Number = Any  # a float; an array of them in a sweep; a tracer inside a transformation
PASS = " Pass such a number."


def static(*, default: Any = MISSING) -> Any:
    """A field that is part of the program; a new value recompiles."""
    return field(default=default, metadata={"static": True})


def number(*, default: Any = MISSING, at_least: float = 0, below: float = math.inf) -> Any:
    """A field for a number in [at_least, below); without it, the range is [0, inf)."""
    return field(default=default, metadata={"check": partial(checked, bounds=(at_least, below))})


def number_or_schedule(*, default: Any = MISSING) -> Any:
    """A field for a number in [0, inf) or a function of the step."""
    return field(default=default, metadata={"check": checked_or_schedule})


@dataclass_transform(frozen_default=True, field_specifiers=(static, number, number_or_schedule))
def pytree(cls: T) -> T:
    """Makes a frozen dataclass a pytree; its fields, except static ones, are the leaves.

    Transformations may fill the fields with anything (tracers, gradients, axis numbers), so
    `__post_init__`, which checks user input, runs only in the constructor.
    """
    dataclass(frozen=True, eq=False)(cls)
    names = [f.name for f in fields(cls) if not f.metadata.get("static")]
    static_names = [f.name for f in fields(cls) if f.metadata.get("static")]

    def flatten(self: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        leaves = [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in names]
        return leaves, tuple(getattr(self, name) for name in static_names)

    def unflatten(static_values: tuple[Any, ...], values: Any) -> Any:
        self: Any = object.__new__(cls)
        for name, value in zip(names + static_names, (*values, *static_values), strict=True):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """Checks the numbers of a subclass and converts them to floats.

    If one is an array, all are broadcast to its shape, so that `jax.vmap` maps over all of them.
    """

    def __post_init__(self) -> None:
        numbers = [f for f in fields(self) if not f.metadata.get("static")]
        for f in numbers:
            fix = PASS if f.default is MISSING else f" Its default is {f.default}."
            check = f.metadata.get("check", checked)
            what = f"`{f.name}` of {type(self).__name__}"
            object.__setattr__(self, f.name, check(what, getattr(self, f.name), fix=fix))
        shape = self.common_shape()
        for f in numbers if shape else ():
            repeated = jax.tree.map(lambda n: jnp.broadcast_to(n, shape), getattr(self, f.name))
            object.__setattr__(self, f.name, repeated)

    def common_shape(self) -> tuple[int, ...]:
        shapes = {
            jax.tree_util.keystr(path).lstrip("."): np.shape(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(self)
        }
        try:
            return np.broadcast_shapes(*shapes.values())
        except ValueError:
            arrays = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
            raise ValueError(
                f"the arrays of {type(self).__name__} must have the same shape, "
                f"got {arrays}. For all combinations, use fnet.grid."
            ) from None


@pytree
class FunctionSchedule:
    """A plain function of the step as a learning rate; the function is not a leaf."""

    function: Callable[[jax.Array], Any] = static()

    def __call__(self, step: jax.Array) -> Any:
        return self.function(step)


def known(*values: Number) -> bool:
    """Whether the values are concrete, not traced by a transformation."""
    return not any(isinstance(value, jax.core.Tracer) for value in values)


def checked(
    what: str, value: Number, bounds: tuple[float, float] = (0, math.inf), fix: str = PASS
) -> Number:
    """Returns the number, a scalar as a float, or raises if it is out of bounds."""
    low, below = bounds
    if not known(value):
        return value
    kinds = (int, float, np.number, np.ndarray, jax.Array)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{what} must be a number, or an array of them, got {value!r}.{fix}")
    if not np.all((low <= np.asarray(value)) & (np.asarray(value) < below)):
        raise ValueError(f"{what} must be in [{low}, {below}), got {value}.{fix}")
    return value if isinstance(value, (np.ndarray, jax.Array)) else float(value)


def checked_or_schedule(what: str, value: Any, fix: str = PASS) -> Any:
    if not callable(value) or isinstance(value, type):
        return checked(what, value, fix=fix)
    if jax.tree_util.all_leaves([value]):  # a plain function, not a pytree of numbers
        return FunctionSchedule(by_value(value, what.split("`")[1]))
    return value
