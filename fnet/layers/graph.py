"""Any wiring of layers, as a function of them and the input."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.errors import (
    OF_JAX,
    LayerAttributeError,
    LayerError,
    LayerTypeError,
    LayerValueError,
    inside,
)
from ..core.trees import Tree
from ..core.values import Partial, by_value, name_of
from .base import (
    BATCH,
    InitResult,
    Layer,
    Shapes,
    abstract,
    as_layer,
    check_batched,
    init_layer,
    plain,
    result_shape,
    shapes_of,
)
from .combinators import Calls, Combinator

WRONG_FORM = AttributeError, LookupError, TypeError, ValueError  # what taking a tree apart raises


@dataclass(frozen=True, repr=False, init=False)
class graph(Combinator):
    """Any wiring of layers, `y = function(layers, x)`.

    `function` calls the layers by their names and may do with arrays what JAX can: two inputs, two
    outputs, skip connections, shared weights. A layer that is called twice has one set of weights;
    its state passes from the first call to the second, and each call has a random key of its own.
    A layer that is given under two names has two sets of weights.

    The parameters are those of the layers under their names. `x` and `y` are arrays or trees of
    them, and `in_shape` is the tree of the shapes. `init` calls `function` once with arrays of
    zeros to see which layer takes which shape. Make a last softmax or sigmoid a layer of the graph,
    and return what it gives: a crossentropy is then computed from its logits, exactly.

    Args:
        function: `function(layers, x) -> y`, where `layers.name(x)`, or for a computed name
            `getattr(layers, name)(x)`, applies the layer of that name to an array or a tree. It
            must be pure and call every layer. Define it at the top of a module: equal models then
            compile once. A lambda or closure works too, and compiles once for each object.
        layers: the layers by name, or plain functions `x -> y` on batches.

    Raises:
        TypeError: `function` is not a function, or an argument is not a layer; (from `init` and
            `apply`) the input is not of the form that the function takes apart.
        ValueError: the name of a layer is not an identifier; (from `init`) a layer is never called,
            a layer is called again with a shape that its weights do not fit, or an output loses the
            batch axis.
        AttributeError: (from `init`) the function calls a layer that is not there.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> def similarity(layers, x):
        ...     left, right = layers.encoder(x["left"]), layers.encoder(x["right"])
        ...     return {"code": left, "same": layers.head(left * right)}
        >>> net = fnet.graph(
        ...     similarity,
        ...     encoder=fnet.sequential(fnet.dense(8), fnet.tanh),
        ...     head=fnet.sequential(fnet.dense(1), fnet.sigmoid),
        ... )
        >>> in_shape = {"left": (3,), "right": (3,)}
        >>> params = fnet.init(net, jax.random.key(0), in_shape)
        >>> jax.tree.map(jnp.shape, params["encoder"])
        {'dense': {'bias': (8,), 'kernel': (3, 8)}}
        >>> fnet.output_shape(net, in_shape)
        {'code': (8,), 'same': (1,)}
        >>> x = {"left": jnp.ones((5, 3)), "right": jnp.zeros((5, 3))}
        >>> fnet.apply(net, params, x)["same"].shape
        (5, 1)

    Source: shared weights: Bromley et al. 1993, Signature Verification Using a Siamese Time Delay
    Neural Network, section 4.
    """

    function: Callable[[Any, Any], Any]
    names: tuple[str, ...]

    def __init__(self, function: Callable[[Any, Any], Any], /, **layers: Any):
        for name in layers:
            if not name.isidentifier() or name.startswith("__"):
                raise ValueError(
                    f"`layers` of graph must have names that can be written as layers.name, got "
                    f"{name!r}. Use letters, digits and underscores."
                )
        checked = tuple(as_layer(layer, name) for name, layer in layers.items())
        object.__setattr__(self, "layers", checked)
        object.__setattr__(self, "function", by_value(function, "function"))
        object.__setattr__(self, "names", tuple(layers))

    def named(self) -> "zip[tuple[str, Layer]]":
        return zip(self.names, self.layers, strict=True)

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        trees: dict[str, tuple[Shapes, Tree, Tree]] = {}

        def call(index: int, name: str, layer: Layer, shape: Shapes) -> Shapes:
            own_key = jax.random.fold_in(key, index)
            with inside(name):
                if name in trees:
                    check_shared(layer, *trees[name], shape)
                else:
                    trees[name] = shape, *init_layer(layer, own_key, shape)[:2]
                _, params, state = trees[name]
                return result_shape(layer, params, state, abstract(shape, BATCH))

        calls = [partial(call, i, *named) for i, named in enumerate(self.named())]
        out_shape = self.connect_shapes(calls, in_shape)
        never = [name for name in self.names if name not in trees]
        if never:
            raise LayerValueError(
                f"expected a function that calls every layer, got {name_of(self.function)}, which "
                f"never calls {never}. Call them, or leave them out of the graph."
            )
        params, state = (
            {name: found[i] for name, found in trees.items() if jax.tree.leaves(found[i])}
            for i in (1, 2)
        )
        return params, state, out_shape

    def connect(self, calls: Calls, x: Any) -> Any:
        named = zip(self.names, calls, strict=True)
        layers = Layers(**{name: partial(one_input, name, call) for name, call in named})
        try:
            return self.function(layers, x)
        except WRONG_FORM as error:
            if isinstance(error, (LayerError, *OF_JAX)) or getattr(error, "__notes__", None):
                raise
            kind = LayerValueError if isinstance(error, ValueError) else LayerTypeError
            raise kind(
                f"expected an input that {name_of(self.function)} takes, got {shown(x)}, for which "
                f"it raises {error!r}. Pass arrays in the tree that the function takes apart, for "
                f"`in_shape` the tree of their shapes."
            ) from error

    def connect_shapes(self, calls: Calls, in_shape: Shapes) -> Shapes:
        def on_zeros(name: str, call: Callable[[Shapes], Shapes], x: Any) -> Any:
            leaves = jax.tree.leaves(x)
            sizes = {np.shape(leaf)[:1] for leaf in leaves}
            if len(sizes) != 1 or () in sizes:
                raise LayerValueError(
                    f"expected a call of {name} with batches, samples in axis 0 of each array, got "
                    f"{shown(x)}. Give each array the batch axis of the input."
                )
            return zeros(call(shapes_of(x)), len(leaves[0]))

        named = zip(self.names, calls, strict=True)
        y = self.connect([partial(on_zeros, *one) for one in named], zeros(in_shape, BATCH))
        check_batched(y, "a function", f"{jax.tree.map(np.shape, abstract(in_shape, BATCH))}")
        return shapes_of(y)

    def __repr__(self) -> str:
        plain_function = not isinstance(self.function, Partial)
        function = name_of(self.function) if plain_function else repr(self.function)
        return f"graph({', '.join([function, *(f'{n}={layer!r}' for n, layer in self.named())])})"


class Layers(SimpleNamespace):
    """What a graph's function calls: one attribute for each layer."""

    def __getattr__(self, name: str) -> Any:
        raise LayerAttributeError(
            f"expected a call of one of the layers {sorted(vars(self))}, got `layers.{name}`. "
            f"Check the spelling, or pass {name}=... to fnet.graph."
        )


