"""Optimizers of other libraries that have the interface of optax, without importing them."""

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree
from ..core.values import describe
from ..optimizers.base import Objective, Optimizer
from ..optimizers.hyperparameters import Number, pytree, static

EXTRA = "value", "grad", "value_fn"


class OptaxState(NamedTuple):
    step: jax.Array  # ()
    inner: Any


@pytree
class from_optax(Optimizer):
    r"""Wraps an optax gradient transformation as an optimizer, without importing optax.

    .. math:: p \leftarrow p + u

    with the updates :math:`u` that the transformation computes from the gradients. Its numbers are
    not leaves: they cannot be swept, and a new transformation recompiles. Its learning rate is
    unknown and recorded as NaN. A transformation that takes `value`, `grad` or `value_fn`
    (`lbfgs`, `polyak_sgd`, `contrib.reduce_on_plateau`) gets the loss of the batch, its gradient,
    and itself as a function of the parameters; a line search calls that as often as it needs.

    Args:
        transformation: an object with `init(params) -> state` and
            `update(grads, state, params) -> (u, state)`, and what it takes besides by keyword.

    Raises:
        TypeError: `transformation` lacks these functions or is not hashable; (from `update`) the
            tree structures differ, or it needs an `objective`.

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

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        self.check_type(opt_state, OptaxState)
        self.check_trees(params, grads=grads)
        extra = self.extra_arguments(grads, objective)
        updates, inner = self.transformation.update(grads, opt_state.inner, params, **extra)
        params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), params, updates)
        return params, OptaxState(opt_state.step + 1, inner)

    def extra_arguments(self, grads: Tree, objective: Objective | None) -> dict[str, Any]:
        """What the transformation takes by keyword, of what optax's transformations may take."""
        parameters = inspect.signature(self.transformation.update).parameters.values()
        by_keyword = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        if objective is None:
            needed = [name for name in EXTRA if by_keyword.get(name) is inspect.Parameter.empty]
            if needed:
                raise TypeError(
                    f"from_optax: the transformation needs {', '.join(map(repr, needed))}, got no "
                    f"`objective`. Pass update(..., fnet.Objective(loss, function_of_params))."
                )
            return {}
        extra = {"value": objective.value, "grad": grads, "value_fn": objective.function}
        if any(p.kind is p.VAR_KEYWORD for p in parameters):
            own = {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
            return {name: argument for name, argument in extra.items() if name not in own}
        return {name: argument for name, argument in extra.items() if name in by_keyword}
