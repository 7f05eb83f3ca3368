"""Transformed functions of haiku as layers."""

from collections.abc import Callable
from dataclasses import dataclass
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


def from_haiku(transformed: Any, *, flag: str | None = None, dtype: Any = None) -> Layer:
    """Use a transformed function of haiku as a layer, with its dropout and running statistics.

    Parameters and state are those that haiku makes, dicts of dicts such as
    `params["linear"]["w"]`, and fit into `transformed.apply` again. In training, `hk.next_rng_key`
    draws from the layer's key.

    Args:
        transformed: what `hk.transform` or `hk.transform_with_state` returns. haiku makes new
            functions each time; transform once, at the top of a module, to compile once.
        flag: the argument of the function that is true in training. `is_training`, `train`,
            `training`, and their opposites `deterministic`, `use_running_average` and `inference`
            are found without it.
        dtype: the dtype of the input, such as `"int32"` for token ids; by default float. Only
            `init` needs it.

    Returns:
        A layer; it equals another one of the same transformed function.

    Raises:
        TypeError: `transformed` is a function that is not transformed or belongs to another
            library, or it has other arguments than one input and the flag; (from `forward`) its
            state changes its form.
        ImportError: haiku is not installed; `pip install "fnet[interop]"`.

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
    return Haiku(transformed.init, transformed.apply, has_state, found, check_dtype(dtype))


@dataclass(frozen=True, repr=False)
class Haiku(Layer):
    """A transformed function of haiku; see `from_haiku`."""

    make: Callable[..., Any]
    compute: Callable[..., Any]
    has_state: bool
    flags: tuple[str, ...]
    dtype: Any

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
        if self.has_state:
            return self.compute(params, state, key, x, **found)
        without_key = "rng" not in signature(self.compute)  # hk.without_apply_rng
        keys = () if without_key else (key,)
        return self.compute(params, *keys, x, **found), state

    def __repr__(self) -> str:
        return "from_haiku(...)"


def dicts(tree: Any) -> Tree:
    """The dicts of haiku, of a class of its own in older versions, as plain dicts."""
    return {name: dict(arrays) for name, arrays in tree.items()}
