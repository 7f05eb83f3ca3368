"""The logits behind a model's last softmax or sigmoid, of which a crossentropy is exact.

A crossentropy of a softmax cancels to logits less their logsumexp. Done in two stages it rounds to
log(0) and its gradient to 0 for a confident mistake, so the pair is computed in one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from ..core.trees import Tree
from ..layers.activations import sigmoid, softmax
from ..layers.base import Function, Key, Layer, Output
from ..layers.wrappers import Wrapped, map_layers
from ..losses.imbalanced import binary_focal_crossentropy, categorical_focal_crossentropy
from ..losses.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from .precision import cast_floats

OF_CLASSES = (
    categorical_crossentropy,
    sparse_categorical_crossentropy,
    categorical_focal_crossentropy,
    kl_divergence,
)
OF_TWO = binary_crossentropy, binary_focal_crossentropy
EXACT: dict[Any, tuple[Any, ...]] = {
    softmax: OF_CLASSES,
    jax.nn.softmax: OF_CLASSES,
    sigmoid: OF_TWO,
    jax.nn.sigmoid: OF_TWO,
}


class Logits(NamedTuple):
    array: jax.Array
    activation: Callable[[jax.Array], jax.Array]  # what makes the model's output of it

    def cast(self, dtype: Any) -> "Logits":
        return self._replace(array=cast_floats(self.array, dtype))


class LogitsFinder:
    """The logits of a model's outputs, in one call of the model that it gives.

    An output is found by its identity, so any wiring will do: the model has to return what the
    activation gave.
    """

    def __init__(self, net: Layer):
        self.found: dict[int, tuple[jax.Array, Logits]] = {}
        self.net: Layer = map_layers(
            net, lambda layer: Noted(layer, self.found) if activation(layer) in EXACT else layer
        )

    def logits(self, output: jax.Array) -> Logits | None:
        _, logits = self.found.get(id(output), (None, None))
        return logits


@dataclass(frozen=True, repr=False)
class Noted(Wrapped):
    """An activation that notes its input."""

    found: dict[int, tuple[jax.Array, Logits]] = field(compare=False)

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        y, state = self.layer.apply(params, state, x, key, training)
        self.found[id(y)] = y, Logits(x, activation(self.layer))  # held, `y` keeps its identity
        return y, state


def activation(layer: Layer) -> Any:
    """The function of a layer that has no more to it."""
    while isinstance(layer, Wrapped):
        layer = layer.layer
    return layer.function if isinstance(layer, Function) else None
