"""Adam and the optimizers derived from it, in the notation of `rules`."""

from typing import NamedTuple

import jax

from ..core.trees import Tree, root
from .base import PerLeafOptimizer
from .hyperparameters import Number, number, number_or_schedule, pytree


class AdamState(NamedTuple):
    step: jax.Array  # ()
    mean: Tree  # like params
    mean_square: Tree  # like params


@pytree
class adam(PerLeafOptimizer):
    """Adam, m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; at update t = 1, 2, ...

    p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), epsilon outside the root.
    Keras has epsilon 1e-7, added to the root of v before its correction ("epsilon hat").

    Args:
        learning_rate: a number or a schedule.
        beta1: decay rate of the mean, in [0, 1).
        beta2: decay rate of the mean square, in [0, 1).
        epsilon: added to the root.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.adam(0.1)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)
        0.9

    Source: Kingma and Ba 2015, Adam, algorithm 1.
    """

    State = AdamState
    learning_rate: Number = number_or_schedule(default=1e-3)
    beta1: Number = number(default=0.9, below=1)
    beta2: Number = number(default=0.999, below=1)
    epsilon: Number = 1e-8

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g**2
        m_hat = m / (1 - self.beta1**t)
        v_hat = v / (1 - self.beta2**t)
        return p - self.learning_rate * m_hat / (root(v_hat) + self.epsilon), m, v


@pytree
class adamw(adam):
    """Adam with decoupled weight decay: Adam's update minus lr weight_decay p.

    Epsilon defaults to 1e-8 and differs as for `adam`; weight decay is 1e-4 (0.004 in Keras). As in
    the source, biases and the scales of normalizations decay too; to leave them out, write
    `decayed(adam(learning_rate), weight_decay)`.

    Args:
        learning_rate: a number or a schedule.
        beta1, beta2, epsilon: as for `adam`.
        weight_decay: each update shrinks p by this times the learning rate.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.adamw(0.1, weight_decay=0.5)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)
        0.85

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, algorithm 2.
    """

    weight_decay: Number = 1e-4

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        moved, m, v = super().update_leaf(t, g, p, m, v)
        return moved - self.learning_rate * self.weight_decay * p, m, v
