"""Weights of classes, as a weight for each sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.checks import check_weights
from ..core.values import describe


def class_weights(y: Any, weights: Mapping[int, float]) -> np.ndarray:
    """The weight of each sample's class: the third element of a batch `(x, y, weights)`.

    Args:
        y: labels: `(samples,)` or `(samples, 1)` integers from 0 on, or `(samples, classes)`
            one-hot.
        weights: from a class to its weight, at least 0; a class that is left out weighs 1.

    Returns:
        `(samples,)` float32. Multiply it by weights of your own for single samples.

    Raises:
        ValueError: labels of another shape or kind, a class that no label can have, or a weight
            that is negative or not finite.
        TypeError: `weights` is not a dict.

    Example:
        >>> import numpy as np, fnet
        >>> x, y = np.zeros((4, 2)), np.array([0, 1, 1, 2])
        >>> data = x, y, fnet.class_weights(y, {0: 2.0, 2: 0.5})
        >>> data[2]
        array([2. , 1. , 1. , 0.5], dtype=float32)
    """
    labels, classes = class_numbers(np.asarray(y))
    table = np.ones(classes, np.float32)
    for number, weight in check_class_weights(weights, classes).items():
        table[number] = weight
    return table[labels]


def class_numbers(y: np.ndarray) -> tuple[np.ndarray, int]:
    """The class of each sample, and how many classes there are."""
    if y.ndim == 2 and y.shape[1] > 1 and len(y):
        if not (np.isin(y, (0, 1)).all() and (y.sum(-1) == 1).all()):
            raise ValueError(
                f"`y` must be one-hot where it has {y.shape[1]} columns, got rows with other "
                f"entries than a single 1. Weight the samples themselves: (x, y, weights)."
            )
        return y.argmax(-1), y.shape[1]
    labels = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if labels.ndim != 1 or not len(labels) or (labels != labels.astype(int)).any():
        raise ValueError(
            f"`y` must hold one class for each sample, got shape {y.shape} and dtype {y.dtype}. "
            f"Weight the samples themselves: (x, y, weights)."
        )
    if labels.min() < 0:
        raise ValueError(
            f"`y` must hold classes from 0 on, got {labels.min()}. Number them from 0."
        )
    labels = labels.astype(int)
    return labels, max(int(labels.max()) + 1, 2)


def check_class_weights(weights: Mapping[int, float], classes: int) -> Mapping[int, float]:
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"`weights` must be a dict from class to weight, got {describe(weights)}. "
            f"Write {{0: 1.0, 1: 5.0}}; a class that is left out weighs 1."
        )
    unknown = [number for number in weights if number not in range(classes)]
    if unknown:
        raise ValueError(
            f"`weights` must name classes of `y`, in [0, {classes}), got {unknown}. "
            f"Use the integers of the labels."
        )
    check_weights("`weights`", np.array([*weights.values()], np.float32), len(weights))
    return weights
