"""One-hot encoding and label checks."""

import jax
import jax.numpy as jnp
import numpy as np


def one_hot(labels: jax.Array, num_classes: int) -> jax.Array:
    """Encode integer labels as one-hot vectors.

    Args:
        labels: integers in [0, num_classes), of any shape `(...)`.
        num_classes: the length of the new last axis.

    Returns:
        A float array `(..., num_classes)`.

    Raises:
        TypeError: `labels` are not integers.
        ValueError: labels are out of range; not checked under `jax.jit`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.one_hot(jnp.array([0, 2]), 3)
        Array([[1., 0., 0.],
               [0., 0., 1.]], dtype=float32)
    """
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"`labels` must be integers, got dtype {labels.dtype}. "
            f"Convert them: labels.astype('int32')."
        )
    check_labels("labels", labels, num_classes)
    return jax.nn.one_hot(labels.astype(int), num_classes)  # as a byte, class 261 would wrap to 5


to_categorical = one_hot  # the Keras name


def matched(y_true: jax.Array, y_pred: jax.Array) -> jax.Array:
    """Cast `y_true` to the dtype of `y_pred`; raise if the shapes differ, which would broadcast."""
    if jnp.shape(y_true) != y_pred.shape:
        raise ValueError(
            f"`y_true` must have the shape of `y_pred`, {y_pred.shape}, got {jnp.shape(y_true)}. "
            f"Reshape the targets, or change the units of the last layer."
        )
    if jnp.iscomplexobj(y_true) and not jnp.iscomplexobj(y_pred):
        raise TypeError(
            f"`y_true` must be real, as `y_pred` is, got {jnp.result_type(y_true)}. Take its parts "
            f"for two outputs: jnp.stack([y.real, y.imag], -1)."
        )
    return jnp.asarray(y_true, y_pred.dtype)


def class_numbers(y_pred: jax.Array) -> jax.Array:
    """Return 0, 1, ... along the last axis, with the rank of `y_pred`."""
    return jnp.arange(y_pred.shape[-1]).reshape((1,) * (y_pred.ndim - 1) + (-1,))


def check_labels(
    argument: str, labels: jax.Array, num_classes: int, ignored: int | None = None
) -> None:
    """Raise if labels are outside [0, num_classes), which JAX does not check; skip tracers."""
    if isinstance(labels, jax.core.Tracer):
        return
    known = np.asarray(labels)
    known = known if ignored is None else known[known != ignored]
    if known.size == 0:
        return
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"`{argument}` must hold labels in [0, {num_classes}), got {low} to {high}. "
            f"Correct the labels, or give the last layer a unit for each class."
        )
