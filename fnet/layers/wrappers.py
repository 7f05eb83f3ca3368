"""Wrappers for deep stacks: a scan over equal layers, and rematerialisation."""

import copy
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..core.dtypes import floating
from ..core.errors import LayerTypeError, LayerValueError, inside
from ..core.trees import Tree
from ..core.values import Partial, resolve
from .base import (
    InitResult,
    Key,
    Layer,
    Output,
    Shapes,
    apply_layer,
    as_layer,
    init_layer,
    shapes_of,
)
from .checks import set_count
from .combinators import Combinator, check_kept
from .dense import REBUILD


@dataclass(frozen=True, repr=False)
class Wrapped(Layer):
    """A layer around another layer, with the same name, parameters and state."""

    layer: Layer

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def takes_trees(self) -> bool:
        return self.layer.takes_trees

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        return self.layer.init(key, in_shape)


@dataclass(frozen=True, repr=False)
class scan_layers(Layer):
    r"""A stack of equal layers, compiled once for any depth.

    .. math:: y = f_n(\ldots f_2(f_1(x)))

    with `depth` :math:`n`. The layers have the same structure but separate parameters. The
    parameters and the state are those of one layer, with a leading axis of length `depth` added to
    every array. Layer i is initialised with `jax.random.fold_in(key, i)`.

    Args:
        layer: a layer that preserves shape and dtype, such as a `residual`, of each array if its
            input is a tree.
        depth: the number of layers.
        unroll: the number of layers per iteration of the loop; larger values take longer to
            compile and may run faster.

    Raises:
        TypeError: `layer` is not a layer; (from `apply`) it changes the dtype.
        ValueError: `depth` or `unroll` is below 1; (from `init`) the layer changes the shape;
            (from `apply`) the parameters are those of another depth.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.scan_layers(fnet.residual(fnet.dense(8), fnet.relu), 100)
        >>> params = fnet.init(net, jax.random.key(0), (8,))
        >>> jax.tree.map(jnp.shape, params)
        {'dense': {'bias': (100, 8), 'kernel': (100, 8, 8)}}
        >>> fnet.apply(net, params, jnp.ones((5, 8))).shape
        (5, 8)

    Differentiation stores the intermediate values of every layer. `scan_layers(remat(layer), 100)`
    stores only the input of each.
    """

    layer: Layer
    depth: int
    _: KW_ONLY
    unroll: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_layer(self.layer, "layer"))
        set_count(self, "depth", "Pass the number of layers: scan_layers(layer, 12).")
        set_count(self, "unroll", "Omit it to run one layer per iteration.")

    @property
    def takes_trees(self) -> bool:
        return self.layer.takes_trees

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        def one(key: jax.Array) -> tuple[Tree, Tree]:
            with inside(self.layer.name):
                params, state, out_shape = init_layer(self.layer, key, in_shape)
            check_kept(in_shape, out_shape)
            return params, state

        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(self.depth))
        return *jax.vmap(one)(keys), in_shape

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        for leaf in jax.tree.leaves((params, state)):
            if leaf.shape[:1] != (self.depth,):
                raise LayerValueError(
                    f"expected arrays of {self.depth} layers, stacked along axis 0, got shape "
                    f"{leaf.shape}. {REBUILD}"
                )

        def one(x: Any, own: tuple[Tree, Tree, jax.Array]) -> Output:
            params, state, index = own
            own_key = None if key is None else jax.random.fold_in(key, index)
            with inside(self.layer.name):
                y, state = apply_layer(self.layer, params, state, x, own_key, training)
            check_kept(shapes_of(x), shapes_of(y))
            for before, after in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
                if before.dtype != after.dtype:
                    raise LayerTypeError(
                        f"expected a layer that keeps the dtype, got {after.dtype} from "
                        f"{before.dtype}. Use one dtype for parameters and input."
                    )
            return y, state

        each = params, state, jnp.arange(self.depth)
        start = floating(x) if hasattr(x, "shape") else x  # ids and masks in a tree stay
        return lax.scan(one, start, each, unroll=self.unroll)


POLICIES = {
    name: getattr(jax.checkpoint_policies, name)
    for name in (
        "nothing_saveable",
        "dots_saveable",
        "dots_with_no_batch_dims_saveable",
        "everything_saveable",
    )
}


@dataclass(frozen=True, repr=False)
class remat(Wrapped):
    """Rematerialise a layer: recompute it for the gradient instead of storing its values.

    This costs one more forward pass of the layer and stores only its input. The wrapper has the
    layer's name, parameters and state, so you can add or remove it at any time.

    Args:
        layer: a layer, best one of several large parts of a model, such as each `residual` in a
            stack. Keep the last activation outside, so that losses can use its logits.
        policy: which values are stored all the same: the name of one of `jax.checkpoint_policies`,
            such as `"dots_saveable"` for the results of all products, which then are not computed
            twice, or `"dots_with_no_batch_dims_saveable"` for those with a kernel; or a function of
            that form. By default none.

    Raises:
        TypeError: `layer` is not a layer, or `policy` is neither a name nor a function.
        ValueError: `policy` is an unknown name.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.remat(fnet.dense(2)), fnet.softmax)
        >>> jax.tree.map(jnp.shape, fnet.init(net, jax.random.key(0), (3,)))
        {'dense': {'bias': (2,), 'kernel': (3, 2)}}

    Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
    """

    _: KW_ONLY
    policy: str | Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", as_layer(self.layer, "layer"))
        if self.policy is not None:
            function = resolve("policy", self.policy, POLICIES)
            if not isinstance(self.policy, str):
                object.__setattr__(self, "policy", function)

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        policy = POLICIES[self.policy] if isinstance(self.policy, str) else self.policy

        def run(params: Tree, state: Tree, x: Any, key: Key) -> Output:
            return self.layer.apply(params, state, x, key, training)

        return jax.checkpoint(run, policy=policy)(params, state, x, key)

    def __repr__(self) -> str:
        if self.policy is None:
            return f"remat({self.layer!r})"
        named = isinstance(self.policy, (str, Partial))
        policy = repr(self.policy) if named else getattr(self.policy, "__name__", "policy")
        return f"remat({self.layer!r}, policy={policy})"


def map_layers(net: Layer, wrap: Callable[[Layer], Layer]) -> Layer:
    """Wrap every layer of a model; the structure of its parameters stays the same."""
    if not isinstance(net, Combinator):
        return wrap(net)
    twin = copy.copy(net)
    wrapped = tuple(map_layers(layer, wrap) for layer in net.layers)
    object.__setattr__(twin, "layers", wrapped)
    return twin
