"""Combinators: layers made of layers, with parameters keyed by layer name."""

import abc
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp

from ..core.errors import LayerTypeError, LayerValueError, inside
from ..core.trees import Tree
from ..core.values import Partial, by_value, describe, name_of
from .base import (
    InitResult,
    Key,
    Layer,
    Output,
    Shapes,
    abstract,
    apply_layer,
    as_layer,
    init_layer,
    is_shape,
    plain,
    shapes_of,
)

Calls = Sequence[Callable[[Any], Any]]  # one per layer: x -> y, or in_shape -> out_shape


@dataclass(frozen=True, repr=False, init=False)
class Combinator(Layer):
    """A layer made of layers with unique names, numbered as in Keras: `dense`, `dense_1`, ...

    Subclasses define how the layers connect, for arrays and for shapes.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Any):
        checked = tuple(as_layer(value, f"layers[{i}]") for i, value in enumerate(layers))
        object.__setattr__(self, "layers", checked)

    @property
    def takes_trees(self) -> bool:
        return True  # the layers in it refuse what they do not take

    @abc.abstractmethod
    def connect(self, calls: Calls, x: Any) -> Any: ...

    @abc.abstractmethod
    def connect_shapes(self, calls: Calls, in_shape: Shapes) -> Shapes: ...

    def named(self) -> Iterator[tuple[str, Layer]]:
        seen: Counter[str] = Counter()
        for layer in self.layers:
            number = seen[layer.name]
            seen[layer.name] += 1
            yield f"{layer.name}_{number}" if number else layer.name, layer

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        params, state = {}, {}

        def call(index: int, name: str, layer: Layer, shape: Shapes) -> Shapes:
            own_key = jax.random.fold_in(key, index)
            with inside(name):
                own_params, own_state, shape = init_layer(layer, own_key, shape)
            if jax.tree.leaves(own_params):
                params[name] = own_params
            if jax.tree.leaves(own_state):
                state[name] = own_state
            return shape

        calls = [partial(call, i, *named) for i, named in enumerate(self.named())]
        out_shape = self.connect_shapes(calls, in_shape)
        return params, state, out_shape

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        names = [name for name, _ in self.named()]
        check_known("parameters", params, names)
        check_known("model state", state, names)
        new_state, numbers = dict(state), count()

        def call(name: str, layer: Layer, x: Any) -> Any:
            number = next(numbers)  # a layer that is called twice has another key each time
            own_key = None if key is None else jax.random.fold_in(key, number)
            with inside(name):
                y, own_state = apply_layer(
                    layer, params.get(name, {}), new_state.get(name, {}), x, own_key, training
                )
            if own_state:
                new_state[name] = own_state
            return y

        calls = [partial(call, *named) for named in self.named()]
        return self.connect(calls, x), new_state

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.layers))})"


def check_known(what: str, tree: Tree, names: list[str]) -> None:
    """Raise if `tree` has other keys than `names`; each layer reports its own missing entries."""
    unknown = sorted(tree.keys() - set(names)) if isinstance(tree, dict) else describe(tree)
    if unknown:
        raise LayerTypeError(
            f"expected {what} of the layers {names}, got {unknown}. "
            f"Use those that fnet.init and fnet.init_state made for this model."
        )


def chain(calls: Calls, x: Any) -> Any:
    for call in calls:
        x = call(x)
    return x


class sequential(Combinator):
    r"""Apply layers in sequence.

    .. math:: y = f_n(\ldots f_2(f_1(x)))

    Args:
        layers: layers, or plain functions `x -> y` on batches.

    Raises:
        TypeError: an argument is not a layer; the message gives its position.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(2), fnet.softmax)
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> jax.tree.map(jnp.shape, params)  # doctest: +NORMALIZE_WHITESPACE
        {'dense': {'bias': (4,), 'kernel': (3, 4)},
         'dense_1': {'bias': (2,), 'kernel': (4, 2)}}
        >>> net
        sequential(dense(4), relu, dense(2), softmax)
    """

    def connect(self, calls: Calls, x: Any) -> Any:
        return chain(calls, x)

    def connect_shapes(self, calls: Calls, in_shape: Shapes) -> Shapes:
        return chain(calls, in_shape)


class residual(Combinator):
    """Apply layers in sequence and add the input, to each array of a tree.

    .. math:: y = x + f(x)

    Args:
        layers: as for `sequential`; together they must keep the shape.

    Raises:
        TypeError: an argument is not a layer.
        ValueError: (from `init`) the layers change the shape.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.residual(lambda x: 2 * x)
        >>> fnet.apply(net, {}, jnp.ones((1, 2)))
        Array([[3., 3.]], dtype=float32)

    Source: He et al. 2016, Deep Residual Learning, equation 1.
    """

    def connect(self, calls: Calls, x: Any) -> Any:
        y = chain(calls, x)
        check_kept(shapes_of(x), shapes_of(y))
        return jax.tree.map(operator.add, x, y)

    def connect_shapes(self, calls: Calls, in_shape: Shapes) -> Shapes:
        check_kept(in_shape, chain(calls, in_shape))
        return in_shape


def check_kept(in_shape: Shapes, out_shape: Shapes) -> None:
    if plain(in_shape) != plain(out_shape):
        units = in_shape[-1] if is_shape(in_shape) and in_shape else 1
        fix = f"End them with dense({units})" if is_shape(in_shape) else "Return a tree like it"
        raise LayerValueError(
            f"expected layers that keep the shape {plain(in_shape)}, got {plain(out_shape)}. "
            f"{fix}, or use fnet.sequential."
        )


def concatenate(outputs: Sequence[jax.Array]) -> jax.Array:
    """Concatenate along the last axis."""
    return jnp.concatenate(outputs, axis=-1)


@dataclass(frozen=True, repr=False, init=False)
class parallel(Combinator):
    r"""Apply layers to the same input and merge their outputs.

    .. math:: y = \mathrm{merge}([f_1(x), \ldots, f_n(x)])

    Args:
        layers: as for `sequential`.
        merge: a function of the list of outputs, such as `sum`; by default it concatenates them
            along the last axis.

    Raises:
        TypeError: an argument is not a layer.
        ValueError: there are no layers; (from `init`) the outputs cannot be merged.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.parallel(fnet.relu, lambda x: -x)
        >>> fnet.apply(net, {}, jnp.array([[1.0, 2.0]]))
        Array([[ 1.,  2., -1., -2.]], dtype=float32)
    """

    merge: Callable[[Sequence[Any]], Any] = concatenate

    def __init__(self, *layers: Any, merge: Callable[..., Any] = concatenate):
        if not layers:
            raise ValueError("`layers` of parallel must be at least one, got none. Pass a layer.")
        super().__init__(*layers)
        object.__setattr__(self, "merge", by_value(merge, "merge"))

    def connect(self, calls: Calls, x: Any) -> Any:
        return self.merge([call(x) for call in calls])

    def connect_shapes(self, calls: Calls, in_shape: Shapes) -> Shapes:
        shapes = [call(in_shape) for call in calls]
        outputs = [abstract(shape, 1) for shape in shapes]
        try:
            return shapes_of(jax.eval_shape(self.merge, outputs))
        except (TypeError, ValueError) as error:
            raise LayerValueError(
                f"expected outputs that {name_of(self.merge)} can merge, got shapes "
                f"{[plain(shape) for shape in shapes]}. "
                f"Change the layers or `merge`."
            ) from error

    def __repr__(self) -> str:
        shown = repr(self.merge) if isinstance(self.merge, Partial) else name_of(self.merge)
        merge = "" if self.merge is concatenate else f", merge={shown}"
        return f"{super().__repr__()[:-1]}{merge})"
