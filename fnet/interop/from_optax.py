"""Optimizers of other libraries that have the interface of optax, without importing them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree
from ..core.values import describe
from ..optimizers.base import Optimizer
from ..optimizers.hyperparameters import Number, pytree, static


class OptaxState(NamedTuple):
    step: jax.Array  # ()
    inner: Any


@pytree
class from_optax(Optimizer):
    """Wraps an optax gradient transformation as an optimizer, without importing optax.

    p = p + u, where u are the updates that the transformation computes from the gradients. Its
    numbers are not leaves: they cannot be swept, and a new transformation recompiles. Its learning
    rate is unknown and recorded as NaN.

    Args:
        transformation: an object with `init(params) -> state` and
            `update(grads, state, params) -> (u, state)`.

    Raises:
        TypeError: `transformation` lacks these functions or is not hashable; (from `update`) the
            tree structures differ.

    Example:
        >>> import typing, jax, jax.numpy as jnp, fnet
        >>> class Transformation(typing.NamedTuple):
        ...     init: typing.Callable
        ...     update: typing.Callable
        >>> def halved(grads, state, params):
        ...     return jax.tree.map(lambda g: -g / 2, grads), state
        >>> optimizer = fnet.from_optax(Transformation(lambda params: (), halved))
        >>> params, grads = jnp.array([5.0]), jnp.array([4.0])
        >>> optimizer.update(grads, optimizer.init(params), params)[0]
        Array([3.], dtype=float32)
    """

    transformation: Any = static()

    def __post_init__(self) -> None:
        transformation = self.transformation
        functions = [getattr(transformation, name, None) for name in ("init", "update")]
        if not all(map(callable, functions)) or hasattr(transformation, "learning_rate_at"):
            raise TypeError(
                f"`transformation` of from_optax must have the functions init and update of "
                f"optax, got {describe(transformation)}. Use optimizers of fnet directly."
            )
        try:
            hash(transformation)
        except TypeError:
            raise TypeError(
                f"`transformation` of from_optax must be hashable, got "
                f"{describe(transformation)}. Make it a named tuple of two functions."
            ) from None

    def init(self, params: Tree) -> OptaxState:
        return OptaxState(jnp.zeros((), jnp.int32), self.transformation.init(params))

    def learning_rate_at(self, step: jax.Array) -> Number:
        return jnp.nan

    def update(self, grads: Tree, opt_state: Any, params: Tree) -> tuple[Tree, Any]:
        self.check_type(opt_state, OptaxState)
        self.check_trees(params, grads=grads)
        updates, inner = self.transformation.update(grads, opt_state.inner, params)
        params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), params, updates)
        return params, OptaxState(opt_state.step + 1, inner)
