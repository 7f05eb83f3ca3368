"""Transformed functions of haiku as layers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax

from ..core.trees import Tree
from ..layers.base import InitResult, Key, Layer, Output, Shapes
from .modules import (
    check_dtype,
    check_form,
    flags,
    keywords,
    library,
    refuse,
    shape_of,
    signature,
    zeros,
)

MADE = "make", "compute"


def from_haiku(transformed: Any, *, flag: str | None = None, dtype: Any = None) -> Layer:
    """Use a transformed function of haiku as a layer, with its dropout and running statistics.

    Parameters and state are those that haiku makes, dicts of dicts such as
    `params["linear"]["w"]`, and fit into `transformed.apply` again. In training, `hk.next_rng_key`
    draws from the layer's key.

    Args:
        transformed: what `hk.transform` or `hk.transform_with_state` returns.
        flag: the argument of the function that is true in training. `is_training`, ``train``,
            `training`, and their opposites `deterministic`, `use_running_average` and `inference`
            are found without it.
        dtype: the dtype of the input, such as `"int32"` for token ids; by default float. Only
            `init` needs it.

    Returns:
        A layer; it equals another one of the same function, and pickles if the function does.

    Raises:
        TypeError: `transformed` is a function that is not transformed or belongs to another
            library, or it has other arguments than one input and the flag; (from `forward`) its
            state changes its form.
        ImportError: haiku is not installed; `pip install "fnet-jax[interop]"`.

    Example:
        >>> import jax, fnet
        >>> import haiku as hk
        >>> net = fnet.from_haiku(hk.transform(lambda x: hk.nets.MLP([8, 2])(x)))
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> params["mlp/~/linear_0"]["w"].shape
        (3, 8)

    Source: Hennigan et al. 2020, Haiku: Sonnet for JAX, https://dm-haiku.readthedocs.io.
    """
    hk = library("haiku", "dm-haiku", "from_haiku")
    if not isinstance(transformed, (hk.Transformed, hk.TransformedWithState)):
        wanted = "what hk.transform or hk.transform_with_state returns"
        fix = "Transform the function that computes y from x: hk.transform(function)."
        refuse("from_haiku", "transformed", transformed, wanted, "", fix)
    call = list(signature(transformed.init).values())[1:]
    found = flags("from_haiku", call, flag)
    has_state = isinstance(transformed, hk.TransformedWithState)
    has_key = "rng" in signature(transformed.apply)  # hk.without_apply_rng has none
    return Haiku(original(transformed), has_state, has_key, found, check_dtype(dtype), *transformed)


def original(transformed: Any) -> Any:
    """The function that was transformed, or the pair if anything stands around what haiku made."""
    functions = [getattr(half, "_original_fn", None) for half in transformed]
    wrapped = any(hasattr(half, "__wrapped__") for half in transformed)
    same = functions[0] is functions[1] is not None
    return functions[0] if same and not wrapped else tuple(transformed)


def again(function: Callable[..., Any], has_state: bool, has_key: bool) -> Any:
    """The pair that haiku makes of the function."""
    hk = library("haiku", "dm-haiku", "from_haiku")
    transformed = (hk.transform_with_state if has_state else hk.transform)(function)
    return transformed if has_key else hk.without_apply_rng(transformed)


@dataclass(frozen=True, repr=False)
class Haiku(Layer):
    """A transformed function of haiku; see `from_haiku`."""

    origin: Any
    has_state: bool
    has_key: bool
    flags: tuple[str, ...]
    dtype: Any
    make: Callable[..., Any] = field(compare=False)  # made of the origin, anew at each transform
    compute: Callable[..., Any] = field(compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in MADE}

    def __setstate__(self, values: dict[str, Any]) -> None:
        origin = values["origin"]
        known = values["has_state"], values["has_key"]
        pair = origin if isinstance(origin, tuple) else again(origin, *known)
        vars(self).update(values, **dict(zip(MADE, pair, strict=True)))

    @property
    def name(self) -> str:
        return "haiku"

    @property
    def takes_trees(self) -> bool:
        return True

    def init(self, key: jax.Array, in_shape: Shapes) -> InitResult:
        x = zeros(in_shape, self.dtype)
        # As in training, for hk.BatchNorm makes its state only there.
        made = self.make(key, x, **keywords(self.flags, True))
        params, state = map(dicts, made if self.has_state else (made, {}))
        y = jax.eval_shape(lambda: self.call(params, state, x, key, False)[0])
        return params, state, shape_of(y)

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        y, new_state = self.call(params, state, x, key, training)
        return y, check_form(state, dicts(new_state)) if training else state

    def call(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        found = keywords(self.flags, training)
        keys = (key,) if self.has_key else ()
        if self.has_state:
            return self.compute(params, state, *keys, x, **found)
        return self.compute(params, *keys, x, **found), state

    def __repr__(self) -> str:
        return "from_haiku(...)"


def dicts(tree: Any) -> Tree:
    """The dicts of haiku, of a class of its own in older versions, as plain dicts."""
    return {name: dict(arrays) for name, arrays in tree.items()}
