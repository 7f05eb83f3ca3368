"""Initialisers of kernels and biases: `initializer(key, shape) -> array`.

Those of `jax.nn.initializers` with their defaults, as module-level functions, so that a layer that
holds one hashes, compares and pickles by value. `fan_in` and `fan_out` are the last two axes, times
the size of those before them, which a convolution has.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import initializers

Shape = tuple[int, ...]
Initializer = Callable[[jax.Array, Shape], jax.Array]


def zeros(key: jax.Array, shape: Shape) -> jax.Array:
    """All zeros."""
    return jnp.zeros(shape)


def ones(key: jax.Array, shape: Shape) -> jax.Array:
    """All ones."""
    return jnp.ones(shape)


def glorot_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on [-a, a] with a = sqrt(6 / (fan_in + fan_out)). Glorot and Bengio 2010, eq. 16."""
    return initializers.glorot_uniform()(key, shape)


def glorot_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal of variance 2 / (fan_in + fan_out). Glorot and Bengio 2010, eq. 12."""
    return initializers.glorot_normal()(key, shape)


def he_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on [-a, a] with a = sqrt(6 / fan_in). He et al. 2015, eq. 10."""
    return initializers.he_uniform()(key, shape)


def he_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal of variance 2 / fan_in. He et al. 2015, eq. 10."""
    return initializers.he_normal()(key, shape)


def lecun_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform on [-a, a] with a = sqrt(3 / fan_in). LeCun et al. 1998, Efficient BackProp."""
    return initializers.lecun_uniform()(key, shape)


def lecun_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Truncated normal of variance 1 / fan_in. LeCun et al. 1998, Efficient BackProp."""
    return initializers.lecun_normal()(key, shape)


def orthogonal(key: jax.Array, shape: Shape) -> jax.Array:
    """Orthonormal rows or columns. Saxe, McClelland and Ganguli 2014, section 3."""
    return initializers.orthogonal()(key, shape)


def normal(key: jax.Array, shape: Shape, stddev: float = 0.01) -> jax.Array:
    """Normal of mean 0 and the given standard deviation."""
    return initializers.normal(stddev)(key, shape)


def uniform(key: jax.Array, shape: Shape, scale: float = 0.01) -> jax.Array:
    """Uniform on [0, scale)."""
    return initializers.uniform(scale)(key, shape)


def symmetric_uniform(key: jax.Array, shape: Shape, scale: float = 0.05) -> jax.Array:
    """Uniform on [-scale, scale), which is what Keras calls uniform."""
    return jax.random.uniform(key, shape, minval=-scale, maxval=scale)


def truncated_normal(key: jax.Array, shape: Shape, stddev: float = 0.01) -> jax.Array:
    """Normal of mean 0 and the given standard deviation, redrawn beyond two of them."""
    return initializers.truncated_normal(stddev)(key, shape)
