"""Adam and the optimizers derived from it, in the notation of `rules`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree, root
from .base import PerLeafOptimizer
from .hyperparameters import Number, number, number_or_schedule, pytree


class AdamState(NamedTuple):
    step: jax.Array  # ()
    mean: Tree  # like params
    mean_square: Tree  # like params


@pytree
class adam(PerLeafOptimizer):
    r"""Adam, whose steps are the mean of recent gradients relative to their size.

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \quad \hat m = m / (1 - \beta_1^t) \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad \hat v = v / (1 - \beta_2^t) \\
        p &\leftarrow p - \eta \hat m / (\sqrt{\hat v} + \epsilon)

    at update :math:`t = 1, 2, \ldots` with learning rate :math:`\eta`. Epsilon is outside of the
    root. Keras has epsilon 1e-7, added to the root of :math:`v` before its correction ("epsilon
    hat").

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
    r"""Adam with decoupled weight decay.

    .. math:: p \leftarrow p - \eta (\hat m / (\sqrt{\hat v} + \epsilon) + \lambda p)

    with the means of `adam`, learning rate :math:`\eta` and weight decay :math:`\lambda`. Epsilon
    defaults to 1e-8 and differs as for `adam`; weight decay is 1e-4 (0.004 in Keras). As in the
    source, biases and the scales of normalizations decay too; to leave them out, write
    `decayed(adam(learning_rate), weight_decay)`.

    Args:
        learning_rate: a number or a schedule.
        beta1, beta2, epsilon: as for `adam`.
        weight_decay: each update shrinks :math:`p` by this times the learning rate.

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


class AdamaxState(NamedTuple):
    step: jax.Array  # ()
    mean: Tree  # like params
    largest: Tree  # like params: the exponentially weighted infinity norm


@pytree
class adamax(PerLeafOptimizer):
    r"""Adamax, Adam relative to the largest of recent gradients.

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \quad \hat m = m / (1 - \beta_1^t) \\
        u &\leftarrow \max(\beta_2 u, |g| + \epsilon) \\
        p &\leftarrow p - \eta \hat m / u

    at update :math:`t = 1, 2, \ldots` with learning rate :math:`\eta`. Epsilon stands where optax
    and torch have it; Keras adds it to :math:`u` (1e-7), and the source has none.

    Args:
        learning_rate: a number or a schedule.
        beta1: decay rate of the mean, in [0, 1).
        beta2: decay rate of the norm, in [0, 1).
        epsilon: added to the size of the gradient.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.adamax(0.1)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)
        0.9

    Source: Kingma and Ba 2015, Adam, algorithm 2.
    """

    State = AdamaxState
    learning_rate: Number = number_or_schedule(default=1e-3)
    beta1: Number = number(default=0.9, below=1)
    beta2: Number = number(default=0.999, below=1)
    epsilon: Number = 1e-8

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array, u: jax.Array
    ) -> tuple[jax.Array, ...]:
        m = self.beta1 * m + (1 - self.beta1) * g
        u = jnp.maximum(self.beta2 * u, jnp.abs(g) + self.epsilon)
        return p - self.learning_rate * m / (1 - self.beta1**t) / u, m, u


@pytree
class nadam(adam):
    r"""Adam with Nesterov momentum.

    .. math::

        m' &= \beta_1 m / (1 - \beta_1^{t+1}) + (1 - \beta_1) g / (1 - \beta_1^t) \\
        p &\leftarrow p - \eta m' / (\sqrt{\hat v} + \epsilon)

    at update :math:`t = 1, 2, \ldots` with the means of `adam` and learning rate :math:`\eta`. This
    is optax's; Keras and torch let beta1 grow from half its value.

    Args:
        learning_rate: a number or a schedule.
        beta1, beta2, epsilon: as for `adam`.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.nadam(0.1, beta1=0.5)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)  # 1 - 0.1 (0.5 0.5 / 0.75 + 0.5 / 0.5)
        0.8667

    Source: Dozat 2016, Incorporating Nesterov Momentum into Adam, algorithm 2 with constant mu.
    """

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g**2
        ahead = self.beta1 * m / (1 - self.beta1 ** (t + 1))
        m_hat = ahead + (1 - self.beta1) * g / (1 - self.beta1**t)
        v_hat = v / (1 - self.beta2**t)
        return p - self.learning_rate * m_hat / (root(v_hat) + self.epsilon), m, v


class AmsgradState(NamedTuple):
    step: jax.Array  # ()
    mean: Tree  # like params
    mean_square: Tree  # like params
    largest: Tree  # like params: the largest corrected mean square so far


@pytree
class amsgrad(PerLeafOptimizer):
    r"""Adam whose mean square never falls.

    .. math::

        w &\leftarrow \max(w, \hat v) \\
        p &\leftarrow p - \eta \hat m / (\sqrt{w} + \epsilon)

    with the means of `adam` and learning rate :math:`\eta`. As in optax, :math:`w` is the largest
    of the corrected :math:`v`; Keras and torch correct the largest :math:`v`.

    Args:
        learning_rate: a number or a schedule.
        beta1, beta2, epsilon: as for `adam`.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.amsgrad(0.1)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)
        0.9

    Source: Reddi, Kale and Kumar 2018, On the Convergence of Adam and Beyond, algorithm 2.
    """

    State = AmsgradState
    learning_rate: Number = number_or_schedule(default=1e-3)
    beta1: Number = number(default=0.9, below=1)
    beta2: Number = number(default=0.999, below=1)
    epsilon: Number = 1e-8

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array, v: jax.Array, w: jax.Array
    ) -> tuple[jax.Array, ...]:
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g**2
        w = jnp.maximum(w, v / (1 - self.beta2**t))
        m_hat = m / (1 - self.beta1**t)
        return p - self.learning_rate * m_hat / (root(w) + self.epsilon), m, v, w


@pytree
class lamb(adam):
    r"""LAMB, Adam whose steps are as long as the parameters.

    .. math::

        u &= \hat m / (\sqrt{\hat v} + \epsilon) + \lambda p \\
        p &\leftarrow p - \eta u \|p\| / \|u\|

    with the means of `adam`, learning rate :math:`\eta` and weight decay :math:`\lambda`. Where
    :math:`\|p\|` or :math:`\|u\|` is 0 it is :math:`p \leftarrow p - \eta u`. The norms are those
    of one array: with `scan_layers`, that of all its layers together. The defaults are optax's.

    Args:
        learning_rate: a number or a schedule.
        beta1, beta2, epsilon: as for `adam`.
        weight_decay: the share of :math:`p` that enters :math:`u`. To leave biases out, give them
            an optimizer of their own, see `partitioned`.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.lamb(0.1)
        >>> params, grads = jnp.array([3.0, 4.0]), jnp.array([1.0, 1.0])
        >>> optimizer.update(grads, optimizer.init(params), params)[0].round(4)
        Array([2.6464, 3.6464], dtype=float32)

    Source: You et al. 2020, Large Batch Optimization for Deep Learning, algorithm 2.
    """

    epsilon: Number = 1e-6
    weight_decay: Number = 0.0

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g**2
        m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        u = m_hat / (root(v_hat) + self.epsilon) + self.weight_decay * p
        own, its = root(jnp.sum(p**2)), root(jnp.sum(u**2))
        moves = (own > 0) & (its > 0)
        trust = jnp.where(moves, own / jnp.where(moves, its, 1), 1)
        return p - self.learning_rate * trust * u, m, v
