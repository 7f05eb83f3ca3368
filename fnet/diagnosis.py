"""Where the first number that is not finite came from, found by taking the step again."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from .combinators import Wrapped, each_layer
from .contract import Key, Output, Tree
from .errors import LayerValueError
from .objective import Objective
from .state import TrainState


def finite(tree: Tree) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


class Watched(Wrapped):
    """A layer that refuses to give what is not finite; the combinators around it add its name."""

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        y, new_state = self.layer.apply(params, state, x, key, training)
        if finite(y):
            return y, new_state
        if not finite(params):
            raise LayerValueError("has parameters that are not finite")
        size = float(jnp.abs(x.astype(float)).max())
        raise LayerValueError(f"gives what is not finite from an input of up to {size:.3g}")


def explain(goal: Objective, state: TrainState, batch: tuple[Any, ...]) -> str:
    """Why the loss of this batch is not finite in this state, with the first layer to blame."""
    x, *_ = batch
    if not finite(x):
        return "the batch holds inputs that are not finite"
    key = jax.random.fold_in(state.key, state.step)
    try:
        watched = replace(goal, body=each_layer(goal.body, Watched))
        output, _ = watched.forward(state.params, state.model_state, x, key)
    except LayerValueError as error:
        return str(error)
    size = float(jnp.abs(output).max())
    return f"the loss gives what is not finite from outputs of up to {size:.3g}"
