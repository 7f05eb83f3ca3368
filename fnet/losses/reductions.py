"""From the values of single elements to one value per sample."""

from collections.abc import Callable

import jax


def per_sample(values: jax.Array) -> jax.Array:
    """Average over every axis but the batch."""
    return values.mean(range(1, values.ndim))


def weighted(
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    y_true: jax.Array,
    y_pred: jax.Array,
    weights: jax.Array,
) -> jax.Array:
    """A loss times weights of samples, or of the steps of samples; their mean is Keras's loss.

    Each step counts as a sample of its own for the loss; the weighted steps are then averaged over
    their number, not over the sum of the weights.

    Args:
        loss: `loss(y_true, y_pred) -> (batch,)`.
        y_true, y_pred: what `loss` takes.
        weights: `(batch,)`, or `(batch, time)`, or with more of the axes that both arrays share.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: `y_true` or `y_pred` does not start with the axes of `weights`.
    """
    axes = weights.ndim
    for name, array in {"y_true": y_true, "y_pred": y_pred}.items():
        if array.shape[:axes] != weights.shape:
            raise ValueError(
                f"`weights` must be one a sample, {array.shape[:1]}, or one a step, the first axes "
                f"of `{name}`, {array.shape}; got {weights.shape}. Leave out or add axes."
            )
    steps = (a.reshape(-1, *a.shape[axes:]) for a in (y_true, y_pred))
    return per_sample(loss(*steps).reshape(weights.shape) * weights)
