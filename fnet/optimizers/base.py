"""The contract of an optimizer.

An optimizer is a frozen dataclass of its hyperparameters, the leaves of a pytree, with

    init(params)                                   -> opt_state
    update(grads, opt_state, params, objective)    -> params, opt_state
    learning_rate_at(step)                         -> the rate of the update after `step` updates

`objective` is the loss of the step, for the few optimizers that search along a line; it may be
left out for all others, which ignore it.

`opt_state` is a named tuple: `step`, the number of updates so far, and trees shaped like `params`.
Most optimizers define `update_leaf` for one array; this module maps it over trees. A learning rate
may be a schedule, `schedule(step) -> learning rate`: one of fnet, or any function. The step is an
int32 array; where dtype promotion is strict, a function casts it, `step.astype(float)`.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ..core.dtypes import at_least_float32
from ..core.trees import Tree
from .hyperparameters import Hyperparameters, Number


class Objective(NamedTuple):
    """The loss of one step: its value at the parameters, and itself as a function of them.

    `train_step` passes it to `update`; a loop of your own need not, unless the optimizer is a
    `from_optax` that asks for it.

    Attributes:
        value: the mean loss at the parameters, `()`.
        function: `function(params) -> ()`, the loss of the same batch.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> def loss(params):
        ...     return jnp.sum(params**2)
        >>> params, optimizer = jnp.array([1.0, 2.0]), fnet.sgd(0.25)
        >>> value, grads = jax.value_and_grad(loss)(params)
        >>> objective = fnet.Objective(value, loss)
        >>> optimizer.update(grads, optimizer.init(params), params, objective)[0]
        Array([0.5, 1. ], dtype=float32)
    """

    value: jax.Array
    function: Callable[[Tree], jax.Array]

    def within(self, whole: Callable[[Tree], Tree]) -> "Objective":
        """As a function of some of the parameters, from which `whole` makes all."""
        return Objective(self.value, lambda own: self.function(whole(own)))


@dataclass(frozen=True, eq=False)
class Optimizer(Hyperparameters, abc.ABC):
    """The contract that optimizers and wrappers implement."""

    @abc.abstractmethod
    def init(self, params: Tree) -> Any:
        """The initial state."""

    @abc.abstractmethod
    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        """The parameters and the state after one step."""

    @abc.abstractmethod
    def learning_rate_at(self, step: jax.Array) -> Number:
        """The learning rate of the update after `step` updates."""

    @property
    def elementwise(self) -> bool:
        """Whether an update costs little more than to read and write what it changes."""
        return False

    def check_type(self, opt_state: Any, State: type[Any]) -> None:
        if not isinstance(opt_state, State):
            raise TypeError(
                f"{type(self).__name__}: `opt_state` must be of type {State.__name__}, got "
                f"{type(opt_state).__name__}. Make it with optimizer.init(params)."
            )

    def check_trees(self, params: Tree, **trees: Tree) -> None:
        name, wanted = type(self).__name__, described(params)
        for what, tree in trees.items():
            got = described(tree)
            if got != wanted:
                raise TypeError(
                    f"{name}: `{what}` must match `params`, "
                    f"{difference(got - wanted, wanted - got)}. "
                    f"Make both from the same parameters."
                )


def is_elementwise(optimizer: Any) -> bool:
    """Whether it says so; an optimizer of the user's own has only the three methods."""
    return getattr(optimizer, "elementwise", False)


@dataclass(frozen=True, eq=False)
class PerLeafOptimizer(Optimizer):
    """An optimizer that updates each array on its own, starting from a state of zeros."""

    State: ClassVar[type[Any]]
    learning_rate: Number  # in subclasses with number_or_schedule(default=...)

    @abc.abstractmethod
    def update_leaf(self, *args: Any, **kwargs: Any) -> tuple[jax.Array, ...]:
        """`update_leaf(t, g, p, *slots) -> (p, *slots)`: update t = 1, 2, ... of one array."""

    def init(self, params: Tree) -> Any:
        zeros = (jax.tree.map(jnp.zeros_like, params) for _ in self.State._fields[1:])
        return self.State(jnp.zeros((), jnp.int32), *zeros)

    @property
    def elementwise(self) -> bool:
        return True

    def check_slots(self, params: Tree, **slots: Tree) -> None:
        self.check_trees(params, **slots)

    def learning_rate_at(self, step: jax.Array) -> Number:
        return self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        self.check_type(opt_state, self.State)
        step, *slots = opt_state
        self.check_trees(params, grads=grads)
        self.check_slots(params, **dict(zip(self.State._fields[1:], slots, strict=True)))
        optimizer = replace(self, learning_rate=self.learning_rate_at(step))

        def one(p: jax.Array, g: jax.Array, *own: jax.Array) -> tuple[jax.Array, ...]:
            # Compute in at least float32: in bfloat16 a beta of 0.999 rounds to 1.
            dtype = at_least_float32(p).dtype
            wide, arrays = jax.tree.map(
                lambda n: jnp.asarray(n, dtype), (optimizer, (step + 1, g, p, *own))
            )
            return tuple(
                new.astype(old.dtype)
                for new, old in zip(wide.update_leaf(*arrays), (p, *own), strict=True)
            )

        results = jax.tree.map(one, params, grads, *slots)
        params, *slots = (
            jax.tree.map(lambda _, result, i=i: result[i], params, results)
            for i in range(1 + len(slots))
        )
        return params, self.State(step + 1, *slots)


def described(tree: Tree) -> set[str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"{jax.tree_util.keystr(path)} {jnp.shape(leaf)}" for path, leaf in leaves}


def difference(unexpected: set[str], missing: set[str]) -> str:
    return f"got unexpected leaves: {sorted(unexpected)}, missing leaves: {sorted(missing)}"
