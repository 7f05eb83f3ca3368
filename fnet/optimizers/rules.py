"""The optimizers, each written as the update of one array in the notation of its source.

In the formulas g is the gradient, p the parameter and eta the learning rate of the current update.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ..core.trees import Tree
from .base import PerLeafOptimizer
from .hyperparameters import Number, number, number_or_schedule, pytree, static


class SGDState(NamedTuple):
    step: jax.Array  # ()


@pytree
class sgd(PerLeafOptimizer):
    r"""Stochastic gradient descent.

    .. math:: p \leftarrow p - \eta g

    with gradient :math:`g`, parameter :math:`p` and learning rate :math:`\eta`.

    Args:
        learning_rate: a number or a schedule.

    Raises:
        ValueError: `learning_rate` is negative, NaN or infinite.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.sgd(0.1)
        >>> params = {"w": jnp.array([1.0])}
        >>> optimizer.update({"w": jnp.array([2.0])}, optimizer.init(params), params)[0]
        {'w': Array([0.8], dtype=float32)}

    Source: Robbins and Monro 1951, A Stochastic Approximation Method, equation 6.
    """

    State = SGDState
    learning_rate: Number = number_or_schedule(default=0.01)

    def update_leaf(self, t: jax.Array, g: jax.Array, p: jax.Array) -> tuple[jax.Array, ...]:
        return (p - self.learning_rate * g,)


class MomentumState(NamedTuple):
    step: jax.Array  # ()
    velocity: Tree  # like params


@pytree
class momentum(PerLeafOptimizer):
    r"""Gradient descent with momentum, a decaying sum of gradients.

    .. math::

        v &\leftarrow \beta v + g \\
        p &\leftarrow p - \eta v

    with learning rate :math:`\eta`; with Nesterov momentum,
    :math:`p \leftarrow p - \eta (g + \beta v)`. Keras multiplies the gradient by the rate before it
    enters the velocity, so a schedule acts differently there.

    Args:
        learning_rate: a number or a schedule.
        beta: decay rate of the velocity :math:`v`, in [0, 1).
        nesterov: whether to use Nesterov momentum.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.momentum(0.1, beta=0.5)
        >>> params, grads = jnp.array([1.0]), jnp.array([2.0])
        >>> params, opt_state = optimizer.update(grads, optimizer.init(params), params)
        >>> optimizer.update(grads, opt_state, params)[0]
        Array([0.5], dtype=float32)

    Source: Polyak 1964; Sutskever et al. 2013, On the Importance of Initialization and Momentum,
    equations 1 to 4, with the learning rate kept out of the velocity.
    """

    State = MomentumState
    learning_rate: Number = number_or_schedule(default=0.01)
    beta: Number = number(default=0.9, below=1)
    nesterov: bool = static(default=False)

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        v = self.beta * v + g
        return p - self.learning_rate * (g + self.beta * v if self.nesterov else v), v


class MeanSquareState(NamedTuple):
    step: jax.Array  # ()
    mean_square: Tree  # like params


@pytree
class rmsprop(PerLeafOptimizer):
    r"""RMSProp as in Keras, whose steps are relative to the size of recent gradients.

    .. math::

        v &\leftarrow \rho v + (1 - \rho) g^2 \\
        p &\leftarrow p - \eta g / \sqrt{v + \epsilon}

    with learning rate :math:`\eta`. Epsilon is inside the root; torch adds it outside.

    Args:
        learning_rate: a number or a schedule.
        rho: decay rate of the mean square, in [0, 1).
        epsilon: added to the mean square, inside the root.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.rmsprop(0.1, rho=0.75, epsilon=0.0)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)
        0.8

    Source: Tieleman and Hinton 2012, lecture 6.5 of Neural Networks for Machine Learning.
    """

    State = MeanSquareState
    learning_rate: Number = number_or_schedule(default=1e-3)
    rho: Number = number(default=0.9, below=1)
    epsilon: Number = 1e-7

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, v: jax.Array
    ) -> tuple[jax.Array, ...]:
        v = self.rho * v + (1 - self.rho) * g**2
        return p - self.learning_rate * g * lax.rsqrt(v + self.epsilon), v


class AdagradState(NamedTuple):
    step: jax.Array  # ()
    sum_of_squares: Tree  # like params


@pytree
class adagrad(PerLeafOptimizer):
    r"""Adagrad as in Keras, whose steps are relative to the size of all gradients so far.

    .. math::

        a &\leftarrow a + g^2 \\
        p &\leftarrow p - \eta g / \sqrt{a + \epsilon}

    with learning rate :math:`\eta`.

    Args:
        learning_rate: a number or a schedule.
        initial_accumulator_value: initial value of :math:`a`.
        epsilon: added to the accumulator, inside the root.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.adagrad(0.1, initial_accumulator_value=0.0, epsilon=0.0)
        >>> params, grads = jnp.array(1.0), jnp.array(3.0)
        >>> params, _ = optimizer.update(grads, optimizer.init(params), params)
        >>> round(params.item(), 4)
        0.9

    Source: Duchi, Hazan and Singer 2011, Adaptive Subgradient Methods, section 1.1.
    """

    State = AdagradState
    learning_rate: Number = number_or_schedule(default=1e-3)
    initial_accumulator_value: Number = 0.1
    epsilon: Number = 1e-7

    def init(self, params: Tree) -> AdagradState:
        step, zeros = super().init(params)
        start = self.initial_accumulator_value
        return AdagradState(step, jax.tree.map(lambda a: jnp.full_like(a, start), zeros))

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, a: jax.Array
    ) -> tuple[jax.Array, ...]:
        a = a + g**2
        return p - self.learning_rate * g * lax.rsqrt(a + self.epsilon), a


class MeanState(NamedTuple):
    step: jax.Array  # ()
    mean: Tree  # like params


@pytree
class lion(PerLeafOptimizer):
    r"""Lion, which moves every parameter by the same distance.

    .. math::

        c &= \beta_1 m + (1 - \beta_1) g \\
        m &\leftarrow \beta_2 m + (1 - \beta_2) g \\
        p &\leftarrow p - \eta (\mathrm{sign}(c) + \lambda p)

    with learning rate :math:`\eta` and weight decay :math:`\lambda`. Every parameter moves by the
    learning rate, so use a rate 3 to 10 times smaller than for Adam. The default is 1e-4 (1e-3 in
    Keras).

    Args:
        learning_rate: a number or a schedule.
        beta1: weight of the mean in the update direction :math:`c`, in [0, 1).
        beta2: decay rate of the mean, in [0, 1).
        weight_decay: each update shrinks :math:`p` by this times the learning rate.

    Raises:
        ValueError: a hyperparameter is out of range.
        TypeError: (from `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.lion(0.25)
        >>> params, grads = jnp.array([1.0, 1.0]), jnp.array([3.0, -0.01])
        >>> optimizer.update(grads, optimizer.init(params), params)[0]
        Array([0.75, 1.25], dtype=float32)

    Source: Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, algorithm 2.
    """

    State = MeanState
    learning_rate: Number = number_or_schedule(default=1e-4)
    beta1: Number = number(default=0.9, below=1)
    beta2: Number = number(default=0.99, below=1)
    weight_decay: Number = 0.0

    def update_leaf(
        self, t: jax.Array, g: jax.Array, p: jax.Array, m: jax.Array
    ) -> tuple[jax.Array, ...]:
        c = self.beta1 * m + (1 - self.beta1) * g
        m = self.beta2 * m + (1 - self.beta2) * g
        return p - self.learning_rate * (jnp.sign(c) + self.weight_decay * p), m
