"""The layer interface.

A layer is a pair of pure functions, written as the two methods of a frozen dataclass:

    init(key, in_shape)                       -> params, state, out_shape
    apply(params, state, x, key, training)    -> y, state

Gradients update `params`; the forward pass in training updates `state` (running statistics).
Either is `{}` if the layer has none. Shapes exclude the batch axis, which is axis 0 of `x`. The
dataclass holds only hyperparameters, so a layer hashes, compares and pickles by value.

`x` and `y` are arrays and shapes tuples of integers or, for a layer with `takes_trees`, trees of
them, see `shapes`. Layers are called through `init_layer` and `apply_layer`, which refuse a tree
in words where a layer takes one array.
"""

import abc
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

import jax
import numpy as np

from ..core.errors import OF_JAX, LayerError, LayerTypeError, LayerValueError
from ..core.mesh import with_samples
from ..core.trees import Tree
from ..core.values import Partial, Static, by_value, describe, name_of
from .shapes import (
    BATCH as BATCH,
    Shape as Shape,
    Shapes as Shapes,
    abstract as abstract,
    is_shape as is_shape,
    map_shapes as map_shapes,
    plain as plain,
    shapes_of as shapes_of,
    typed as typed,
)

Key = jax.Array | None  # None if nothing is random
InitResult = tuple[Tree, Tree, Shapes]  # params, state, out_shape
Output = tuple[Any, Tree]  # y, state


@dataclass(frozen=True, repr=False)
class Layer(Static, abc.ABC):
    """Base class of layers; by default without parameters or state, and shape-preserving.

    Subclass it for a layer with state or randomness of its own: a frozen dataclass whose fields are
    hyperparameters, numbers and tuples, with::

        init(key, in_shape)                       -> params, state, out_shape
        apply(params, state, x, key, training)    -> y, state

    `params` and `state` are dicts of arrays, `{}` if there are none: gradients update `params`, and
    `forward` passes on the `state` that `apply` returns. Axis 0 of `x` is the batch, which shapes
    leave out. `key` is a typed random key, another one for each layer and step, or None where the
    caller gave none, as at inference. `apply` must be pure and keep the form of the state. A layer
    that takes or returns a tree of arrays sets `takes_trees = True`; its `in_shape` is then the
    tree of their shapes.

    Example:
        >>> from dataclasses import dataclass
        >>> import jax, jax.numpy as jnp, fnet
        >>> @dataclass(frozen=True, repr=False)
        ... class noise_of_its_input(fnet.Layer):
        ...     '''Add noise as large as the running mean of |x|, times a trained scale.'''
        ...     momentum: float = 0.9
        ...
        ...     def init(self, key, in_shape):
        ...         return {"scale": jnp.ones(())}, {"size": jnp.zeros(())}, in_shape
        ...
        ...     def apply(self, params, state, x, key, training):
        ...         if not training:
        ...             return x, state
        ...         size = self.momentum * state["size"] + (1 - self.momentum) * jnp.abs(x).mean()
        ...         noise = jax.random.normal(key, x.shape, x.dtype)
        ...         return x + params["scale"] * size * noise, {"size": size}
        >>> net = fnet.sequential(fnet.dense(2), noise_of_its_input())
        >>> net
        sequential(dense(2), noise_of_its_input())
        >>> params, state = fnet.init(net, jax.random.key(0), (3,)), fnet.init_state(net, (3,))
        >>> y, state = fnet.forward(net, params, state, jnp.ones((4, 3)), jax.random.key(1))
        >>> y.shape, bool(state["noise_of_its_input"]["size"] > 0)
        ((4, 2), True)
    """

    @property
    def name(self) -> str:
        """The name of its parameters in a combinator, and in errors."""
        return type(self).__name__

    @property
    def takes_trees(self) -> bool:
        """Whether `x` may be a tree of arrays, not only one array."""
        return False

    def init(self, key: jax.Array, in_shape: Any) -> InitResult:
        """Return the parameters, the state and the output shape."""
        return {}, {}, in_shape

    @abc.abstractmethod
    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
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


