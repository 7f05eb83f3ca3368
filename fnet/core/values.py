"""Static values and functions that compare by value: `jax.jit` does not retrace a rebuilt one."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax


class Static:
    """Base class of values that are part of the program: pytrees without leaves.

    So `jax.jit` and all other transformations take one as an argument, and know it by its value.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        jax.tree_util.register_static(cls)


@dataclass(frozen=True)
class Partial:
    """A `functools.partial` that hashes and compares by its contents."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(*self.arguments, *arguments, **{**dict(self.keywords), **keywords})

    @property
    def __name__(self) -> str:
        return name_of(self.function)

    def __repr__(self) -> str:
        shown = [name_of(self.function), *map(repr, self.arguments)]
        shown += [f"{name}={value!r}" for name, value in self.keywords]
        return f"partial({', '.join(shown)})"


def by_value(function: Callable[..., Any], argument: str) -> Callable[..., Any]:
    """Return the function; a `functools.partial` becomes a `Partial`, which compares by value."""
    if not callable(function):
        raise TypeError(
            f"`{argument}` must be a function, got {describe(function)}. Pass a function."
        )
    if isinstance(function, functools.partial):
        keywords = tuple(sorted(function.keywords.items()))
        function = Partial(function.func, function.args, keywords)
    try:
        hash(function)
    except TypeError:
        raise TypeError(
            f"`{argument}` must be hashable, got {name_of(function)} with an array or a list in "
            f"it. Pass a function defined with def that holds the array."
        ) from None
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the function's name without angle brackets: `<lambda>` becomes `lambda`."""
    return getattr(function, "__name__", type(function).__name__).strip("<>")


def resolve(argument: str, value: Any, known: Mapping[str, Any], kind: str = "a function") -> Any:
    """Look up a string in `known`; return a function as it is."""
    if callable(value):
        return by_value(value, argument)
    if isinstance(value, str) and value in known:
        return known[value]
    error = ValueError if isinstance(value, str) else TypeError
    raise error(
        f"`{argument}` must be {kind} or one of {', '.join(map(repr, sorted(known)))}, "
        f"got {describe(value)}. Check the spelling, or pass {kind}."
    )


def describe(value: Any) -> str:
    """Describe `value` briefly for an error message; arrays by their shape only."""
    if hasattr(value, "shape"):
        return f"an array of shape {value.shape}"
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return name_of(value) if callable(value) else f"a {type(value).__name__}"
