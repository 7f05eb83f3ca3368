"""Schedules that fall: functions `schedule(step) -> learning rate`.

A schedule is a pytree whose leaves are its numbers, so changing a number does not recompile.
Steps count updates from 0. Pass a schedule as the `learning_rate` of any optimizer.
"""

import jax
import jax.numpy as jnp

from .hyperparameters import Hyperparameters, Number, number, pytree, static


@pytree
class cosine(Hyperparameters):
    r"""Decays along half a cosine from the learning rate to `alpha` times it, then stays constant.

    .. math:: \eta(t) = \eta_0 (\alpha + (1 - \alpha) (1 + \cos(\pi \min(t / n, 1))) / 2)

    with `learning_rate` :math:`\eta_0` and `decay_steps` :math:`n`.

    Args:
        learning_rate: the rate at step 0.
        decay_steps: number of steps to decay over.
        alpha: the final rate as a fraction of the first.

    Raises:
        ValueError: a number is negative or not finite, or `decay_steps` is below 1.

    Example:
        >>> import fnet
        >>> schedule = fnet.cosine(0.1, decay_steps=100)
        >>> [round(float(schedule(step)), 3) for step in (0, 50, 100, 200)]
        [0.1, 0.05, 0.0, 0.0]

    Source: Loshchilov and Hutter 2017, SGDR, equation 5.
    """

    learning_rate: Number
    decay_steps: Number = number(at_least=1)
    alpha: Number = 0.0

    def __call__(self, step: jax.Array) -> jax.Array:
        progress = jnp.minimum(jnp.asarray(step, float) / self.decay_steps, 1)
        return self.learning_rate * (
            self.alpha + (1 - self.alpha) * (1 + jnp.cos(jnp.pi * progress)) / 2
        )


@pytree
class exponential(Hyperparameters):
    r"""Decays exponentially.

    .. math:: \eta(t) = \eta_0 r^{t / n}

    with `learning_rate` :math:`\eta_0`, `decay_rate` :math:`r` and `decay_steps` :math:`n`.

    Args:
        learning_rate: the rate at step 0.
        decay_steps: number of steps per factor of `decay_rate`.
        decay_rate: the factor.
        staircase: whether to round the exponent down, so that the rate falls in steps.

    Raises:
        ValueError: a number is negative or not finite, or `decay_steps` is below 1.

    Example:
        >>> import fnet
        >>> schedule = fnet.exponential(0.1, decay_steps=10, decay_rate=0.5)
        >>> [round(float(schedule(step)), 4) for step in (0, 10, 20)]
        [0.1, 0.05, 0.025]

    Source: Robbins and Monro 1951 for decaying rates; the formula is that of Keras.
    """

    learning_rate: Number
    decay_steps: Number = number(at_least=1)
    decay_rate: Number
    staircase: bool = static(default=False)

    def __call__(self, step: jax.Array) -> jax.Array:
        exponent = jnp.asarray(step, float) / self.decay_steps
        return self.learning_rate * self.decay_rate ** (
            jnp.floor(exponent) if self.staircase else exponent
        )


@pytree
class inverse_time(Hyperparameters):
    r"""Decays by the inverse of time.

    .. math:: \eta(t) = \frac{\eta_0}{1 + r t / n}

    with `learning_rate` :math:`\eta_0`, `decay_rate` :math:`r` and `decay_steps` :math:`n`.

    Args:
        learning_rate: the rate at step 0.
        decay_steps: number of steps that count as one unit of time.
        decay_rate: how fast it falls.
        staircase: whether to round :math:`t / n` down, so that the rate falls in steps.

    Raises:
        ValueError: a number is negative or not finite, or `decay_steps` is below 1.

    Example:
        >>> import fnet
        >>> schedule = fnet.inverse_time(0.1, decay_steps=10, decay_rate=1.0)
        >>> [round(float(schedule(step)), 4) for step in (0, 10, 30)]
        [0.1, 0.05, 0.025]

    Source: Robbins and Monro 1951, A Stochastic Approximation Method, section 2; the formula is
    that of Keras.
    """

    learning_rate: Number
    decay_steps: Number = number(at_least=1)
    decay_rate: Number
    staircase: bool = static(default=False)

    def __call__(self, step: jax.Array) -> jax.Array:
        time = jnp.asarray(step, float) / self.decay_steps
        return self.learning_rate / (
            1 + self.decay_rate * (jnp.floor(time) if self.staircase else time)
        )


@pytree
class polynomial(Hyperparameters):
    r"""Goes from one rate to another along a polynomial, then stays constant.

    .. math:: \eta(t) = \eta_1 + (\eta_0 - \eta_1) (1 - \min(t / n, 1))^k

    with `learning_rate` :math:`\eta_0`, `end_learning_rate` :math:`\eta_1`, `decay_steps` :math:`n`
    and `power` :math:`k`. With power 1 it is a line, which may rise: `polynomial(0.0, 100, 0.1)` is
    a linear warmup.

    Args:
        learning_rate: the rate at step 0.
        decay_steps: number of steps to reach the end.
        end_learning_rate: the final rate.
        power: the power.

    Raises:
        ValueError: a number is negative or not finite, or `decay_steps` is below 1.

    Example:
        >>> import fnet
        >>> schedule = fnet.polynomial(0.1, decay_steps=10, end_learning_rate=0.0, power=2.0)
        >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 20)]
        [0.1, 0.025, 0.0, 0.0]

    Source: Liu, Rabinovich and Berg 2015, ParseNet, section 4; the formula is that of Keras.
    """

    learning_rate: Number
    decay_steps: Number = number(at_least=1)
    end_learning_rate: Number = 1e-4
    power: Number = 1.0

    def __call__(self, step: jax.Array) -> jax.Array:
        left = 1 - jnp.minimum(jnp.asarray(step, float) / self.decay_steps, 1)
        runs = left > 0  # the slope of a root at 0 is infinite
        share = jnp.where(runs, jnp.where(runs, left, 1) ** self.power, 0)
        return self.end_learning_rate + (self.learning_rate - self.end_learning_rate) * share
