"""Metrics: `metric(y_true, y_pred) -> one value a sample`, shape `(batch,)`, like losses."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from .labels import check_labels, class_numbers, matched
from .losses import LOSSES, mean_absolute_error, mean_squared_error, per_sample


def accuracy(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    """Whether the most probable class is the right one, argmax_k p_k = y.

    Args:
        y_true: `(batch, ...)` integers, or `(batch, ..., classes)` one-hot.
        y_pred: `(batch, ..., classes)`, probabilities or logits.

    Returns:
        `(batch,)`, 1 where right and 0 where wrong.

    Raises:
        ValueError: a single column of predictions (see `binary_accuracy`), or labels of a shape
            that does not fit.
        TypeError: labels that are neither integers nor one-hot.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.accuracy(jnp.array([1, 0]), jnp.array([[0.1, 0.9], [0.2, 0.8]]))
        Array([1., 0.], dtype=float32)
    """
    labels = labels_of(y_true, y_pred)
    return per_sample(as_float(y_pred.argmax(-1) == labels, y_pred))


@dataclass(frozen=True)
class top_k_accuracy:
    """Whether the right class is among the `k` most probable; of equals, the lowest comes first.

    Args:
        k: how many classes count, at least 1.

    Returns:
        A metric like `accuracy`, logged as `top_3_accuracy` for `k` = 3.

    Raises:
        ValueError: `k` below 1; when used, as `accuracy`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.top_k_accuracy(2)(jnp.array([0, 0]), jnp.array([[0.3, 0.6, 0.1], [0.1, 0.5, 0.4]]))
        Array([1., 0.], dtype=float32)
    """

    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise ValueError(
                f"`k` of top_k_accuracy must be an integer of at least 1, got {self.k!r}. "
                f"Write top_k_accuracy(5) for the best five."
            )

    @property
    def __name__(self) -> str:
        return f"top_{self.k}_accuracy"

    def __call__(self, y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
        label, number = labels_of(y_true, y_pred)[..., None], class_numbers(y_pred)
        p = jnp.where(number == label, y_pred, -jnp.inf).max(-1, keepdims=True)
        ahead = jnp.where(y_pred == p, number < label, ~(y_pred < p))  # NaN is ahead of all
        return per_sample(as_float(ahead.sum(-1) < self.k, y_pred))


def binary_accuracy(y_true: jax.Array, y_pred: jax.Array, threshold: float = 0.5) -> jax.Array:
    """Whether a probability is on the right side of the threshold, (p > threshold) = y.

    Args:
        y_true: `(batch, ...)`, 0 or 1.
        y_pred: probabilities of the same shape.
        threshold: above it the prediction is 1.

    Returns:
        `(batch,)`, the fraction of right entries of each sample.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.binary_accuracy(jnp.array([[1], [1]]), jnp.array([[0.7], [0.2]]))
        Array([1., 0.], dtype=float32)
    """
    predicted = as_float(y_pred > threshold, y_pred)
    return per_sample(as_float(predicted == matched(y_true, y_pred), y_pred))


def confusion_matrix(
    y_true: jax.Array, y_pred: jax.Array, num_classes: int | None = None
) -> jax.Array:
    """How often each class was taken for each, C_ij = the number of samples of class i called j.

    Args:
        y_true: integer labels in [0, num_classes), of any shape.
        y_pred: integer labels of the same shape, such as `predict_classes` gives.
        num_classes: how many there are; unless given, as many as the labels show, which works
            outside of jit only.

    Returns:
        `(num_classes, num_classes)`, int32: a row for each true class; the diagonal is right.

    Raises:
        ValueError: shapes that differ, labels out of range, `num_classes` left out under jit.
        TypeError: the labels are not integers.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]))
        Array([[1, 0],
               [1, 1]], dtype=int32)
    """
    labels = {"y_true": jnp.asarray(y_true), "y_pred": jnp.asarray(y_pred)}
    shape = labels["y_true"].shape
    for name, values in labels.items():
        if not jnp.issubdtype(values.dtype, jnp.integer):
            raise TypeError(
                f"confusion_matrix: `{name}` must be integer labels, got dtype {values.dtype}. "
                f"Of one-hot labels or probabilities take {name}.argmax(-1)."
            )
        if values.shape != shape:
            raise ValueError(
                f"confusion_matrix: `y_pred` must have the shape of `y_true`, {shape}, got "
                f"{values.shape}. Of one-hot labels or probabilities take argmax(-1)."
            )
    if num_classes is None:
        if any(isinstance(values, jax.core.Tracer) for values in labels.values()):
            raise ValueError(
                "confusion_matrix: `num_classes` must be given under jit, got None. "
                "Pass the number of classes."
            )
        num_classes = max(int(np.asarray(v).max(initial=0)) for v in labels.values()) + 1
    for name, values in labels.items():
        check_labels(name, values, num_classes)
    rows, columns = (values.ravel().astype(int) for values in labels.values())
    return jnp.zeros((num_classes, num_classes), int).at[rows, columns].add(1)


def labels_of(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    """Integer labels from integer or one-hot ones."""
    y_true = jnp.asarray(y_true)
    if y_pred.shape[-1:] == (1,):
        raise ValueError(
            f"accuracy: `y_pred` must have a column a class, got shape {y_pred.shape}. "
            f"For a single probability use binary_accuracy."
        )
    if y_true.shape == y_pred.shape:
        return y_true.argmax(-1)
    if y_true.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"accuracy: `y_true` must be integers of shape {y_pred.shape[:-1]} or one-hot of shape "
            f"{y_pred.shape}, got shape {y_true.shape}. Reshape the labels."
        )
    if not jnp.issubdtype(y_true.dtype, jnp.integer):
        raise TypeError(
            f"accuracy: `y_true` must be integer or one-hot labels, got dtype {y_true.dtype} and "
            f"shape {y_true.shape}. Convert labels with y_true.astype('int32')."
        )
    return y_true.astype(int)


def as_float(hits: jax.Array, y_pred: jax.Array) -> jax.Array:
    return hits.astype(y_pred.dtype)


METRICS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    metric.__name__: metric
    for metric in (accuracy, binary_accuracy, mean_absolute_error, mean_squared_error)
}


def improves_downwards(name: str) -> bool | None:
    """Whether a loss or metric of this name is better when it is lower; None if it is not known."""
    if name == "loss" or name in LOSSES:
        return True
    if name in METRICS or re.fullmatch(r"top_\d+_accuracy", name):
        return False
    return None
