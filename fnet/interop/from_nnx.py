"""NNX modules of flax as layers; see `from_flax`."""

import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from ..core.trees import Tree
from ..core.values import describe, name_of
from ..layers.base import InitResult, Key, Layer, Output, Shapes
from .modules import (
    Constant,
    check_form,
    check_hashable,
    construct,
    flags,
    from_dicts,
    keywords,
    library,
    shape_of,
    to_dicts,
    zeros,
)

Parts = tuple[Any, Any, Any, Any]  # graph definition, parameters, random streams, other variables


@dataclass(frozen=True, repr=False)
class Nnx(Layer):
    """An NNX module, or a function that makes one."""

    source: Constant | Callable[..., Any]
    flag: str | None
    dtype: Any

    def __post_init__(self) -> None:
        check_hashable("from_flax", self.source)
        form(self)  # raises what can be known now

    @property
    def name(self) -> str:
        return form(self)[2]

    def parts(self, key: jax.Array) -> Parts:
        if isinstance(self.source, Constant):
            return self.source.tree
        module = construct(self.source, "rngs", nnx().Rngs(key))
        if not isinstance(module, nnx().Module):
            raise TypeError(
                f"`module` of from_flax must be a module of flax or a function from nnx.Rngs to an "
                f"nnx.Module, got {describe(module)} from {name_of(self.source)}. Return the "
                f"module, such as lambda rngs: MLP(64, rngs=rngs)."
            )
        return split(module)

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        _, params, _, state = self.parts(key)
        own_params, own_state = values(params), values(state)
        x = zeros(in_shape, self.dtype)
        y = jax.eval_shape(lambda: self.apply(own_params, own_state, x, key, False)[0])
        return own_params, own_state, shape_of(y)

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        module = self.rebuilt(params, state, key)
        (module.train if training else module.eval)()
        y = module(x, **keywords(form(self)[1], training))
        return y, check_form(state, values(split(module)[3])) if training else state

    def rebuilt(self, params: Tree, state: Tree, key: Key) -> Any:
        (graph, like_params, streams, like_state), _, _ = form(self)
        return nnx().merge(
            graph,
            with_values("parameters", params, like_params),
            reseeded(streams, jax.random.key(0) if key is None else key),
            with_values("model state", state, like_state),
            copy=True,  # variables that may change, wherever this is traced
        )

    def to_module(self, params: Tree, state: Tree) -> Any:
        """The nnx.Module with these parameters and this state, in its mode for inference."""
        module = self.rebuilt(params, state, None)
        module.eval()
        return module

    def __repr__(self) -> str:
        return f"from_flax({self.name})"


def nnx() -> Any:
    return library("flax.nnx", "flax", "from_flax")


def split(module: Any) -> Parts:
    flax = nnx()
    graph, params, streams, _, state = flax.split(
        module, flax.Param, flax.RngState, flax.Intermediate, ...
    )
    return graph, params, streams, state


@lru_cache(maxsize=64)
def form(layer: Nnx) -> tuple[Parts, tuple[str, ...], str]:
    """The parts without their numbers, the flags of the call, and the name of the class."""
    parts = jax.eval_shape(lambda: layer.parts(jax.random.key(0)))
    module = type(nnx().merge(*parts))
    call = list(inspect.signature(module.__call__).parameters.values())[1:]
    return parts, flags("from_flax", call, layer.flag), module.__name__


def is_variable(node: Any) -> bool:
    return isinstance(node, nnx().Variable)


def values(state: Any) -> Tree:
    """The values of the variables, as nested dicts."""
    return to_dicts(nnx().to_pure_dict(state))


def with_values(what: str, dicts: Tree, like: Any) -> Any:
    """The variables with other values."""
    found = from_dicts(what, dicts, like, is_variable)
    return jax.tree.map(
        lambda leaf, value: leaf.replace(value) if is_variable(leaf) else value,
        like,
        found,
        is_leaf=is_variable,
    )


def reseeded(streams: Any, key: jax.Array) -> Any:
    """The random streams at their start, each with another key, as `nnx.reseed` makes them."""
    numbers = itertools.count()

    def started(leaf: Any) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.zeros(leaf.shape, leaf.dtype)  # how many numbers were drawn
        own = jax.random.fold_in(key, next(numbers))
        return jax.random.split(own, leaf.shape) if leaf.shape else own

    return jax.tree.map(started, streams)
