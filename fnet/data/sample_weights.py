"""Weights of samples and of classes, which become one weight a sample beside the data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.checks import check_weights
from ..core.values import describe


def with_sample_weight(data: tuple[Any, ...], sample_weight: Any) -> tuple[Any, ...]:
    """`(x, y, weights)` of `(x, y)`."""
    if sample_weight is None:
        return data
    if len(data) == 3:
        raise ValueError(
            "`sample_weight` and weights in `data` exclude each other, got both. Drop one of them."
        )
    return *data, check_weights("`sample_weight`", sample_weight, len(data[0]))


def with_class_weight(
    data: tuple[Any, ...], class_weight: Mapping[int, float] | None, outputs: int
) -> tuple[Any, ...]:
    """`(x, y, weights)`: the weight of each sample's class, times its own where it has one."""
    if class_weight is None:
        return data
    x, y, *own = data
    weights = np.ones(max(outputs, 2), np.float32)  # a single output tells two classes apart
    for number, weight in check_class_weight(class_weight, len(weights)).items():
        weights[number] = weight
    chosen = weights[labels_of(np.asarray(y), outputs)]
    return x, y, chosen * np.asarray(own[0]) if own else chosen


def labels_of(y: np.ndarray, outputs: int) -> np.ndarray:
    """The class of each sample, from integer or one-hot labels or a column of 0 and 1."""
    one_hot = y.ndim == 2 and y.shape[1] > 1
    column = y.ndim == 2 and y.shape[1] == 1
    labels = y.argmax(-1) if one_hot else y[:, 0] if column else y
    known = np.unique(labels) if labels.ndim == 1 else np.array([np.nan])
    if not np.isin(known, np.arange(max(outputs, 2))).all():
        raise ValueError(
            f"`class_weight` must have one class a sample to weigh, got y of shape {y.shape} and "
            f"dtype {y.dtype}. Weigh the samples themselves: `sample_weight`."
        )
    return labels.astype(int)


def check_class_weight(class_weight: Mapping[int, float], classes: int) -> Mapping[int, float]:
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"`class_weight` must be a dict from class to weight, got {describe(class_weight)}. "
            f"Write {{0: 1.0, 1: 5.0}}; a class that is left out weighs 1."
        )
    unknown = [number for number in class_weight if number not in range(classes)]
    if unknown:
        raise ValueError(
            f"`class_weight` must name classes in [0, {classes}), got {unknown}. "
            f"Use the integers of the labels."
        )
    check_weights("`class_weight`", list(class_weight.values()), len(class_weight))
    return class_weight
