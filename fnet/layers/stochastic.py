"""Dropout and augmentation: layers that are random in training and the identity at inference."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from ..core.dtypes import floating
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import set_count, set_number


@dataclass(frozen=True, repr=False)
class random_shift(Layer):
    """Shift each image by a random offset in training.

    .. math:: y_{i, j} = x_{i + a, j + b}

    or 0 outside of the image. For each image, :math:`a` and :math:`b` are uniform integers from
    -pixels to pixels. Images have shape `(height, width)` or `(height, width, channels)`; shape and
    dtype are preserved. At inference the layer is the identity.

    Args:
        pixels: the largest shift in each direction.

    Raises:
        ValueError: `pixels` is below 1; (from `init`) samples are not images, or not larger than
            `pixels`; (from `forward`) `key` is None.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net, x = fnet.random_shift(1), jnp.ones((1, 3, 3))
        >>> (fnet.apply(net, {}, x) == x).all()
        Array(True, dtype=bool)
        >>> y, _ = fnet.forward(net, {}, {}, x, jax.random.key(0))
        >>> float(y.sum()) in (4, 6, 9)  # shifted along both axes, along one, or not at all
        True

    Source: Simard, Steinkraus and Platt 2003, Best Practices for Convolutional Neural Networks,
    section 2.
    """

    pixels: int

    def __post_init__(self) -> None:
        set_count(self, "pixels", "To leave images in place, omit the layer.")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        if len(in_shape) not in (2, 3):
            raise LayerValueError(
                f"expected images (height, width) or (height, width, channels), got samples of "
                f"shape {in_shape}. Put the layer before any fnet.flatten."
            )
        if self.pixels >= min(in_shape[:2]):
            raise LayerValueError(
                f"expected images of more than `pixels`={self.pixels} each way, got samples of "
                f"shape {in_shape}. Use a smaller shift, which keeps part of every image."
            )
        return {}, {}, in_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        _, _, shape = self.init(jax.random.key(0), x.shape[1:])
        if not training:
            return x, state
        batch, around = x.shape[0], (self.pixels, self.pixels)
        padded = jnp.pad(x, [(0, 0), around, around, *[(0, 0)] * (x.ndim - 3)])
        corners = jax.random.randint(training_key(key), (batch, 2), 0, 2 * self.pixels + 1)

        def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
            return lax.dynamic_slice(image, [*corner, *[0] * (image.ndim - 2)], shape)

        return jax.vmap(cut)(padded, corners), state


@dataclass(frozen=True, repr=False)
class random_noise(Layer):
    r"""Add normal noise in training.

    .. math:: y = x + \sigma n, \quad n \sim N(0, 1)

    with `stddev` :math:`\sigma` and a number :math:`n` for each entry. Any shape is accepted and
    preserved; integers become floats. At inference, nothing is added.

    Args:
        stddev: the standard deviation of the noise, at least 0.

    Raises:
        ValueError: `stddev` is negative; (from `forward`) `key` is None.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.random_noise(0.1)
        >>> fnet.apply(net, {}, jnp.ones((1, 2)))
        Array([[1., 1.]], dtype=float32)
        >>> y, _ = fnet.forward(net, {}, {}, jnp.ones((1, 1000)), jax.random.key(0))
        >>> 0.09 < y.std() < 0.11
        Array(True, dtype=bool)

    Source: Bishop 1995, Training with Noise Is Equivalent to Tikhonov Regularization.
    """

    stddev: float

    def __post_init__(self) -> None:
        set_number(self, "stddev", 0, fix="It is in the units of the input.")

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        x = floating(x)
        if not training:
            return x, state
        return x + self.stddev * jax.random.normal(training_key(key), x.shape, x.dtype), state


def training_key(key: Key) -> jax.Array:
    """Return the key; raise if it is None."""
    if key is None:
        raise LayerValueError(
            "expected a random key in training, got key=None. "
            "Pass one: fnet.forward(net, params, state, x, jax.random.key(0))."
        )
    return key


@dataclass(frozen=True, repr=False)
class dropout(Layer):
    r"""Zero a random fraction of the entries in training.

    .. math:: y = \frac{m x}{1 - r}, \quad P(m = 0) = r, \quad P(m = 1) = 1 - r

    with `rate` :math:`r` and a number :math:`m` for each entry. At inference the layer is the
    identity.

    Args:
        rate: the expected fraction of dropped entries, in [0, 1).

    Raises:
        ValueError: `rate` is outside [0, 1); (from `forward`) `key` is None.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dropout(0.5)
        >>> fnet.apply(net, {}, jnp.ones((1, 4)))
        Array([[1., 1., 1., 1.]], dtype=float32)
        >>> y, _ = fnet.forward(net, {}, {}, jnp.ones((1, 4)), jax.random.key(0))
        >>> sorted(set(y.ravel().tolist()))
        [0.0, 2.0]

    Source: Srivastava et al. 2014, Dropout, section 10 (the scaling in training).
    """

    rate: float

    def __post_init__(self) -> None:
        set_number(self, "rate", 0, 1, "It is the fraction dropped: dropout(0.2) keeps 80 %.")

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        if not training or self.rate == 0:
            return x, state
        keep = 1 - self.rate
        kept = jax.random.bernoulli(training_key(key), keep, x.shape)
        return jnp.where(kept, x / keep, 0), state
