"""Initializers of kernels and biases: `initializer(key, shape) -> array`.

Most wrap `jax.nn.initializers` with the default arguments. They are module-level functions, so a
layer that holds one hashes, compares and pickles by value. `fan_in` and `fan_out` are the lengths
of the last two axes, times the product of any axes before them, as in convolution kernels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import initializers

Shape = tuple[int, ...]
Initializer = Callable[[jax.Array, Shape], jax.Array]


def zeros(key: jax.Array, shape: Shape) -> jax.Array:
    """Zeros."""
    return jnp.zeros(shape)


def ones(key: jax.Array, shape: Shape) -> jax.Array:
    """Ones."""
    return jnp.ones(shape)


def constant(key: jax.Array, shape: Shape, value: float = 0.0) -> jax.Array:
    """The same number everywhere."""
    return jnp.full(shape, value, float)


def identity(key: jax.Array, shape: Shape, gain: float = 1.0) -> jax.Array:
    """`gain` on the diagonal of a matrix, and 0 elsewhere.

    Source: Le, Jaitly and Hinton 2015, A Simple Way to Initialize Recurrent Networks of Rectified
    Linear Units, section 2.
    """
    if len(shape) != 2:
        raise ValueError(
            f"`shape` of identity must be that of a matrix, got {shape}. Use it for kernels of "
            f"fnet.dense, or pass an initializer of your own."
        )
    return gain * jnp.eye(*shape)


def variance_scaling(
    key: jax.Array,
    shape: Shape,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "truncated_normal",
) -> jax.Array:
    """Random numbers of variance :math:`c / n`; `he_normal` and its like are special cases.

    `scale` is :math:`c`, and `mode` says what :math:`n` is: 'fan_in', 'fan_out', or 'fan_avg',
    their mean. `distribution` is 'truncated_normal', 'normal' or 'uniform'. Bind them with
    `functools.partial`: `partial(variance_scaling, scale=2.0, mode="fan_out")`.

    Source: He et al. 2015, Delving Deep into Rectifiers, equations 10 and 14.
    """
    for name, value, known in (
        ("mode", mode, ("fan_in", "fan_out", "fan_avg")),
        ("distribution", distribution, ("truncated_normal", "normal", "uniform")),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` of variance_scaling must be one of {known}, got {value!r}. "
                f"Check the spelling."
            )
    return initializers.variance_scaling(scale, mode, distribution)(key, shape)  # type: ignore[arg-type]


def glorot_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on :math:`[-a, a]`, where :math:`a^2 = 6 / (n_i + n_o)`.

    :math:`n_i` is `fan_in` and :math:`n_o` is `fan_out`.

    Source: Glorot and Bengio 2010, Understanding the Difficulty of Training Deep Networks,
    equation 16.
    """
    return initializers.glorot_uniform()(key, shape)


def glorot_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal with variance :math:`2 / (n_i + n_o)`.

    :math:`n_i` is `fan_in` and :math:`n_o` is `fan_out`.

    Source: Glorot and Bengio 2010, Understanding the Difficulty of Training Deep Networks,
    equation 12.
    """
    return initializers.glorot_normal()(key, shape)


def he_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on :math:`[-a, a]`, where :math:`a^2 = 6 / n` with `fan_in` :math:`n`.

    Source: He et al. 2015, Delving Deep into Rectifiers, equation 10.
    """
    return initializers.he_uniform()(key, shape)


def he_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal with variance :math:`2 / n`, with `fan_in` :math:`n`.

    Source: He et al. 2015, Delving Deep into Rectifiers, equation 10.
    """
    return initializers.he_normal()(key, shape)


def lecun_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on :math:`[-a, a]`, where :math:`a^2 = 3 / n` with `fan_in` :math:`n`.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.6.
    """
    return initializers.lecun_uniform()(key, shape)


def lecun_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal with variance :math:`1 / n`, with `fan_in` :math:`n`.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.6.
    """
    return initializers.lecun_normal()(key, shape)


def orthogonal(key: jax.Array, shape: Shape, gain: float = 1.0) -> jax.Array:
    """Orthonormal rows or columns, times `gain`.

    Source: Saxe, McClelland and Ganguli 2014, Exact Solutions to the Nonlinear Dynamics of Learning
    in Deep Linear Neural Networks, section 3.
    """
    return initializers.orthogonal(gain)(key, shape)


def normal(key: jax.Array, shape: Shape, stddev: float = 0.01) -> jax.Array:
    """Normal with mean 0 and standard deviation `stddev`."""
    return initializers.normal(stddev)(key, shape)


def uniform(key: jax.Array, shape: Shape, scale: float = 0.01) -> jax.Array:
    """Uniform on [0, scale)."""
    return initializers.uniform(scale)(key, shape)


def symmetric_uniform(key: jax.Array, shape: Shape, scale: float = 0.05) -> jax.Array:
    """Uniform on [-scale, scale), the uniform initializer of Keras."""
    return jax.random.uniform(key, shape, minval=-scale, maxval=scale)


def truncated_normal(key: jax.Array, shape: Shape, stddev: float = 0.01) -> jax.Array:
    """Normal with mean 0 and standard deviation `stddev`, truncated at two standard deviations."""
    return initializers.truncated_normal(stddev)(key, shape)
