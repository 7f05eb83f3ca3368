"""Wrappers take an optimizer, or its name, and return an optimizer; they nest in any order.

The `inner` field of their `opt_state` is the state of the wrapped optimizer; a wrapper without
state of its own uses that state directly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..core.checks import check_count
from ..core.dtypes import at_least_float32
from ..core.platform import platform
from ..core.trees import Tree, global_norm
from ..core.values import describe
from .base import Objective, Optimizer, is_elementwise
from .by_name import as_optimizer
from .hyperparameters import Number, number, pytree, static


class AccumulatedState(NamedTuple):
    step: jax.Array  # (), gradients so far
    gradients: Tree  # like params, in at least float32: the sum since the last update
    inner: Any


class AveragedState(NamedTuple):
    step: jax.Array  # ()
    average: Tree  # like params, in at least float32
    inner: Any


@dataclass(frozen=True, eq=False)
class Wrapper(Optimizer):
    """Base of the wrappers: the wrapped optimizer, its state and its learning rate."""

    optimizer: Any = field(metadata={"check": lambda what, value, fix: as_optimizer(value)})

    def init(self, params: Tree) -> Any:
        return self.optimizer.init(params)

    def learning_rate_at(self, step: jax.Array) -> Number:
        return self.optimizer.learning_rate_at(step)

    @property
    def elementwise(self) -> bool:
        return is_elementwise(self.optimizer)


@pytree
class clipped(Wrapper):
    r"""Clips gradients by their global norm.

    .. math:: g \leftarrow g \min(1, c / \|g\|)

    with `max_norm` :math:`c` and the norm of all arrays together. This is `global_clipnorm` of
    Keras; its `clipnorm` clips each array by its own norm.

    Args:
        optimizer: the optimizer to wrap, or its name.
        max_norm: gradients with a larger norm are scaled down to it.

    Raises:
        ValueError: `max_norm` is negative, NaN or infinite, or the name is unknown.
        TypeError: `optimizer` is not an optimizer; (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.clipped(fnet.sgd(1.0), 0.5)
        >>> params, grads = jnp.zeros(2), jnp.array([3.0, 4.0])
        >>> optimizer.update(grads, optimizer.init(params), params)[0]
        Array([-0.3, -0.4], dtype=float32)

    Source: Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural
    networks, algorithm 1.
    """

    max_norm: Number = 1.0

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        norm = global_norm(grads)
        longest = jnp.asarray(self.max_norm, norm.dtype)
        too_long = norm > longest
        scale = jnp.where(too_long, longest, 1) / jnp.where(too_long, norm, 1)

        def scaled(g: jax.Array) -> jax.Array:
            wide = at_least_float32(g)
            return (wide * scale.astype(wide.dtype)).astype(g.dtype)

        clipped_grads = jax.tree.map(scaled, grads)
        return self.optimizer.update(clipped_grads, opt_state, params, objective)


@pytree
class accumulated(Wrapper):
    """Updates once every `every` steps with the mean gradient, for batches that exceed memory.

    Parameters stay the same in between. Schedules count updates, not steps. The gradient of a
    smaller last batch has the same weight as the others.

    Args:
        optimizer: the optimizer to wrap, or its name.
        every: steps per update, at least 1; a new value recompiles.

    Raises:
        ValueError: `every` is below 1, or the name is unknown.
        TypeError: `optimizer` is not an optimizer; (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.accumulated(fnet.sgd(1.0), 2)
        >>> params = jnp.array(5.0)
        >>> params, opt_state = optimizer.update(jnp.array(1.0), optimizer.init(params), params)
        >>> params, opt_state = optimizer.update(jnp.array(3.0), opt_state, params)
        >>> params.item()
        3.0
    """

    every: int = static()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "every", check_count("every", self.every))

    def init(self, params: Tree) -> AccumulatedState:
        zeros = jax.tree.map(lambda p: at_least_float32(jnp.zeros_like(p)), params)
        return AccumulatedState(jnp.zeros((), jnp.int32), zeros, self.optimizer.init(params))

    def learning_rate_at(self, step: jax.Array) -> Number:
        return self.optimizer.learning_rate_at(step // self.every)

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        self.check_type(opt_state, AccumulatedState)
        step, sums, inner = opt_state
        self.check_trees(params, grads=grads, gradients=sums)
        sums = jax.tree.map(lambda s, g: s + g.astype(s.dtype), sums, grads)

        def move(params: Tree, sums: Tree, inner: Any) -> tuple[Tree, Tree, Any]:
            means = jax.tree.map(lambda s, g: (s / self.every).astype(g.dtype), sums, grads)
            params, inner = self.optimizer.update(means, inner, params, objective)
            return params, jax.tree.map(jnp.zeros_like, sums), inner

        due = (step + 1) % self.every == 0
        params, sums, inner = moved_if(due, move, (params, sums, inner), self.elementwise)
        return params, AccumulatedState(step + 1, sums, inner)


def moved_if(due: jax.Array, move: Callable[..., Tree], trees: Tree, elementwise: bool) -> Tree:
    """`move(*trees)` if it is due, else the trees.

    A branch that changes nothing copies every array, and the host of a GPU waits for the choice of
    the branch. So on accelerators a cheap move is made in every step, and chosen or not: 28 kernels
    a step for the 784-512-10 network and RMSProp on an H100, in place of 26, a choice and 13 copies
    or 9 kernels. On a CPU the branch is faster.
    """

    if platform() == "cpu" or not elementwise:
        return lax.cond(due, move, lambda *same: same, *trees)
    return jax.tree.map(partial(jnp.where, due), move(*trees), trees)


@pytree
class averaged(Wrapper):
    r"""Keeps an average of the parameters.

    .. math:: a \leftarrow \beta a + (1 - \beta) p

    after every update, with `decay` :math:`\beta`. The average starts at the initial parameters (in
    Keras, at those after the first update). Training continues with the parameters themselves;
    `opt_state.average` holds the average, and `fnet.averaged_params` finds it inside other wrappers
    too.

    Args:
        optimizer: the optimizer to wrap, or its name.
        decay: decay rate of the average, in [0, 1); 0.99 by default in Keras.

    Raises:
        ValueError: `decay` is outside [0, 1), or the name is unknown.
        TypeError: `optimizer` is not an optimizer; (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.averaged(fnet.sgd(1.0), 0.75)
        >>> params = jnp.array(5.0)
        >>> params, opt_state = optimizer.update(jnp.array(4.0), optimizer.init(params), params)
        >>> params.item(), opt_state.average.item()
        (1.0, 4.0)

    Source: Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging; with
    exponential weights, Tarvainen and Valpola 2017, Mean teachers, section 2.
    """

    decay: Number = number(default=0.999, below=1)

    def init(self, params: Tree) -> AveragedState:
        start = jax.tree.map(at_least_float32, params)
        return AveragedState(jnp.zeros((), jnp.int32), start, self.optimizer.init(params))

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        self.check_type(opt_state, AveragedState)
        step, average, inner = opt_state
        self.check_trees(params, average=average)
        params, inner = self.optimizer.update(grads, inner, params, objective)

        def moved(a: jax.Array, p: jax.Array) -> jax.Array:
            decay = jnp.asarray(self.decay, a.dtype)
            return decay * a + (1 - decay) * p.astype(a.dtype)

        return params, AveragedState(step + 1, jax.tree.map(moved, average, params), inner)


def averaged_params(opt_state: Any) -> Tree:
    """Returns the average that `averaged` keeps, at any depth of nested wrappers and parts.

    Args:
        opt_state: the optimizer's state, `opt_state` of a TrainState.

    Returns:
        A tree like the parameters, in at least float32; None in place of those that a `masked`
        freezes, and of the parts of a `partitioned` that keep no average.

    Raises:
        TypeError: the optimizer keeps no average.

    Example:
        >>> import dataclasses, jax, fnet
        >>> optimizer = fnet.averaged("adam", 0.99)
        >>> state = fnet.train_state(fnet.dense(1), optimizer, jax.random.key(0), (2,))
        >>> params = fnet.averaged_params(state.opt_state)
        >>> state = dataclasses.replace(state, params=params)  # to evaluate or to predict with it
    """
    found = averages(opt_state)
    if not found:
        raise TypeError(
            f"`opt_state` must be the state of an averaged optimizer, got {describe(opt_state)}. "
            f"Train with fnet.averaged(optimizer, decay)."
        )
    return jax.tree.map(  # each part of a `partitioned` has None in place of the others
        lambda *parts: next((part for part in parts if part is not None), None),
        *found,
        is_leaf=lambda leaf: leaf is None,
    )


def averages(opt_state: Any) -> list[Tree]:
    """What each `averaged` keeps, of all wrappers and parts."""
    if isinstance(opt_state, AveragedState):
        return [opt_state.average]
    inner = getattr(opt_state, "inner", None)
    parts = inner.values() if isinstance(inner, dict) else [inner]
    return [average for part in parts if part is not None for average in averages(part)]
