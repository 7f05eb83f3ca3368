"""Losses: `loss(y_true, y_pred)` returns one value per sample, `(batch,)`.

Losses average over the axes of a sample, such as time and space, and leave the mean over the batch
to the caller. The crossentropies accept probabilities, or logits with `from_logits=True`.
Probabilities are clipped to at least 1e-7, so a confident mistake costs 16.1 instead of infinity.
"""

import jax
import jax.numpy as jnp
from jax import lax

from .distances import (
    cosine_similarity,
    hinge,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_squared_error,
    poisson,
)
from .imbalanced import binary_focal_crossentropy, categorical_focal_crossentropy, dice
from .labels import class_numbers, matched
from .probabilities import EPSILON, log_probs, log_yes_and_no
from .reductions import per_sample


def binary_crossentropy(
    y_true: jax.Array, y_pred: jax.Array, from_logits: bool = False, label_smoothing: float = 0.0
) -> jax.Array:
    r"""Binary crossentropy, for labels that are 0 or 1.

    .. math:: -\frac{1}{d} \sum_j (y_j \log p_j + (1 - y_j) \log(1 - p_j))

    with :math:`y` for `y_true` and :math:`p` for `y_pred`.

    Args:
        y_true: labels 0 or 1, or probabilities, `(batch, ...)`.
        y_pred: probabilities of the same shape, or logits.
        from_logits: whether `y_pred` are logits.
        label_smoothing: :math:`s` in [0, 1], which replaces :math:`y` by :math:`(1 - s) y + s / 2`.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: the shapes differ, or `label_smoothing` is outside [0, 1].

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.binary_crossentropy(jnp.array([[1], [0]]), jnp.array([[0.5], [0.5]])).round(4)
        Array([0.6931, 0.6931], dtype=float32)

    Source: Good 1952, Rational Decisions.
    """
    check_smoothing("binary_crossentropy", label_smoothing)
    y_true = matched(y_true, y_pred)
    if label_smoothing:
        y_true = (1 - label_smoothing) * y_true + label_smoothing / 2
    log_yes, log_no = log_yes_and_no(y_pred, from_logits)
    return per_sample(-(y_true * log_yes + (1 - y_true) * log_no))


def categorical_crossentropy(
    y_true: jax.Array, y_pred: jax.Array, from_logits: bool = False, label_smoothing: float = 0.0
) -> jax.Array:
    r"""Crossentropy with one-hot labels.

    .. math:: -\sum_k y_k \log p_k

    with :math:`y` for `y_true` and :math:`p` for `y_pred`.

    Args:
        y_true: one-hot labels or distributions, `(batch, ..., classes)`.
        y_pred: probabilities of the same shape, or logits.
        from_logits: whether `y_pred` are logits.
        label_smoothing: :math:`s` in [0, 1], which replaces :math:`y_k` by
            :math:`(1 - s) y_k + s / n` for :math:`n` classes. In training, pass
            `partial(fnet.categorical_crossentropy, label_smoothing=0.1)`.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: the shapes differ, as with integer labels, or `label_smoothing` is outside
            [0, 1].

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.categorical_crossentropy(jnp.array([[0, 1]]), jnp.array([[0.5, 0.5]])).round(4)
        Array([0.6931], dtype=float32)

    Source: Bridle 1990, Probabilistic Interpretation of Feedforward Network Outputs; Szegedy et
    al. 2016, Rethinking the Inception Architecture, section 7 (label smoothing).
    """
    check_smoothing("categorical_crossentropy", label_smoothing)
    if jnp.ndim(y_true) == jnp.ndim(y_pred) - 1:
        raise ValueError(
            f"categorical_crossentropy: `y_true` must be one-hot, of shape {y_pred.shape}, got "
            f"shape {jnp.shape(y_true)}. For integer labels use sparse_categorical_crossentropy, "
            f"or make them one-hot: fnet.one_hot(y_true, {y_pred.shape[-1]})."
        )
    log_p = log_probs(y_pred, from_logits)
    costs = -(matched(y_true, y_pred) * log_p).sum(-1)
    return per_sample(smoothed(costs, log_p, label_smoothing))


