"""Logarithms of probabilities, which are given as such or as logits."""

import jax
import jax.numpy as jnp

EPSILON = 1e-7  # as in Keras; `supervised` takes logits where it can, and so never needs it


def log_probs(y_pred: jax.Array, from_logits: bool) -> jax.Array:
    """Of the classes along the last axis."""
    return jax.nn.log_softmax(y_pred) if from_logits else jnp.log(jnp.maximum(y_pred, EPSILON))


def log_yes_and_no(y_pred: jax.Array, from_logits: bool) -> tuple[jax.Array, jax.Array]:
    """Of label 1, and of label 0."""
    if from_logits:
        return jax.nn.log_sigmoid(y_pred), jax.nn.log_sigmoid(-y_pred)
    return jnp.log(jnp.maximum(y_pred, EPSILON)), jnp.log(jnp.maximum(1 - y_pred, EPSILON))
