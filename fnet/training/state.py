"""The state of a run: everything that changes, in one value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..core.tracebacks import api_boundary
from ..core.trees import Tree, by_path
from ..core.values import describe
from ..layers.base import Layer, Shapes, as_layer
from ..layers.shapes import to_static
from ..models.model import check_key, check_shape, compiled_once, init_trees
from ..optimizers.base import Optimizer
from ..optimizers.by_name import as_optimizer
from .signature import dtype_of


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TrainState:
    """Everything that changes in a run, as one pytree: save it, vmap it, shard it.

    Attributes:
        params: the parameters, see `init`.
        model_state: the running statistics, see `init_state`.
        optimizer: the optimizer, whose leaves are its hyperparameters.
        opt_state: the state of the optimizer.
        key: the typed key that determines the order of samples and dropout.
        step: the number of steps taken, int32.

    Example:
        >>> import dataclasses, jax, fnet
        >>> state = fnet.train_state(fnet.dense(1), "sgd", jax.random.key(0), (2,))
        >>> slower = dataclasses.replace(state, optimizer=fnet.sgd(1e-3))  # compiles nothing anew
    """

    params: Tree
    model_state: Tree
    optimizer: Optimizer
    opt_state: Tree
    key: jax.Array
    step: jax.Array

    @staticmethod
    def create(
        params: Tree, optimizer: Optimizer | str, key: jax.Array, model_state: Tree = None
    ) -> "TrainState":
        """The state at the start of a run, for parameters from anywhere.

        Args:
            params: any tree of floating arrays.
            optimizer: an optimizer, or the name of one for its defaults.
            key: a typed key.
            model_state: what changes in a run outside of the gradient, any tree of arrays; `{}`
                by default.

        Raises:
            TypeError: `params` holds no array or one that is not floating, `optimizer` is not an
                optimizer, or `key` is not a typed key.
            ValueError: an unknown name.

        `train_state(net, optimizer, key, in_shape)` is the same for the parameters of `init` and
        the statistics of `init_state`.

        Example:
            >>> import jax, jax.numpy as jnp, fnet
            >>> params = {"w": jnp.zeros(3)}
            >>> state = fnet.TrainState.create(params, fnet.adam(1e-3), jax.random.key(0))
            >>> int(state.step), state.model_state
            (0, {})
        """
        model_state = {} if model_state is None else model_state
        params, model_state = (jax.tree.map(strong, tree) for tree in (params, model_state))
        check_params(params)
        rule = jax.tree.map(jnp.asarray, as_optimizer(optimizer))
        return begin(params, model_state, rule, check_key(key))


@api_boundary
def train_state(
    net: Layer, optimizer: Optimizer | str, key: jax.Array, in_shape: Shapes
) -> TrainState:
    """The state at the start of a run: parameters and statistics of `init`, nothing trained.

    Args:
        net: a layer, or a plain function `x -> y`.
        optimizer: an optimizer, or the name of one for its defaults.
        key: a typed key; the parameters are those of `init(net, key, in_shape)`.
        in_shape: the shape of one sample, without the batch axis, or a tree of shapes, as for
            `init`.

    Raises:
        TypeError: `optimizer` is not an optimizer, `key` is not a typed key, or `in_shape` is not a
            tuple or a tree of tuples.
        ValueError: an unknown name, or as `init`.

    Example:
        >>> import jax, fnet
        >>> state = fnet.train_state(fnet.dense(1), fnet.rmsprop(1e-3), jax.random.key(0), (2,))
        >>> int(state.step), fnet.count_params(state.params)
        (0, 3)
    """
    net, optimizer = as_layer(net, "net"), as_optimizer(optimizer)
    return compiled_start(net, optimizer, check_key(key), to_static(check_shape(in_shape)))


def start(net: Layer, optimizer: Optimizer, key: jax.Array, in_shape: Any) -> TrainState:
    return begin(*init_trees(net, key, in_shape), optimizer, key)


compiled_start: Callable[..., TrainState] = compiled_once(start, static_argnums=(0, 3))


def begin(params: Tree, model_state: Tree, optimizer: Optimizer, key: jax.Array) -> TrainState:
    return TrainState(
        params=params,
        model_state=model_state,
        optimizer=optimizer,
        opt_state=optimizer.init(params),
        key=jax.random.fold_in(key, 2**32 - 1),  # the layers' keys are folded in from 0 on
        step=jnp.zeros((), jnp.int32),
    )


def strong(leaf: Any) -> jax.Array:
    """An array whose dtype does not bend to that of others, as the loop over steps needs it."""
    return jnp.asarray(leaf, dtype_of(leaf))


def check_params(params: Tree) -> None:
    for name, leaf in by_path(params).items() or [("", None)]:
        if leaf is None or not jnp.issubdtype(leaf.dtype, jnp.floating):
            came = describe(params) if leaf is None else f"{leaf.dtype} in {name!r}"
            raise TypeError(
                f"`params` must be a tree of floating arrays, got {came}. What is not trained goes "
                f"into `model_state`."
            )


def check_state(state: TrainState) -> TrainState:
    if not isinstance(state, TrainState):
        raise TypeError(
            f"`state` must be a TrainState, got {describe(state)}. "
            f"Make it with fnet.train_state(net, optimizer, key, in_shape)."
        )
    return state


def params_and_state(state: TrainState | Tree) -> tuple[Tree, Tree]:
    """Parameters and model state, of a TrainState or of parameters alone."""
    return (state.params, state.model_state) if isinstance(state, TrainState) else (state, {})