def sparse_categorical_crossentropy(
    y_true: jax.Array,
    y_pred: jax.Array,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> jax.Array:
    r"""Crossentropy with integer labels.

    .. math:: -\log p_y

    with :math:`y` for `y_true` and :math:`p` for `y_pred`.

    Args:
        y_true: integer labels in [0, classes), `(batch, ...)`.
        y_pred: probabilities or logits, `(batch, ..., classes)`.
        from_logits: whether `y_pred` are logits.
        label_smoothing: as for `categorical_crossentropy`.
        ignore_class: a label, also outside of [0, classes), that costs nothing, such as that of
            padding. The other labels of the batch then cost more by as much as there are fewer of
            them, so that the mean over the batch is that over the labels that count, as in Keras.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: the labels are one-hot or have another wrong shape, or `label_smoothing` is
            outside [0, 1].
        TypeError: the labels are not integers.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.sparse_categorical_crossentropy(jnp.array([1]), jnp.array([[0.5, 0.5]])).round(4)
        Array([0.6931], dtype=float32)

    Source: Bridle 1990, Probabilistic Interpretation of Feedforward Network Outputs.
    """
    check_smoothing("sparse_categorical_crossentropy", label_smoothing)
    y_true = jnp.asarray(y_true)
    if y_true.shape != y_pred.shape[:-1]:
        fix = "For one-hot labels use categorical_crossentropy, or take y_true.argmax(-1)."
        if y_true.shape == (*y_pred.shape[:-1], 1):  # argmax would give 0 for every label
            fix = "Drop the last axis: y_true[..., 0]."
        raise ValueError(
            f"sparse_categorical_crossentropy: `y_true` must be integer labels of shape "
            f"{y_pred.shape[:-1]}, got shape {y_true.shape}. {fix}"
        )
    if not jnp.issubdtype(y_true.dtype, jnp.integer):
        raise TypeError(
            f"sparse_categorical_crossentropy: `y_true` must be integer labels, got dtype "
            f"{y_true.dtype}. Convert them: y_true.astype('int32')."
        )
    # A comparison instead of indexing: its gradient is element-wise instead of a scatter, and a
    # label out of range cannot select another class.
    chosen = y_true[..., None].astype(int) == class_numbers(y_pred)
    scores = shifted(y_pred) if from_logits else log_probs(y_pred, False)
    costs = smoothed(jnp.where(chosen, -scores, 0).sum(-1), scores, label_smoothing)
    if from_logits:  # the gradient needs no sum over the classes, as that of log_softmax would
        costs += jnp.log(jnp.exp(scores).sum(-1))
    if ignore_class is None:
        return per_sample(costs)
    counts = y_true.astype(int) != ignore_class
    share = counts.mean(dtype=costs.dtype)
    return per_sample(jnp.where(counts, costs, 0) / jnp.where(share > 0, share, 1))


def kl_divergence(y_true: jax.Array, y_pred: jax.Array, from_logits: bool = False) -> jax.Array:
    r"""Kullback-Leibler divergence.

    .. math:: \sum_k y_k \log \frac{y_k}{p_k}, \quad 0 \log 0 = 0

    with :math:`y` for `y_true` and :math:`p` for `y_pred`.

    Args:
        y_true: distributions, `(batch, ..., classes)`.
        y_pred: probabilities of the same shape, or logits.
        from_logits: whether `y_pred` are logits.

    Returns:
        `(batch,)`, in nats: the crossentropy minus the entropy of `y_true`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.kl_divergence(jnp.array([[0.0, 1.0]]), jnp.array([[0.5, 0.5]])).round(4)
        Array([0.6931], dtype=float32)

    Source: Kullback and Leibler 1951, On Information and Sufficiency, equation 2.4.
    """
    y_true = matched(y_true, y_pred)
    log_y = jnp.log(jnp.maximum(y_true, EPSILON))
    return per_sample((y_true * (log_y - log_probs(y_pred, from_logits))).sum(-1))


def shifted(logits: jax.Array) -> jax.Array:
    """Logits whose largest is 0, so that their exponentials stay finite."""
    return logits - lax.stop_gradient(logits.max(-1, keepdims=True))


def smoothed(costs: jax.Array, log_p: jax.Array, label_smoothing: float) -> jax.Array:
    """Mix (1 - s) of the label costs with s of the mean cost over all classes."""
    if not label_smoothing:
        return costs
    return (1 - label_smoothing) * costs - label_smoothing * log_p.mean(-1)


def check_smoothing(loss: str, label_smoothing: float) -> None:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"{loss}: `label_smoothing` must be in [0, 1], got {label_smoothing!r}. "
            f"0.1 spreads a tenth of each label evenly over all classes."
        )


LOSSES = {
    loss.__name__: loss
    for loss in (
        mean_squared_error,
        mean_absolute_error,
        huber,
        binary_crossentropy,
        categorical_crossentropy,
        sparse_categorical_crossentropy,
        kl_divergence,
        cosine_similarity,
        hinge,
        poisson,
        log_cosh,
        binary_focal_crossentropy,
        categorical_focal_crossentropy,
        dice,
    )
}
