"""Validation of the hyperparameters and parameters of layers, in words that name the layer."""

import math

import numpy as np

from ..core.checks import is_integer
from ..core.errors import LayerTypeError
from ..core.trees import Tree
from ..core.values import by_value, describe
from .base import Layer


def check_names(what: str, tree: Tree, names: tuple[str, ...], fix: str) -> None:
    """Raise unless the keys of `tree` are exactly `names`."""
    if not isinstance(tree, dict) or set(tree) != set(names):
        came = sorted(tree) if isinstance(tree, dict) else describe(tree)
        raise LayerTypeError(f"expected {what} {sorted(names)}, got {came}. {fix}")


def set_count(layer: Layer, name: str, fix: str = "") -> None:
    """Validate a hyperparameter as an integer of at least 1, and store it as an int."""
    value = getattr(layer, name)
    if not is_integer(value, 1):
        raise ValueError(
            f"`{name}` of {layer.name} must be an integer of at least 1, got {describe(value)}. "
            f"{fix}"
        )
    object.__setattr__(layer, name, int(value))


def set_functions(layer: Layer, *names: str) -> None:
    """Validate hyperparameters as functions, and make them comparable by value."""
    for name in names:
        object.__setattr__(layer, name, by_value(getattr(layer, name), name))


def set_number(
    layer: Layer, name: str, low: float = -math.inf, below: float = math.inf, fix: str = ""
) -> None:
    """Validate a hyperparameter as a number in [low, below), and store it as a float."""
    value = getattr(layer, name)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"`{name}` of {layer.name} must be a number, got {describe(value)}. {fix}")
    if not (low <= value < below and math.isfinite(value)):
        range_ = f"[{low}, {below})"
        raise ValueError(f"`{name}` of {layer.name} must be in {range_}, got {value}. {fix}")
    object.__setattr__(layer, name, float(value))
