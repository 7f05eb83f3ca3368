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


def glorot_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on [-a, a] with a = sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010, eq. 16."""
    return initializers.glorot_uniform()(key, shape)


def glorot_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal with variance 2 / (fan_in + fan_out). Glorot and Bengio 2010, eq. 12."""
    return initializers.glorot_normal()(key, shape)


def he_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on [-a, a] with a = sqrt(6 / fan_in). He et al. 2015, eq. 10."""
    return initializers.he_uniform()(key, shape)


def he_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal with variance 2 / fan_in. He et al. 2015, eq. 10."""
    return initializers.he_normal()(key, shape)


def lecun_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on [-a, a] with a = sqrt(3 / fan_in). LeCun et al. 1998, Efficient BackProp."""
    return initializers.lecun_uniform()(key, shape)


def lecun_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal with variance 1 / fan_in. LeCun et al. 1998, Efficient BackProp."""
    return initializers.lecun_normal()(key, shape)


def orthogonal(key: jax.Array, shape: Shape) -> jax.Array:
    """Orthonormal rows or columns. Saxe, McClelland and Ganguli 2014, section 3."""
    return initializers.orthogonal()(key, shape)


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
