"""Schedules that rise and fall, see `decays`."""

import jax
import jax.numpy as jnp
import numpy as np

from .decays import cosine
from .hyperparameters import Hyperparameters, Number, known, number, pytree


@pytree
class warmup_cosine(Hyperparameters):
    r"""Rises linearly from 0 over `warmup_steps`, then decays as `cosine` over the remaining steps.

    .. math:: \eta(t) = \eta_0 t / w \; (t < w), \quad \mathrm{cosine}(t - w) \; (t \ge w)

    with `learning_rate` :math:`\eta_0` and `warmup_steps` :math:`w`. As in optax, `decay_steps`
    includes the warmup; in Keras it starts after the warmup.

    Args:
        learning_rate: the peak rate.
        warmup_steps: number of steps to rise over.
        decay_steps: total number of steps, warmup included.
        alpha: the final rate as a fraction of the peak.

    Raises:
        ValueError: a number is negative or not finite, `warmup_steps` is below 1, or
            `decay_steps` is not above `warmup_steps`.

    Example:
        >>> import fnet
        >>> schedule = fnet.warmup_cosine(0.1, warmup_steps=10, decay_steps=110)
        >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 60, 110)]
        [0.0, 0.05, 0.1, 0.05, 0.0]

    Source: Goyal et al. 2017, section 2.2 (the rise); Loshchilov and Hutter 2017 (the fall).
    """

    learning_rate: Number
    warmup_steps: Number = number(at_least=1)
    decay_steps: Number = number(at_least=1)
    alpha: Number = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if known(self.decay_steps, self.warmup_steps) and not np.all(
            np.asarray(self.decay_steps) > np.asarray(self.warmup_steps)
        ):
            raise ValueError(
                f"`decay_steps` of warmup_cosine must be above `warmup_steps`, "
                f"{self.warmup_steps}, got {self.decay_steps}. It includes the warmup."
            )

    def __call__(self, step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, float)
        rise = self.learning_rate * step / self.warmup_steps
        length = self.decay_steps - self.warmup_steps
        fall = cosine(self.learning_rate, length, self.alpha)(step - self.warmup_steps)
        return jnp.where(step < self.warmup_steps, rise, fall)


@pytree
class cosine_restarts(Hyperparameters):
    r"""Half a cosine again and again, each longer and lower than the one before.

    .. math:: \eta(t) = \eta_0 (\alpha + (1 - \alpha) b^i (1 + \cos(\pi s)) / 2)

    in period :math:`i = 0, 1, \ldots`, which takes :math:`n a^i` steps and of which the share
    :math:`s` has passed; with `learning_rate` :math:`\eta_0`, `first_decay_steps` :math:`n`,
    `t_mul` :math:`a` and `m_mul` :math:`b`.

    Args:
        learning_rate: the rate at step 0.
        first_decay_steps: number of steps of the first period.
        t_mul: how many times longer each next period is, at least 1.
        m_mul: how many times higher the cosine of each next period is.
        alpha: the lowest rate as a fraction of the first.

    Raises:
        ValueError: a number is negative or not finite, or `first_decay_steps` or `t_mul` is below
            1.

    Example:
        >>> import fnet
        >>> schedule = fnet.cosine_restarts(0.1, 10, m_mul=0.5)
        >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 20, 30)]
        [0.1, 0.05, 0.05, 0.025, 0.025]

    Source: Loshchilov and Hutter 2017, SGDR, section 3; the formula is that of Keras.
    """

    learning_rate: Number
    first_decay_steps: Number = number(at_least=1)
    t_mul: Number = number(default=2.0, at_least=1)
    m_mul: Number = 1.0
    alpha: Number = 0.0

    def __call__(self, step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, float)
        time = step / self.first_decay_steps  # in first periods
        grows = jnp.asarray(self.t_mul > 1)
        factor = jnp.where(grows, self.t_mul, 2)

        def start(period: jax.Array) -> jax.Array:
            return jnp.where(grows, (factor**period - 1) / (factor - 1), period)

        by_log = jnp.floor(jnp.log1p(time * (factor - 1)) / jnp.log(factor))
        period = jnp.where(grows, by_log, jnp.floor(time))
        # The logarithm of a boundary may round either way.
        period = jnp.where(time >= start(period + 1), period + 1, period)
        period = jnp.where(time < start(period), period - 1, period)
        length = self.first_decay_steps * jnp.where(grows, factor**period, 1)
        share = (step - self.first_decay_steps * start(period)) / length
        height = (1 - self.alpha) * self.m_mul**period
        return self.learning_rate * (self.alpha + height * half_cosine(share))


@pytree
class one_cycle(Hyperparameters):
    r"""One cycle: half a cosine up to the learning rate, and one down to nearly nothing.

    .. math::

        \eta(t) &= c(\eta_0 / d, \eta_0, t / w) \quad (t < w) \\
        \eta(t) &= c(\eta_0, \eta_0 / (d f), (t - w) / (T - w)) \quad (w \le t \le T) \\
        c(a, b, s) &= a + (b - a) (1 - \cos(\pi s)) / 2

    then constant; with `learning_rate` :math:`\eta_0`, `div_factor` :math:`d`, `final_div_factor`
    :math:`f`, `total_steps` :math:`T` and `pct_start` :math:`w / T`.

    Args:
        learning_rate: the peak rate.
        total_steps: number of steps of the cycle.
        pct_start: the share of them that rises, in [0, 1).
        div_factor: how many times below the peak it starts, at least 1.
        final_div_factor: how many times below its start it ends, at least 1.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> import fnet
        >>> schedule = fnet.one_cycle(0.1, total_steps=100)
        >>> [round(float(schedule(step)), 4) for step in (0, 15, 30, 65, 100)]
        [0.004, 0.052, 0.1, 0.05, 0.0]

    Source: Smith and Topin 2019, Super-Convergence, section 4; formula and defaults are those of
    `cosine_onecycle_schedule` of optax, which rounds :math:`w` down.
    """

    learning_rate: Number
    total_steps: Number = number(at_least=1)
    pct_start: Number = number(default=0.3, below=1)
    div_factor: Number = number(default=25.0, at_least=1)
    final_div_factor: Number = number(default=1e4, at_least=1)

    def __call__(self, step: jax.Array) -> jax.Array:
        step = jnp.asarray(step, float)
        top = self.pct_start * self.total_steps
        first = self.learning_rate / self.div_factor
        rise = self.learning_rate + (first - self.learning_rate) * half_cosine(
            step / jnp.where(jnp.asarray(top > 0), top, 1)
        )
        last = first / self.final_div_factor
        fall = last + (self.learning_rate - last) * half_cosine(
            (step - top) / (self.total_steps - top)
        )
        return jnp.where(step < top, rise, fall)


def half_cosine(share: jax.Array) -> jax.Array:
    """From 1 to 0 as the share goes from 0 to 1."""
    return (1 + jnp.cos(jnp.pi * jnp.clip(share, 0, 1))) / 2
