"""Which layer gives the first number that is not finite, found by repeating the step."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp

from ..core.errors import LayerValueError
from ..core.trees import Tree
from ..layers.base import Key, Output
from ..layers.wrappers import Wrapped
from ..training.state import TrainState
from ..training.step import EpochSums
from ..training.task import Batch, Task


@jax.jit
def finite_leaves(run: tuple[TrainState, EpochSums]) -> jax.Array:
    """Whether each array of a run is finite, the sum of its losses first."""
    state, sums = run
    leaves = jax.tree.leaves(
        (sums.totals["loss"], state.params, state.model_state, state.opt_state)
    )
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves if is_float(leaf)])


def is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def finite(tree: Tree) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


LOSS = -1  # in place of the number of a layer


class GradientError(Exception):
    """The gradient that reaches a layer's output is finite, that which leaves it is not."""


def unguarded(x: jax.Array, number: int) -> jax.Array:
    """`x`; the gradient of `guarded` is refused in the name of this layer if it is not finite."""
    return x


guarded: jax.custom_vjp[jax.Array] = jax.custom_vjp(unguarded, nondiff_argnums=(1,))


def guard(number: int, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    if not finite(gradient):
        raise GradientError(number)
    return (gradient,)


guarded.defvjp(lambda x, number: (x, None), guard)


@dataclass(frozen=True, repr=False)
class Watched(Wrapped):
    """A layer that refuses to give what is not finite; the combinators around it add its name."""

    number: int
    blamed: int | None  # the number of the layer whose gradient is to blame

    def apply(self, params: Tree, state: Tree, x: Any, key: Key, training: bool) -> Output:
        if self.number == self.blamed:
            raise LayerValueError("gives a gradient that is not finite from one that is")
        params, x = jax.tree.map(
            lambda a: guarded(a, self.number) if is_float(a) else a, (params, x)
        )
        y, new_state = self.layer.apply(params, state, x, key, training)
        if finite(y):
            y = jax.tree.map(lambda a: guarded(a, LOSS) if is_float(a) else a, y)
            return y, new_state
        if not finite(params):
            raise LayerValueError("has parameters that are not finite")
        size = max(float(jnp.abs(leaf.astype(float)).max()) for leaf in jax.tree.leaves(x))
        raise LayerValueError(f"gives what is not finite from an input of up to {size:.3g}")


def watched(task: Task, blamed: int | None = None) -> Task:
    numbers: Iterator[int] = count()
    return task.map_layers(lambda layer: Watched(layer, next(numbers), blamed))


def explain(task: Task, state: TrainState, batch: Batch) -> str:
    """What of this step is not finite in this state, with the first layer to blame."""
    if not finite(batch):
        return "the batch holds inputs that are not finite"
    key = jax.random.fold_in(state.key, state.step)

    def loss(params: Tree, task: Task) -> jax.Array:
        values, _ = task.loss(params, state.model_state, batch, key)
        value = values["loss"].mean()
        if not finite(value):
            raise LayerValueError("the loss gives what is not finite from outputs that are finite")
        return value

    try:
        loss(state.params, watched(task))  # forward alone, in numbers that can be looked at
        _, back = jax.vjp(partial(loss, task=watched(task)), state.params)
        (gradient,) = back(jnp.ones(()))
    except LayerValueError as error:
        return str(error)
    except GradientError as error:
        (number,) = error.args
        if number == LOSS:
            return "the loss gives a gradient that is not finite"
        try:
            loss(state.params, watched(task, blamed=number))
        except LayerValueError as named:
            return str(named)
        raise AssertionError("the layer to blame is one of the layers") from error
    if not finite(gradient):
        return "the gradient of the loss is not finite"
    return "the update gives what is not finite from gradients that are"
