"""What the modules of other libraries have in common: how they come in, and how they are called."""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import LayerTypeError
from ..core.trees import Tree
from ..core.values import Partial, describe
from ..files.trees import nested
from ..layers.base import BATCH, map_shapes

IN_TRAINING = "train", "training", "is_training"  # arguments that are true in training
AT_INFERENCE = "deterministic", "use_running_average", "inference"  # and at inference

LIBRARIES = {
    "flax": "fnet.from_flax takes a module of flax",
    "equinox": "fnet.from_equinox takes a module of equinox",
    "haiku": "fnet.from_haiku takes a transformed function of haiku",
    "torch": "fnet.load_torch reads the weights of PyTorch into a model of fnet",
    "keras": "fnet.load_keras reads the weights of Keras into a model of fnet",
    "fnet": "A layer of fnet is used as it is",
}


def library(name: str, package: str, caller: str) -> Any:
    """The module `name`, imported.

    Raises:
        ImportError: its package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"`{caller}` must have the package {package}, which cannot be imported: {error}. "
            f'Install it: pip install "fnet-jax[interop]".'
        ) from error


def library_of(value: Any) -> str | None:
    """The library of a value or class, among those that are known here."""
    ancestors = (value if isinstance(value, type) else type(value)).__mro__
    roots = [ancestor.__module__.partition(".")[0] for ancestor in ancestors]
    return next((root for root in roots if root in LIBRARIES), None)


def refuse(caller: str, argument: str, value: Any, wanted: str, own: str, fix: str) -> NoReturn:
    """Raise the TypeError for a value that `caller`, a function for the library `own`, lacks."""
    found = library_of(value)
    if isinstance(value, type) and found == own:
        fix = f"Call it: {value.__name__}(...), or use functools.partial for a constructor."
    elif found is not None and found != own:
        fix = f"{LIBRARIES[found]}."
    raise TypeError(f"`{argument}` of {caller} must be {wanted}, got {describe(value)}. {fix}")


def check_hashable(caller: str, module: Any) -> None:
    try:
        hash(module)
    except TypeError as error:
        raise TypeError(
            f"`module` of {caller} must be hashable, got a {type(module).__name__}: {error}. Hold "
            f"tuples in place of lists and dicts, and arrays as parameters or state."
        ) from error


@dataclass(frozen=True, eq=False)
class Constant:
    """A tree with numbers in it that hashes and compares by value."""

    tree: Tree

    def __hash__(self) -> int:
        leaves, structure = jax.tree.flatten(self.tree)
        return hash((structure, *(leaf.shape if is_array(leaf) else leaf for leaf in leaves)))

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Constant):
            return self is other
        one: Any = jax.tree.structure(self.tree)
        another: Any = jax.tree.structure(other.tree)
        pairs = zip(jax.tree.leaves(self.tree), jax.tree.leaves(other.tree), strict=False)
        return bool(one == another) and all(same_leaf(*pair) for pair in pairs)


def is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray))


def same_leaf(a: Any, b: Any) -> bool:
    if a is b or not (is_array(a) and is_array(b)):
        return a is b or (type(a) is type(b) and bool(a == b))
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    with jax.ensure_compile_time_eval():  # JAX compares static arguments while it traces others
        return bool(jnp.all(a == b))


def signature(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function or class, those of a `Partial` without what it has already."""
    arguments: tuple[Any, ...] = ()
    given: dict[str, Any] = {}
    if isinstance(function, Partial):
        arguments, given = function.arguments, dict(function.keywords)
        function = function.function
    if isinstance(function, type):  # whose metaclass may hide the parameters
        function, arguments = getattr(function, "__init__"), (None, *arguments)  # noqa: B009
    return inspect.signature(functools.partial(function, *arguments, **given)).parameters


def required(parameters: Iterable[inspect.Parameter]) -> list[str]:
    """The names of the parameters without which a call fails."""
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def can_construct(constructor: Any, name: str) -> bool:
    """Whether a call with the argument `name` alone can succeed."""
    parameters = signature(constructor)
    return bool(parameters) and len({*required(parameters.values()), name} - {name}) == (
        0 if name in parameters else 1
    )


def construct(constructor: Callable[..., Any], name: str, value: Any) -> Any:
    """`constructor(value)`, by keyword where it has the argument `name`."""
    return constructor(**{name: value}) if name in signature(constructor) else constructor(value)


def flags(
    caller: str,
    parameters: Sequence[inspect.Parameter],
    flag: str | None,
    others: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """The arguments by which a module learns whether it is trained.

    Args:
        parameters: those of its call, the input first.
        flag: another name for the argument.
        others: arguments that the caller passes as well.

    Raises:
        TypeError: there is no such argument, or there are others without a default.
    """
    names = {p.name for p in parameters[1:]}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if flag is not None and flag not in names and not anything:
        raise TypeError(
            f"`flag` of {caller} must be an argument of the module's call, got {flag!r} instead of "
            f"one of {sorted(names)}. It is the one that is true in training."
        )
    found = [name for name in (*IN_TRAINING, *AT_INFERENCE) if name in names and name != flag]
    found += [flag] if flag is not None else []
    unknown = set(required(parameters[1:])) - {*found, *others}
    if unknown:
        raise TypeError(
            f"`module` of {caller} must be called with one input, got the arguments "
            f"{sorted(unknown)} beside it. Give them defaults, put several inputs into one tree, "
            f"or name the argument that is true in training: flag={min(unknown)!r}."
        )
    return tuple(found)


def keywords(flags: tuple[str, ...], training: bool) -> dict[str, Any]:
    return {name: training != (name in AT_INFERENCE) for name in flags}


def check_dtype(dtype: Any) -> Any:
    return None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)


def zeros(in_shape: Any, dtype: Any) -> Any:
    """A batch of two samples; one alone is something else to a module that squeezes."""
    return map_shapes(
        lambda shape: jnp.zeros((BATCH, *shape), getattr(shape, "dtype", dtype or float)), in_shape
    )


def shape_of(y: Any) -> Any:
    """The shapes of the samples in a batch."""
    return jax.tree.map(lambda array: array.shape[1:], y)


def to_dicts(tree: Tree, is_leaf: Callable[[Any], bool] | None = None) -> Tree:
    """The leaves as nested dicts by path, the form of parameters in fnet."""
    return nested(named(tree, is_leaf))


def named(tree: Tree, is_leaf: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def from_dicts(
    what: str, dicts: Tree, like: Tree, is_leaf: Callable[[Any], bool] | None = None
) -> Tree:
    """The tree like `like` whose leaves were made nested dicts.

    Raises:
        TypeError: the names differ.
    """
    found, names = named(dicts), named(like, is_leaf)
    if found.keys() != names.keys():
        raise LayerTypeError(
            f"expected {what} {sorted(names)}, got {sorted(found)}. "
            f"Use those that fnet.init and fnet.init_state made for this module."
        )
    structure = jax.tree.structure(like, is_leaf=is_leaf)
    return jax.tree.unflatten(structure, [found[name] for name in names])


def check_form(state: Tree, new_state: Tree) -> Tree:
    """The new state, if it has the form of the one before."""
    before, after = named(state), named(new_state)
    if before.keys() != after.keys():
        raise LayerTypeError(
            f"expected a module that keeps the form of its state {sorted(before)}, got "
            f"{sorted(after)}. Values for the loss belong into the output of the module."
        )
    return new_state
