"""Modules of equinox as layers."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from ..core.trees import Tree
from ..core.values import by_value, describe, name_of
from ..layers.base import InitResult, Key, Layer, Output, Shapes
from .modules import (
    Constant,
    can_construct,
    check_dtype,
    check_form,
    check_hashable,
    construct,
    flags,
    from_dicts,
    keywords,
    library,
    library_of,
    refuse,
    required,
    shape_of,
    to_dicts,
    zeros,
)

Parts = tuple[Any, dict[str, Any], Any]  # parameters, state, what is neither


def from_equinox(
    module: Any, *, flag: str | None = None, dtype: Any = None, axis_name: str = "batch"
) -> Layer:
    """Use a module of equinox as a layer, with its dropout and running statistics.

    The module computes one sample, and the layer maps it over the batch, `y[i] = module(x[i])`. The
    parameters are its floating arrays, named by path, as in `layers/0/weight`. Its other arrays and
    its `eqx.nn.State` are the state. `eqx.nn.inference_mode` switches it, and in training its
    argument `key` is another key for each sample. `layer.to_module(params, state)` gives the pair
    of module and `eqx.nn.State` back.

    Args:
        module: a module, which starts with the values it has; or the pair `(module, state)` of
            `eqx.nn.make_with_state`; or a function `key -> module`, or `key -> (module, state)`,
            which makes new values for each key.
        flag: the argument of the module's call that is true in training, if there is one.
        dtype: the dtype of the input, such as `"int32"` for token ids; by default float. Only
            `init` needs it.
        axis_name: the name of the batch axis, for layers such as `eqx.nn.BatchNorm`.

    Returns:
        A layer. Modules are compared by value, functions as functions.

    Raises:
        TypeError: `module` is a class with arguments beside `key` or belongs to another library, or
            its call has other arguments than one input, `state`, `key` and the flag; (from
            `forward`) its state changes its form.
        ValueError: a module was taken from its pair `(module, state)`.
        ImportError: equinox is not installed; `pip install "fnet-jax[interop]"`.

    Example:
        >>> import functools, jax, jax.numpy as jnp, fnet
        >>> import equinox as eqx
        >>> net = fnet.from_equinox(functools.partial(eqx.nn.MLP, 3, 2, 8, 1))
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> params["layers"]["0"]["weight"].shape
        (8, 3)
        >>> fnet.apply(net, params, jnp.ones((5, 3))).shape
        (5, 2)

    Source: Kidger and Garcia 2021, Equinox: neural networks in JAX via callable PyTrees and
    filtered transformations.
    """
    eqx = equinox()
    dtype = check_dtype(dtype)
    if isinstance(module, tuple) and len(module) == 2 and isinstance(module[1], eqx.nn.State):
        source = module
    elif isinstance(module, eqx.Module):
        source = with_state(lambda: module)
    else:
        is_other = library_of(module) not in (None, "equinox")
        if is_other or not callable(module) or not can_construct(by_value(module, "module"), "key"):
            wanted = "a module of equinox, or a function from a key to one"
            fix = "Write from_equinox(MLP(key=key))."
            refuse("from_equinox", "module", module, wanted, "equinox", fix)
        return Equinox(by_value(module, "module"), flag, dtype, axis_name)
    copy = jax.tree.map(lambda leaf: leaf, source)  # whoever uses a State makes it unusable
    return Equinox(Constant(copy), flag, dtype, axis_name)


def equinox() -> Any:
    return library("equinox", "equinox", "from_equinox")


def make(constructor: Callable[..., Any], key: jax.Array) -> tuple[Any, Any]:
    """The module that a function makes, and its state."""
    made = construct(constructor, "key", key)
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], equinox().nn.State):
        return made
    if not isinstance(made, equinox().Module):
        raise TypeError(
            f"`module` of from_equinox must be a module of equinox or a function from a key to "
            f"one, got {describe(made)} from {name_of(constructor)}. Return the module, such as "
            f"lambda key: MLP(64, key=key)."
        )
    return with_state(lambda: made)


def with_state(make: Callable[[], Any]) -> tuple[Any, Any]:
    eqx = equinox()
    try:
        return eqx.nn.make_with_state(make)()
    except ValueError as error:
        raise ValueError(
            f"`module` of from_equinox must come with its state, got one from which "
            f"eqx.nn.make_with_state took it: {error} Pass both: from_equinox((module, state))."
        ) from error


@dataclass(frozen=True, repr=False)
class Equinox(Layer):
    """A module of equinox, or a function that makes one."""

    source: Constant | Callable[..., Any]
    flag: str | None
    dtype: Any
    axis_name: str

    def __post_init__(self) -> None:
        check_hashable("from_equinox", self.source)
        form(self)  # raises what can be known now

    @property
    def name(self) -> str:
        return type(form(self)[0][2]).__name__

    def parts(self, key: jax.Array) -> Parts:
        eqx = equinox()
        module, state = (
            self.source.tree if isinstance(self.source, Constant) else make(self.source, key)
        )
        params, others = eqx.partition(module, eqx.is_inexact_array)
        buffers, static = eqx.partition(others, eqx.is_array)
        return params, {"buffers": buffers, "state": state}, static

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        params, state = map(to_dicts, self.parts(key)[:2])
        x = zeros(in_shape, self.dtype)
        y = jax.eval_shape(lambda: self.apply(params, state, x, key, False)[0])
        return params, state, shape_of(y)

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        module, own_state = self.to_module(params, state, inference=not training)
        module = jax.tree.map(widened, module, is_leaf=is_batch_norm)
        _, found, takes_key, stateful = form(self)
        samples = jax.tree.leaves(x)[0].shape[0]
        keys = None if key is None or not takes_key else jax.random.split(key, samples)

        def one(x: Any, own_state: Any, key: Key) -> tuple[Any, Any]:
            more = keywords(found, training) | ({"key": key} if takes_key else {})
            return module(x, own_state, **more) if stateful else (module(x, **more), own_state)

        mapped = jax.vmap(one, in_axes=(0, None, 0), out_axes=(0, None), axis_name=self.axis_name)
        y, own_state = mapped(x, own_state, keys)
        if not training:
            return y, state
        return y, check_form(state, state | to_dicts({"state": own_state}))

    def to_module(self, params: Tree, state: Tree, inference: bool = True) -> tuple[Any, Any]:
        """The eqx.Module with these parameters, and its eqx.nn.State."""
        eqx = equinox()
        (like_params, like_state, static), *_ = form(self)
        params = from_dicts("parameters", params, like_params)
        rest = from_dicts("model state", state, like_state)
        module = eqx.combine(params, rest["buffers"], static)
        return eqx.nn.inference_mode(module, inference), rest["state"]

    def __repr__(self) -> str:
        return f"from_equinox({self.name})"


def is_batch_norm(part: Any) -> bool:
    return type(part) is equinox().nn.BatchNorm


def widened(part: Any) -> Any:
    """A BatchNorm that takes few bits as well; equinox has that only for its statistics' dtype."""
    if not is_batch_norm(part):
        return part
    twin: Any = object.__new__(wide_batch_norm())
    for field in fields(part):
        object.__setattr__(twin, field.name, getattr(part, field.name))
    return twin


@lru_cache(maxsize=1)
def wide_batch_norm() -> type:
    class BatchNorm(equinox().nn.BatchNorm):  # type: ignore[misc]
        def __call__(self, x: Any, state: Any, **more: Any) -> tuple[Any, Any]:
            wide = jnp.promote_types(x.dtype, jnp.float32)
            y, state = super().__call__(x.astype(wide), state, **more)
            return y.astype(x.dtype), state

    return BatchNorm


@lru_cache(maxsize=64)
def form(layer: Equinox) -> tuple[Parts, tuple[str, ...], bool, bool]:
    """The parts without their numbers, the flags, and whether the call takes a key and a state."""
    eqx = equinox()
    parts = eqx.filter_eval_shape(layer.parts, jax.random.key(0))
    call = inspect.signature(type(parts[2]).__call__).parameters
    has_state = bool(jax.tree.leaves(parts[1]["state"]))
    stateful = has_state or "state" in required(call.values())
    found = flags("from_equinox", list(call.values())[1:], layer.flag, ("key", "state"))
    return parts, found, "key" in call, stateful
