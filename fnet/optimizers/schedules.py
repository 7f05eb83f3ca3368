"""Learning-rate schedules, functions `schedule(step) -> learning rate`.

A schedule is a pytree whose leaves are its numbers, so changing a number does not recompile.
Steps count updates from 0. Pass a schedule as the `learning_rate` of any optimizer.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from .hyperparameters import Hyperparameters, Number, checked, known, number, pytree, static


@pytree
class cosine(Hyperparameters):
    """Decays along half a cosine from the learning rate to `alpha` times it, then stays constant.

    rate(t) = learning_rate (alpha + (1 - alpha) (1 + cos(pi min(t / decay_steps, 1))) / 2)

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
    """Exponential decay, rate(t) = learning_rate decay_rate^(t / decay_steps).

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
class piecewise(Hyperparameters):
    """Piecewise constant, rate(t) = values[i] from step boundaries[i - 1] on.

    Keras changes the rate one step later, after the boundary.

    Args:
        boundaries: n steps in increasing order.
        values: n + 1 learning rates.

    Raises:
        ValueError: `values` is not one longer than `boundaries`, `boundaries` do not increase, or a
            number is negative or not finite.

    Example:
        >>> import fnet
        >>> schedule = fnet.piecewise((100, 200), (0.1, 0.01, 0.001))
        >>> [round(float(schedule(step)), 4) for step in (0, 99, 100, 200)]
        [0.1, 0.1, 0.01, 0.001]

    Source: He et al. 2016, Deep Residual Learning, section 3.4.
    """

    boundaries: tuple[Number, ...]
    values: tuple[Number, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"`values` of piecewise must be one longer than `boundaries`, got "
                f"{len(self.values)} values and {len(self.boundaries)} boundaries. "
                f"Add the rate after the last boundary."
            )
        for name in ("boundaries", "values"):
            numbers = enumerate(getattr(self, name))
            floats = tuple(checked(f"`{name}[{i}]` of piecewise", number) for i, number in numbers)
            object.__setattr__(self, name, floats)
        for earlier, later in pairwise(self.boundaries):
            if known(earlier, later) and not earlier < later:
                raise ValueError(
                    f"`boundaries` of piecewise must increase, got {self.boundaries}. Sort them."
                )

    def __call__(self, step: jax.Array) -> jax.Array:
        step, rate = jnp.asarray(step, float), jnp.asarray(self.values[0], float)
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = jnp.where(step >= boundary, value, rate)
        return rate


@pytree
class warmup_cosine(Hyperparameters):
    """Rises linearly from 0 over `warmup_steps`, then decays as `cosine` over the remaining steps.

    As in optax, `decay_steps` includes the warmup; in Keras it starts after the warmup.

    rate(t) = learning_rate t / warmup_steps, then cosine(t - warmup_steps)

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
