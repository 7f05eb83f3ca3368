"""Metrics: `metric(y_true, y_pred)` returns one value per sample, `(batch,)`, as losses do.

Metrics that are no means over samples return a `Statistic`; see precision_recall.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.checks import is_integer
from .distances import mean_absolute_error, mean_squared_error
from .labels import check_labels, class_numbers, matched
from .losses import LOSSES
from .precision_recall import auc, f1, precision, recall
from .reductions import per_sample


def accuracy(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Accuracy: whether the most probable class is correct.

    .. math:: \arg\max_k p_k = y

    with :math:`y` for `y_true` and :math:`p` for `y_pred`.

    Args:
        y_true: integer labels `(batch, ...)`, or one-hot labels `(batch, ..., classes)`.
        y_pred: probabilities or logits, `(batch, ..., classes)`.

    Returns:
        `(batch,)`, the fraction of correct predictions in each sample.

    Raises:
        ValueError: `y_pred` has a single column (use `binary_accuracy`), or the shapes do not
            match.
        TypeError: the labels are neither integers nor one-hot.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.accuracy(jnp.array([1, 0]), jnp.array([[0.1, 0.9], [0.2, 0.8]]))
        Array([1., 0.], dtype=float32)
    """
    labels = labels_of(y_true, y_pred)
    # As argmax, but an accelerator computes it in one pass with the softmax and the sum.
    best = y_pred == y_pred.max(-1, keepdims=True)
    first = jnp.where(best, class_numbers(y_pred), y_pred.shape[-1]).min(-1)
    return per_sample(as_float(first == labels, y_pred))


@dataclass(frozen=True)
class top_k_accuracy:
    """Whether the correct class is among the `k` most probable; ties go to the lowest class.

    Args:
        k: the number of classes to consider, at least 1.

    Returns:
        A metric like `accuracy`, logged as `top_3_accuracy` for `k` = 3.

    Raises:
        ValueError: `k` is below 1; (from a call) as for `accuracy`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.top_k_accuracy(2)(jnp.array([0, 0]), jnp.array([[0.3, 0.6, 0.1], [0.1, 0.5, 0.4]]))
        Array([1., 0.], dtype=float32)
    """

    k: int

    def __post_init__(self) -> None:
        if not is_integer(self.k, 1):
            raise ValueError(
                f"`k` of top_k_accuracy must be an integer of at least 1, got {self.k!r}. "
                f"Write top_k_accuracy(5) for the best five."
            )
        object.__setattr__(self, "k", int(self.k))

    @property
    def __name__(self) -> str:
        return f"top_{self.k}_accuracy"

    def __call__(self, y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
        label, number = labels_of(y_true, y_pred)[..., None], class_numbers(y_pred)
        p = jnp.where(number == label, y_pred, -jnp.inf).max(-1, keepdims=True)
        ahead = jnp.where(y_pred == p, number < label, ~(y_pred < p))  # NaN ranks ahead of all
        return per_sample(as_float(ahead.sum(-1) < self.k, y_pred))


def binary_accuracy(y_true: jax.Array, y_pred: jax.Array, threshold: float = 0.5) -> jax.Array:
    """Binary accuracy: whether thresholded probabilities are correct.

    That is, `(y_pred > threshold) == y_true`.

    Args:
        y_true: labels 0 or 1, `(batch, ...)`.
        y_pred: probabilities of the same shape.
        threshold: the prediction is 1 for probabilities above it.

    Returns:
        `(batch,)`, the fraction of correct entries in each sample.

    Raises:
        ValueError: the shapes differ.

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
    r"""Confusion matrix: how many samples of each class are predicted as each other.

    .. math:: C_{ij} = |\{n: y_n = i, \hat y_n = j\}|

    Args:
        y_true: integer labels in [0, num_classes), of any shape.
        y_pred: integer labels of the same shape, for example from `predict_classes`.
        num_classes: the number of classes; by default the largest label plus one. Required under
            `jax.jit`.

    Returns:
        An integer array `(num_classes, num_classes)` with true classes as rows; the diagonal counts
        correct predictions.

    Raises:
        ValueError: the shapes differ, labels are out of range, or `num_classes` is None under
            `jax.jit`.
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
                f"For one-hot labels or probabilities use {name}.argmax(-1)."
            )
        if values.shape != shape:
            raise ValueError(
                f"confusion_matrix: `y_pred` must have the shape of `y_true`, {shape}, got "
                f"{values.shape}. For one-hot labels or probabilities use argmax(-1)."
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
    """Convert integer or one-hot labels to integer labels."""
    y_true = jnp.asarray(y_true)
    if y_pred.shape[-1:] == (1,):
        raise ValueError(
            f"accuracy: `y_pred` must have one column per class, got shape {y_pred.shape}. "
            f"For a single probability use binary_accuracy."
        )
    if y_true.shape == y_pred.shape:
        return y_true.argmax(-1)
    if y_true.shape != y_pred.shape[:-1]:
        raise ValueError(
            f"accuracy: `y_true` must be integers of shape {y_pred.shape[:-1]} or one-hot of shape "
            f"{y_pred.shape}, got shape {y_true.shape}. For labels in a column use y_true[..., 0]."
        )
    if not jnp.issubdtype(y_true.dtype, jnp.integer):
        raise TypeError(
            f"accuracy: `y_true` must be integer or one-hot labels, got dtype {y_true.dtype} and "
            f"shape {y_true.shape}. Convert labels with y_true.astype('int32')."
        )
    return y_true.astype(int)


def as_float(hits: jax.Array, y_pred: jax.Array) -> jax.Array:
    return hits.astype(y_pred.dtype)


MEANS = accuracy, binary_accuracy, mean_absolute_error, mean_squared_error
METRICS: dict[str, Callable[[jax.Array, jax.Array], Any]] = {
    metric.__name__: metric for metric in (*MEANS, precision, recall, f1, auc)
}


def improves_downwards(name: str) -> bool | None:
    """Return whether lower values of this loss or metric are better, or None if unknown.

    The name may start with that of an output, as in `digit_accuracy`.
    """
    words = name.split("_")
    for known in ("_".join(words[i:]) for i in range(len(words))):
        if known == "loss" or known in LOSSES:
            return True
        if known in METRICS:
            return False
    return None
