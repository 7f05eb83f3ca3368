"""The contract of an optimizer.

An optimizer is a frozen dataclass of its hyperparameters, which are the leaves of a pytree, with

    init(params)                        -> opt_state
    update(grads, opt_state, params)    -> params, opt_state

`opt_state` is a named tuple: `step`, the number of updates so far, and trees shaped like `params`.
A rule is written for one array and lifted to trees once. A learning rate may be a schedule,
`schedule(step) -> learning rate`.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from .hyperparameters import Hyperparameters, Number

Tree = Any


class SGDState(NamedTuple):
    step: jax.Array  # ()


class MomentumState(NamedTuple):
    step: jax.Array  # ()
    velocity: Tree  # like params


class MeanSquareState(NamedTuple):
    step: jax.Array  # ()
    mean_square: Tree  # like params


class AdagradState(NamedTuple):
    step: jax.Array  # ()
    sum_of_squares: Tree  # like params


class AdamState(NamedTuple):
    step: jax.Array  # ()
    mean: Tree  # like params
    mean_square: Tree  # like params


class Optimizer(Hyperparameters, abc.ABC):
    """What all optimizers share: state of zeros, the schedule, the lift from arrays to trees."""

    State: ClassVar[type[Any]]
    learning_rate: Number

    def init(self, params: Tree) -> Any:
        zeros = (jax.tree.map(jnp.zeros_like, params) for _ in self.State._fields[1:])
        return self.State(jnp.zeros((), jnp.int32), *zeros)

    @abc.abstractmethod
    def update(self, grads: Tree, opt_state: Any, params: Tree) -> tuple[Tree, Any]: ...

    def rate(self, opt_state: Any) -> Number:
        rate = self.learning_rate
        return rate(opt_state.step) if callable(rate) else rate

    def lift(
        self, rule: Callable[..., tuple[jax.Array, ...]], grads: Tree, opt_state: Any, params: Tree
    ) -> tuple[Tree, Any]:
        """`rule(g, p, *slots) -> (p, *slots)` on every parameter, each kept in its own dtype."""
        self.check(grads, opt_state, params)
        step, *slots = opt_state

        def kept(g: jax.Array, *old: jax.Array) -> tuple[jax.Array, ...]:
            return tuple(new.astype(o.dtype) for new, o in zip(rule(g, *old), old, strict=True))

        results = jax.tree.map(kept, grads, params, *slots)
        params, *slots = (
            jax.tree.map(lambda _, result, i=i: result[i], params, results)
            for i in range(1 + len(slots))
        )
        return params, self.State(step + 1, *slots)

    def check(self, grads: Tree, opt_state: Any, params: Tree) -> None:
        name, wanted = type(self).__name__, leaf_names(params)
        if not isinstance(opt_state, self.State):
            raise TypeError(
                f"{name}: `opt_state` must be a {self.State.__name__}, got "
                f"{type(opt_state).__name__}. Make it with optimizer.init(params)."
            )
        for what, tree in {"grads": grads, **opt_state._asdict()}.items():
            got = wanted if what == "step" else leaf_names(tree)
            if got != wanted:
                raise TypeError(
                    f"{name}: `{what}` must have the structure of `params`, got too much: "
                    f"{sorted(got - wanted)}, too little: {sorted(wanted - got)}. "
                    f"Make both from the same parameters."
                )


def leaf_names(tree: Tree) -> set[str]:
    return {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
