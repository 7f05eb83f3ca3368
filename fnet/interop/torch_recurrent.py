"""Recurrent layers in PyTorch: the order of their gates, and their two biases."""

import numpy as np

from ..layers.base import Shape
from ..layers.cells import gru, lstm, simple_rnn
from ..layers.recurrent import bidirectional
from .foreign import Array, Entry, LayerTable, Turn
from .layer_paths import Place


def reset_first(array: Array, place: Place) -> Array:
    """Swap the first two of the three gates of a gru in the last axis: torch begins with r."""
    layer = place.layer.layer if isinstance(place.layer, bidirectional) else place.layer
    if not isinstance(layer, gru):
        return array
    gates = array.reshape(*array.shape[:-1], layer.gates, layer.units)
    return gates[..., np.array([1, 0, 2]), :].reshape(array.shape)


def bias_of(row: int) -> Turn:
    """The bias of the inputs, or that of the recurrent product, which only a gru tells apart."""

    def there(bias: Array, place: Place) -> Array:
        if bias.ndim == 2:
            return reset_first(bias, place)[row]
        return np.zeros(bias.shape, bias.dtype) if row else bias

    def back(bias: np.ndarray, place: Place, shape: Shape) -> np.ndarray:
        if len(shape) == 1:
            return bias
        rows = np.zeros(shape, bias.dtype)
        rows[row] = reset_first(bias, place)
        return rows

    return Turn(there, back)


def cell(ours: str, theirs: str) -> tuple[Entry, ...]:
    """The arrays of a recurrent layer, or of one of its two directions."""
    gates = Turn(
        lambda kernel, place: reset_first(kernel, place).T,
        lambda weight, place, shape: reset_first(weight.T, place),
    )
    return (
        Entry(f"weight_ih_l0{theirs}", (f"{ours}kernel",), gates),
        Entry(f"weight_hh_l0{theirs}", (f"{ours}recurrent_kernel",), gates),
        Entry(f"bias_ih_l0{theirs}", (f"{ours}bias",), bias_of(0)),
        Entry(f"bias_hh_l0{theirs}", (f"{ours}bias",), bias_of(1)),
    )


RECURRENT: LayerTable = {
    **dict.fromkeys((simple_rnn, lstm, gru), cell("", "")),
    bidirectional: (*cell("forward/", ""), *cell("backward/", "_reverse")),
}
