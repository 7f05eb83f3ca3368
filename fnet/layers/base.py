"""The layer interface.

A layer is a pair of pure functions, written as the two methods of a frozen dataclass:

    init(key, in_shape)                       -> params, state, out_shape
    apply(params, state, x, key, training)    -> y, state

Gradients update `params`; the forward pass in training updates `state` (running statistics).
Either is `{}` if the layer has none. Shapes exclude the batch axis, which is axis 0 of `x`. The
dataclass holds only hyperparameters, so a layer hashes, compares and pickles by value.
"""

import abc
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import LayerTypeError, LayerValueError
from ..core.trees import Tree
from ..core.values import Partial, by_value, describe, name_of

Shape = tuple[int, ...]
Key = jax.Array | None  # None if nothing is random
InitResult = tuple[Tree, Tree, Shape]  # params, state, out_shape
Output = tuple[jax.Array, Tree]  # y, state


def abstract(shape: Shape) -> jax.ShapeDtypeStruct:
    """Return an abstract float array of this shape, for `jax.eval_shape`."""
    return jax.ShapeDtypeStruct(shape, jnp.result_type(float))


@dataclass(frozen=True, repr=False)
class Layer(abc.ABC):
    """Base class of layers; by default without parameters or state, and shape-preserving."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        """Return the parameters, the state and the output shape."""
        return {}, {}, in_shape

    @abc.abstractmethod
    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        """Return the output for a batch and the new state."""

    def __repr__(self) -> str:
        shown, by_name = [], False
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is not MISSING and value == field.default:
                by_name = True  # later fields cannot be positional
                continue
            plain = callable(value) and not isinstance(value, Partial)
            text = name_of(value) if plain else repr(value)
            shown.append(f"{field.name}={text}" if field.kw_only or by_name else text)
        return f"{self.name}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Function(Layer):
    """A function `x -> y` on batches, wrapped as a layer without parameters."""

    function: Callable[[jax.Array], jax.Array]

    @property
    def name(self) -> str:
        return name_of(self.function)

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        batch = 2  # not 1: a squeeze would remove the batch axis
        y = jax.eval_shape(self.function, abstract((batch, *in_shape)))
        if not isinstance(y, jax.ShapeDtypeStruct):
            raise LayerTypeError(
                f"expected a function that returns an array, got {describe(y)}. Return one array."
            )
        if y.shape[:1] != (batch,):
            raise LayerValueError(
                f"expected a function that keeps the batch axis, got output shape {y.shape} "
                f"for input shape {(batch, *in_shape)}. Leave axis 0 as it is."
            )
        return {}, {}, y.shape[1:]

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return self.function(x), state

    def __repr__(self) -> str:
        return repr(self.function) if isinstance(self.function, Partial) else self.name


@dataclass(frozen=True, repr=False)
class Custom(Layer):
    """A layer built from two user functions."""

    init_function: Callable[[jax.Array, Shape], tuple[Tree, Shape]]
    apply_function: Callable[[Tree, jax.Array], jax.Array]

    @property
    def name(self) -> str:
        return "layer"

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        params, out_shape = self.init_function(key, in_shape)
        return params, {}, out_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return self.apply_function(params, x), state


def layer(
    init: Callable[[jax.Array, Shape], tuple[Tree, Shape]],
    apply: Callable[[Tree, jax.Array], jax.Array],
) -> Layer:
    """Build a custom layer from two functions.

    Args:
        init: `init(key, in_shape) -> (params, out_shape)`, with shapes excluding the batch axis.
        apply: `apply(params, x) -> y`, where axis 0 of `x` is the batch axis.

    Raises:
        TypeError: an argument is not a function.

    Layers compare equal if their functions do. Define the functions once at module level; a new
    lambda makes a new layer, which JAX compiles again.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> def init(key, in_shape):
        ...     return {"scale": jnp.ones(in_shape)}, in_shape
        >>> def apply(params, x):
        ...     return x * params["scale"]
        >>> net = fnet.sequential(fnet.layer(init, apply), fnet.relu)
        >>> fnet.init(net, jax.random.key(0), (3,))
        {'layer': {'scale': Array([1., 1., 1.], dtype=float32)}}
    """
    return Custom(by_value(init, "init"), by_value(apply, "apply"))


def as_layer(value: Any, argument: str) -> Layer:
    """Return a layer unchanged, and wrap a plain function as a layer."""
    if isinstance(value, Layer):
        return value
    if callable(value) and not isinstance(value, type):
        return Function(by_value(value, argument))
    if isinstance(value, type):
        fix = f"Call it: {value.__name__}(...)."
    elif isinstance(value, str):
        fix = f"Layers have no names here: write fnet.{value}."
    elif isinstance(value, (list, tuple)):
        fix = "Write fnet.sequential(*layers)."
    else:
        fix = "A dense layer of 512 units is fnet.dense(512)."
    raise TypeError(
        f"`{argument}` must be a layer or a function x -> y, got {describe(value)}. {fix}"
    )


def check_names(what: str, tree: Tree, names: tuple[str, ...], fix: str) -> None:
    """Raise unless the keys of `tree` are exactly `names`."""
    if not isinstance(tree, dict) or set(tree) != set(names):
        came = sorted(tree) if isinstance(tree, dict) else describe(tree)
        raise LayerTypeError(f"expected {what} {sorted(names)}, got {came}. {fix}")


def set_count(layer: Layer, name: str, fix: str = "") -> None:
    """Validate a hyperparameter as an integer of at least 1, and store it as an int."""
    value = getattr(layer, name)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(
            f"`{name}` of {layer.name} must be an integer of at least 1, got {describe(value)}. "
            f"{fix}"
        )
    object.__setattr__(layer, name, int(value))


def set_functions(layer: Layer, *names: str) -> None:
    """Validate hyperparameters as functions, and make them comparable by value."""
    for name in names:
        object.__setattr__(layer, name, by_value(getattr(layer, name), name))


def set_number(
    layer: Layer, name: str, low: float = -math.inf, below: float = math.inf, fix: str = ""
) -> None:
    """Validate a hyperparameter as a number in [low, below), and store it as a float."""
    value = getattr(layer, name)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"`{name}` of {layer.name} must be a number, got {describe(value)}. {fix}")
    if not (low <= value < below and math.isfinite(value)):
        range_ = f"[{low}, {below})"
        raise ValueError(f"`{name}` of {layer.name} must be in {range_}, got {value}. {fix}")
    object.__setattr__(layer, name, float(value))