def one_input(name: str, call: Callable[[Any], Any], *inputs: Any) -> Any:
    if len(inputs) != 1:
        raise LayerTypeError(
            f"expected one input in the call of {name}, got {len(inputs)}. Pass several arrays as "
            f"one tuple or dict, to a layer that takes it: layers.{name}((a, b))."
        )
    return call(*inputs)


def check_shared(layer: Layer, before: Shapes, params: Tree, state: Tree, shape: Shapes) -> None:
    """Raise unless the weights from the first call fit the shape of another one."""
    if plain(shape) == plain(before):
        return
    new = jax.eval_shape(lambda: init_layer(layer, jax.random.key(0), shape)[:2])
    forms = [jax.tree.map(jnp.shape, trees) for trees in ((params, state), new)]
    if forms[0] != forms[1]:
        raise LayerValueError(
            f"expected calls with one shape, since all share the weights, got samples of shape "
            f"{plain(before)} and then {plain(shape)}. Give the graph a second layer for these."
        )


def zeros(in_shape: Shapes, batch: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), abstract(in_shape, batch))


def shown(x: Any) -> str:
    """The shapes of the arrays of a tree."""
    if hasattr(x, "shape"):
        return f"an array of shape {x.shape}"
    return f"a {type(x).__name__} with shapes {jax.tree.map(np.shape, x)}"
