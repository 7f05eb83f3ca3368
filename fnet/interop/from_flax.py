"""Modules of flax as layers: linen here, NNX in `from_nnx`."""

import inspect
from dataclasses import dataclass
from typing import Any

import jax

from ..core.trees import Tree
from ..core.values import by_value
from ..layers.base import InitResult, Key, Layer, Output, Shapes
from .from_nnx import Nnx, split
from .modules import (
    Constant,
    can_construct,
    check_dtype,
    check_form,
    check_hashable,
    flags,
    keywords,
    library,
    library_of,
    refuse,
    shape_of,
    zeros,
)


def from_flax(module: Any, *, flag: str | None = None, dtype: Any = None) -> Layer:
    """Use a module of flax, linen or NNX, as a layer, with its dropout and running statistics.

    The parameters are those that flax makes: for linen `module.init(key, x)["params"]`, for NNX
    the values of each `nnx.Param`. All other collections and variables are the state. In training,
    a linen module draws dropout from `rngs={"dropout": key}`, and an NNX module from streams that
    `nnx.reseed(module, dropout=key)` starts anew. NNX modules are switched by `module.train()` and
    `module.eval()`; `layer.to_module(params, state)` gives one back.

    Args:
        module: a linen module; or an NNX module, which starts with the values it has; or a function
            `rngs -> module`, which makes an NNX module with new values for each key.
        flag: the argument of the module's call that is true in training. ``train``, `training`,
            `is_training`, and their opposites `deterministic`, `use_running_average` and
            `inference` are found without it.
        dtype: the dtype of the input, such as `"int32"` for token ids; by default float. Only
            `init` needs it.

    Returns:
        A layer. It compares by value where the module does: linen modules and NNX modules do,
        functions are compared as functions.

    Raises:
        TypeError: `module` is a class or belongs to another library, or its call has other
            arguments than one input and the flag; (from `forward`) its state changes its form.
        ImportError: flax is not installed; `pip install "fnet-jax[interop]"`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> import flax.linen as nn
        >>> class MLP(nn.Module):
        ...     @nn.compact
        ...     def __call__(self, x, train=False):
        ...         x = nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(8)(x)))
        ...         return nn.Dense(2)(x)
        >>> net = fnet.sequential(fnet.from_flax(MLP()), fnet.softmax)
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> jax.tree.map(jnp.shape, params["MLP"]["Dense_0"])
        {'bias': (8,), 'kernel': (3, 8)}

    Source: Heek et al., Flax: A neural network library and ecosystem for JAX,
    https://flax.readthedocs.io.
    """
    linen = library("flax.linen", "flax", "from_flax")
    nnx = library("flax.nnx", "flax", "from_flax")
    dtype = check_dtype(dtype)
    if isinstance(module, linen.Module):
        check_hashable("from_flax", module)
        call = list(inspect.signature(type(module).__call__).parameters.values())[1:]
        return Linen(module, flags("from_flax", call, flag), dtype)
    if isinstance(module, nnx.Module):
        return Nnx(Constant(jax.tree.map(lambda leaf: leaf, split(module))), flag, dtype)
    is_linen = isinstance(module, type) and issubclass(module, linen.Module)
    is_other = library_of(module) not in (None, "flax")
    if (
        is_linen
        or is_other
        or not callable(module)
        or not can_construct(by_value(module, "module"), "rngs")
    ):
        wanted = "a module of flax, or a function from nnx.Rngs to one"
        refuse("from_flax", "module", module, wanted, "flax", "Write from_flax(MLP()).")
    return Nnx(by_value(module, "module"), flag, dtype)


@dataclass(frozen=True, repr=False)
class Linen(Layer):
    """A linen module; see `from_flax`."""

    module: Any
    flags: tuple[str, ...]
    dtype: Any

    @property
    def name(self) -> str:
        return self.module.name or type(self.module).__name__

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        y, variables = self.module.init_with_output(
            key, zeros(in_shape, self.dtype), **keywords(self.flags, False)
        )
        params, state = separated(variables)
        return params, state, shape_of(y)

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        # Streams of other names than "dropout" are drawn from "params", as flax does in `init`.
        rngs = {} if key is None else {"dropout": key, "params": jax.random.fold_in(key, 0)}
        variables, mutable = {"params": params, **state}, list(state) if training else []
        y, changed = self.module.apply(
            variables, x, rngs=rngs, mutable=mutable, **keywords(self.flags, training)
        )
        return y, check_form(state, {**state, **separated(changed)[1]})

    def __repr__(self) -> str:
        return f"from_flax({self.name})"


def separated(variables: Any) -> tuple[Tree, Tree]:
    """The parameters, and the other collections, as plain dicts without partitioning metadata."""
    core = library("flax.core", "flax", "from_flax")
    collections = dict(core.unfreeze(core.meta.unbox(variables)))
    return collections.pop("params", {}), collections
