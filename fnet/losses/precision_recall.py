"""Precision, recall, F1 and the area under the ROC curve: metrics that are no means over samples.

Each returns a `Statistic`, whose parts are averaged over a whole epoch before they are divided.
"""

import jax
import jax.numpy as jnp

from .labels import matched
from .statistics import Statistic

BINS = 512  # of the scores: a tie within one of them counts as half


def precision(y_true: jax.Array, y_pred: jax.Array, threshold: float = 0.5) -> Statistic:
    r"""Precision: which part of the positive predictions is correct.

    .. math:: \frac{\mathrm{TP}}{\mathrm{TP} + \mathrm{FP}}

    of the numbers of true and of false positives.

    Args:
        y_true: labels 0 or 1, `(batch, ...)`; or integer labels `(batch, ...)` of classes.
        y_pred: probabilities of the same shape; or probabilities or logits of the classes,
            `(batch, ..., classes)`: the most probable one is predicted, and the result is the mean
            over the classes that occur ("macro").
        threshold: a prediction is positive for probabilities above it.

    Returns:
        A `Statistic`; its `value` over these samples is `()`, and 0 where nothing is positive.

    Raises:
        ValueError: the shapes do not match.
        TypeError: labels of classes are not integers.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> y_true, y_pred = jnp.array([1, 0, 0, 1]), jnp.array([0.9, 0.8, 0.1, 0.7])
        >>> fnet.precision(y_true, y_pred).value.round(4)
        Array(0.6667, dtype=float32)

    Source: van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    return Statistic(counts("precision", y_true, y_pred, threshold), precision_of)


def recall(y_true: jax.Array, y_pred: jax.Array, threshold: float = 0.5) -> Statistic:
    r"""Recall: which part of the positive samples is found.

    .. math:: \frac{\mathrm{TP}}{\mathrm{TP} + \mathrm{FN}}

    of the numbers of true positives and of false negatives.

    Args:
        y_true, y_pred, threshold: as for `precision`.

    Returns:
        A `Statistic`; its `value` over these samples is `()`, and 0 where nothing is positive.

    Raises:
        ValueError, TypeError: as for `precision`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> y_true, y_pred = jnp.array([1, 0, 0, 1]), jnp.array([0.9, 0.8, 0.1, 0.2])
        >>> fnet.recall(y_true, y_pred).value
        Array(0.5, dtype=float32)

    Source: van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    return Statistic(counts("recall", y_true, y_pred, threshold), recall_of)


def f1(y_true: jax.Array, y_pred: jax.Array, threshold: float = 0.5) -> Statistic:
    r"""F1 score: the harmonic mean of precision and recall.

    .. math:: \frac{2 \mathrm{TP}}{2 \mathrm{TP} + \mathrm{FP} + \mathrm{FN}}

    of the numbers of true positives, false positives and false negatives.

    Args:
        y_true, y_pred, threshold: as for `precision`.

    Returns:
        A `Statistic`; its `value` over these samples is `()`, and 0 where nothing is positive.

    Raises:
        ValueError, TypeError: as for `precision`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> y_true, y_pred = jnp.array([1, 0, 0, 1]), jnp.array([0.9, 0.8, 0.1, 0.7])
        >>> fnet.f1(y_true, y_pred).value
        Array(0.8, dtype=float32)

    Source: van Rijsbergen 1979, Information Retrieval, chapter 7 (:math:`F = 1 - E` with
    :math:`\alpha = 1/2`).
    """
    return Statistic(counts("f1", y_true, y_pred, threshold), f1_of)


def auc(y_true: jax.Array, y_pred: jax.Array) -> Statistic:
    r"""Area under the ROC curve: the chance that a positive sample scores above a negative one.

    The scores are sorted into 512 bins by their logits, :math:`\log(p / (1 - p))`, and a tie within
    a bin counts as half; the result is that of all thresholds to about 1e-3.

    Args:
        y_true: labels 0 or 1, `(batch, ...)`.
        y_pred: probabilities of the same shape.

    Returns:
        A `Statistic`; its `value` over these samples is `()`, and NaN if one label is missing.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> y_true, y_pred = jnp.array([1, 0, 0, 1]), jnp.array([0.9, 0.8, 0.1, 0.7])
        >>> fnet.auc(y_true, y_pred).value
        Array(0.75, dtype=float32)

    Source: Hanley and McNeil 1982, The Meaning and Use of the Area under a ROC Curve.
    """
    positive = matched(y_true, y_pred).astype(float)[..., None]
    p = jnp.clip(y_pred.astype(float), 1e-38, 1 - 2**-24)[..., None]
    place = jnp.arcsinh(100 * (jnp.log(p) - jnp.log1p(-p)))  # in steps of 4e-4 around logits of 0,
    edges = jnp.linspace(-10, 10, BINS + 1).reshape((1,) * (p.ndim - 1) + (-1,))  # of 4 % far away
    inside = ((edges[..., :-1] <= place) & (place < edges[..., 1:])).astype(float)
    axes = tuple(range(1, inside.ndim - 1))
    samples = {"positive": inside * positive, "negative": inside * (1 - positive)}
    return Statistic({name: part.mean(axes) for name, part in samples.items()}, auc_of)


def counts(
    metric: str, y_true: jax.Array, y_pred: jax.Array, threshold: float
) -> dict[str, jax.Array]:
    """For each sample, the correct positives, and those predicted and true: of each class."""
    y_true, of_classes = jnp.asarray(y_true), jnp.ndim(y_true) == y_pred.ndim - 1
    if of_classes:
        if not jnp.issubdtype(y_true.dtype, jnp.integer):
            raise TypeError(
                f"{metric}: `y_true` must be integer labels of classes, got dtype {y_true.dtype}. "
                f"Convert them: y_true.astype('int32')."
            )
        if y_true.shape != y_pred.shape[:-1] or y_pred.shape[-1] == 1:
            raise ValueError(
                f"{metric}: `y_pred` must have the shape of `y_true`, {y_true.shape}, and several "
                f"classes behind it, got {y_pred.shape}. For a single probability use labels of "
                f"its shape."
            )
        classes = y_pred.shape[-1]
        actual = jax.nn.one_hot(y_true.astype(int), classes)
        predicted = jax.nn.one_hot(y_pred.argmax(-1), classes)
    else:
        actual = matched(y_true, y_pred).astype(float)
        predicted = (y_pred > threshold).astype(float)
    axes = tuple(range(1, actual.ndim - of_classes))
    parts = {"hits": actual * predicted, "predicted": predicted, "actual": actual}
    return {name: part.mean(axes) for name, part in parts.items()}


def precision_of(means: dict[str, jax.Array]) -> jax.Array:
    return over_classes(ratio(means["hits"], means["predicted"]), means)


def recall_of(means: dict[str, jax.Array]) -> jax.Array:
    return over_classes(ratio(means["hits"], means["actual"]), means)


def f1_of(means: dict[str, jax.Array]) -> jax.Array:
    return over_classes(ratio(2 * means["hits"], means["predicted"] + means["actual"]), means)


def auc_of(means: dict[str, jax.Array]) -> jax.Array:
    positive, negative = means["positive"], means["negative"]
    below = jnp.cumsum(negative) - negative / 2
    return (positive * below).sum() / (positive.sum() * negative.sum())


def ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def over_classes(scores: jax.Array, means: dict[str, jax.Array]) -> jax.Array:
    """The mean of the scores of the classes that occur."""
    occurs = means["predicted"] + means["actual"] > 0
    return ratio(jnp.where(occurs, scores, 0).sum(), occurs.astype(float).sum())
