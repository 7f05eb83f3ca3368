"""Losses for classes of which one is rare."""

import jax
import jax.numpy as jnp

from .labels import matched
from .probabilities import EPSILON, log_probs, log_yes_and_no
from .reductions import per_sample


def binary_focal_crossentropy(
    y_true: jax.Array,
    y_pred: jax.Array,
    from_logits: bool = False,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> jax.Array:
    r"""Binary crossentropy that counts what is certain less.

    .. math:: -\frac{1}{d} \sum_j w_j (1 - q_j)^\gamma \log q_j

    :math:`q` is the probability of the true label, `y_pred` for 1 and `1 - y_pred` for 0, and
    :math:`w` its weight: 1, or with `alpha`, :math:`\alpha` for 1 and :math:`1 - \alpha` for 0. It
    is Keras's, which by default does not use its alpha.

    Args:
        y_true: labels 0 or 1, or probabilities, `(batch, ...)`.
        y_pred: probabilities of the same shape, or logits.
        from_logits: whether `y_pred` are logits.
        gamma: how much less; 0 is the crossentropy.
        alpha: the weight of label 1, in [0, 1]; 0.25 in the source.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> y_true, y_pred = jnp.array([[1], [1]]), jnp.array([[0.5], [0.9]])
        >>> fnet.binary_focal_crossentropy(y_true, y_pred).round(4)
        Array([0.1733, 0.0011], dtype=float32)

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, equations 4 and 5.
    """
    y = matched(y_true, y_pred)
    log_yes, log_no = log_yes_and_no(y_pred, from_logits)
    q = y * jnp.exp(log_yes) + (1 - y) * jnp.exp(log_no)
    costs = -((1 - q) ** gamma) * (y * log_yes + (1 - y) * log_no)
    return per_sample(costs if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * costs)


def categorical_focal_crossentropy(
    y_true: jax.Array,
    y_pred: jax.Array,
    from_logits: bool = False,
    gamma: float = 2.0,
    alpha: float | tuple[float, ...] = 0.25,
) -> jax.Array:
    r"""Crossentropy that counts what is certain less.

    .. math:: -\sum_k \alpha_k y_k (1 - p_k)^\gamma \log p_k

    with :math:`y` for `y_true` and :math:`p` for `y_pred`.

    Args:
        y_true: one-hot labels or distributions, `(batch, ..., classes)`.
        y_pred: probabilities of the same shape, or logits.
        from_logits: whether `y_pred` are logits.
        gamma: how much less; 0 is the crossentropy.
        alpha: the weight of each class, or one number for all, as in Keras.

    Returns:
        `(batch,)`, in nats.

    Raises:
        ValueError: the shapes differ, or `alpha` has not one weight for each class.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> y_true, y_pred = jnp.array([[0, 1], [0, 1]]), jnp.array([[0.5, 0.5], [0.1, 0.9]])
        >>> fnet.categorical_focal_crossentropy(y_true, y_pred, alpha=1.0).round(4)
        Array([0.1733, 0.0011], dtype=float32)

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, equation 5.
    """
    y, log_p = matched(y_true, y_pred), log_probs(y_pred, from_logits)
    weights = jnp.asarray(alpha, y_pred.dtype)
    if weights.shape not in ((), y_pred.shape[-1:]):
        raise ValueError(
            f"categorical_focal_crossentropy: `alpha` must be a number or one for each of the "
            f"{y_pred.shape[-1]} classes, got shape {weights.shape}. Write a tuple of weights."
        )
    weights = jnp.broadcast_to(weights, y_pred.shape)
    costs = weights * y * (1 - jnp.exp(log_p)) ** gamma * log_p
    return per_sample(-costs.sum(-1))


def dice(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    r"""Dice loss: how little two sets overlap.

    .. math:: 1 - \frac{2 \sum_j y_j p_j}{\sum_j y_j + \sum_j p_j + 10^{-7}}

    with :math:`y` for `y_true` and :math:`p` for `y_pred`. The sums run over all of a sample; by
    default those of Keras run over the whole batch.

    Args:
        y_true: masks of 0 and 1, `(batch, ...)`.
        y_pred: probabilities of the same shape.

    Returns:
        `(batch,)`, in [0, 1].

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.dice(jnp.array([[1, 1, 0, 0]]), jnp.array([[1.0, 0.0, 0.0, 1.0]]))
        Array([0.5], dtype=float32)

    Source: Milletari, Navab and Ahmadi 2016, V-Net, section 3, with the sizes not squared.
    """
    y = matched(y_true, y_pred)
    inner = tuple(range(1, y.ndim))
    return 1 - 2 * jnp.sum(y * y_pred, inner) / (
        jnp.sum(y, inner) + jnp.sum(y_pred, inner) + EPSILON
    )