def init_layer(layer: Layer, key: jax.Array, in_shape: Shapes) -> InitResult:
    """`layer.init`, with dtypes in the output's shape where the input has them."""
    if not is_shape(in_shape) and not layer.takes_trees:
        raise tree_refused(plain(in_shape))
    params, state, out_shape = layer.init(key, in_shape)
    if typed(in_shape):
        out_shape = result_shape(layer, params, state, abstract(in_shape, BATCH))
    return params, state, out_shape


def apply_layer(
    layer: Layer, params: Tree, state: Tree, x: Any, key: Key, training: bool
) -> Output:
    """`layer.apply`, once its input is known to be one array or, if it takes them, a tree.

    On a mesh its output stays with the samples.
    """
    if not hasattr(x, "shape") and not layer.takes_trees:
        raise tree_refused(jax.tree.map(np.shape, x))
    y, state = layer.apply(params, state, x, key, training)
    return with_samples(y), state


def tree_refused(shapes: Any) -> LayerTypeError:
    return LayerTypeError(
        f"expected one array, got a tree of arrays, with shapes {shapes}. Call the layer on one of "
        f"them in fnet.graph, or set `takes_trees` in a layer of your own that takes them all."
    )


def result_shape(layer: Layer, params: Tree, state: Tree, x: Any) -> Shapes:
    """The shape of a layer's output for an abstract or real batch, with its dtype."""
    return shapes_of(
        jax.eval_shape(
            lambda params, state, x: apply_layer(layer, params, state, x, None, False)[0],
            params,
            state,
            x,
        )
    )


def check_batched(y: Any, what: str, came: str) -> None:
    """Raise unless `y` is made of arrays that keep the batch axis of an input of BATCH samples."""
    leaves = jax.tree.leaves(y)
    if not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
        raise LayerTypeError(
            f"expected {what} that returns an array, got {describe(y)}. "
            f"Return one array, or a dict or tuple of arrays."
        )
    if any(leaf.shape[:1] != (BATCH,) for leaf in leaves):
        shapes = jax.tree.map(np.shape, y)
        raise LayerValueError(
            f"expected {what} that keeps the batch axis, got output shape {shapes} "
            f"for input shape {came}. Leave axis 0 as it is."
        )


@dataclass(frozen=True, repr=False)
class Function(Layer):
    """A function `x -> y` on batches, wrapped as a layer without parameters."""

    function: Callable[[Any], Any]

    @property
    def name(self) -> str:
        return name_of(self.function)

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        x = abstract(in_shape, BATCH)
        y = jax.eval_shape(self.call, x)
        check_batched(y, "a function", f"{jax.tree.map(np.shape, x)}")
        return {}, {}, shapes_of(y)

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        return self.call(x), state

    def call(self, x: Any) -> Any:
        try:
            return self.function(x)
        except (AttributeError, LookupError, TypeError) as error:
            if hasattr(x, "shape") or isinstance(error, (LayerError, *OF_JAX)):
                raise
            raise LayerTypeError(
                f"expected arrays that the function takes, got a tree with shapes "
                f"{jax.tree.map(np.shape, x)}, for which it raises {error!r}. Call it on one of "
                f"them in fnet.graph, or take the tree apart in it."
            ) from error

    def __repr__(self) -> str:
        return repr(self.function) if isinstance(self.function, Partial) else self.name


@dataclass(frozen=True, repr=False)
class Custom(Layer):
    """A layer built from two user functions."""

    init_function: Callable[[jax.Array, Any], tuple[Tree, Any]]
    apply_function: Callable[[Tree, Any], Any]

    @property
    def name(self) -> str:
        return "layer"

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        params, out_shape = self.init_function(key, in_shape)
        return params, {}, out_shape

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        return self.apply_function(params, x), state


def layer(
    init: Callable[[jax.Array, Any], tuple[Tree, Any]],
    apply: Callable[[Tree, Any], Any],
) -> Layer:
    """Build a custom layer from two functions.

    Args:
        init: `init(key, in_shape) -> (params, out_shape)`, with shapes excluding the batch axis.
        apply: `apply(params, x) -> y`, where axis 0 of `x` is the batch axis. `x` and `y` may be
            trees of arrays; `in_shape` and `out_shape` are then the trees of their shapes.

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
