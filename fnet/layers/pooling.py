"""Maximum and average pooling over the windows of sequences, images and volumes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..core.dtypes import at_least_float32
from ..core.errors import LayerValueError
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .windows import Size, Window, check_padding, set_size, set_steps, slide


@dataclass(frozen=True, repr=False)
class Pooling(Layer):
    """Base class of pooling layers; `strides` default to the window's size."""

    pool_size: Shape
    strides: Size | None = None
    padding: str = "valid"

    def __post_init__(self) -> None:
        set_size(self, "pool_size")
        if self.strides is not None:
            set_steps(self, "pool_size", "strides")
        check_padding(self, self.padding)

    def window(self, in_shape: Shape) -> Window:
        strides = self.pool_size if self.strides is None else self.strides
        return slide(in_shape, self.pool_size, strides, self.padding, name="pool_size")

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        return {}, {}, (*self.window(in_shape).out_shape, in_shape[-1])


class max_pool(Pooling):
    r"""Maximum of each window.

    .. math:: y_{i, c} = \max_k x_{s i + k, c}

    with `strides` :math:`s`. Samples are sequences `(length, channels)`, images
    `(height, width, channels)` or volumes `(depth, height, width, channels)`. Pooling shortens the
    spatial axes and preserves the channels and the dtype.

    Args:
        pool_size: the size of the window, a tuple with one integer per spatial axis: `(2,)` for
            sequences, `(2, 2)` for images.
        strides: the step between windows, one integer for all spatial axes or one per axis;
            `pool_size` by default.
        padding: 'valid' uses only windows inside the input; 'same' also uses windows that
            extend beyond it and ignores what lies outside.

    Raises:
        ValueError: `pool_size` is no tuple of integers of at least 1, or `padding` is unknown;
            (from `init`) samples have the wrong rank, or the window is larger than the input with
            padding='valid'.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        >>> fnet.apply(fnet.max_pool((2, 2)), {}, x).reshape(2, 2)
        Array([[ 5.,  7.],
               [13., 15.]], dtype=float32)

    Source: Weng, Ahuja and Huang 1992, Cresceptron, section 4.
    """

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        lowest = -np.inf if jnp.issubdtype(x.dtype, jnp.inexact) else np.iinfo(x.dtype).min
        start = np.asarray(lowest, x.dtype)
        return reduced(x, start, lax.max, self.window(x.shape[1:])), state


class avg_pool(Pooling):
    r"""Mean of each window.

    .. math:: y_{i, c} = \frac{1}{n} \sum_k x_{s i + k, c}

    with `strides` :math:`s` and :math:`n` entries in the window. Shapes are as in `max_pool`.
    Integer inputs give floats; the mean is computed in float32 or wider.

    Args:
        pool_size: the size of the window, a tuple with one integer per spatial axis: `(2,)` for
            sequences, `(2, 2)` for images.
        strides: the step between windows, one integer for all spatial axes or one per axis;
            `pool_size` by default.
        padding: 'valid' uses only windows inside the input; 'same' also uses windows that
            extend beyond it and averages only the entries inside.

    Raises:
        ValueError: as for `max_pool`.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> x = jnp.array([[[1.0], [3.0], [5.0]]])
        >>> fnet.apply(fnet.avg_pool((2,), padding="same"), {}, x).ravel()
        Array([2., 5.], dtype=float32)

    Source: LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition, section
    II.A (there with a trained scale and bias).
    """

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        dtype, x, window = x.dtype, at_least_float32(x), self.window(x.shape[1:])
        total = reduced(x, np.zeros((), x.dtype), lax.add, window)
        mean = total / entries(window, x.shape[1:-1]).astype(x.dtype)
        return (mean.astype(dtype) if jnp.issubdtype(dtype, jnp.inexact) else mean), state


def reduced(
    x: jax.Array, start: np.ndarray, function: Callable[..., jax.Array], window: Window
) -> jax.Array:
    """Reduce each window of `x` with `function`; `start` pads the edges."""
    sizes, strides = (1, *window.size, 1), (1, *window.strides, 1)
    pads = ((0, 0), *window.pads, (0, 0))
    return lax.reduce_window(x, start, function, sizes, strides, pads)


def entries(window: Window, spatial: Shape) -> np.ndarray:
    """Count the entries of the input in each window, with shape `(1, *out_shape, 1)`."""
    counts = []
    for n, size, stride, pad, out in zip(
        spatial, window.size, window.strides, window.pads, window.out_shape, strict=True
    ):
        first = np.arange(out) * stride - pad[0]
        counts.append(np.minimum(first + size, n) - np.maximum(first, 0))
    return functools.reduce(np.multiply.outer, counts)[None, ..., None]


def global_avg_pool(x: jax.Array) -> jax.Array:
    """Mean over all spatial axes, from `(batch, ..., channels)` to `(batch, channels)`.

    Raises:
        ValueError: samples have no spatial axis.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.global_avg_pool(jnp.ones((5, 7, 7, 64))).shape
        (5, 64)

    Source: Lin, Chen and Yan 2014, Network In Network, section 3.2.
    """
    return x.mean(spatial_axes(x))


def global_max_pool(x: jax.Array) -> jax.Array:
    """Maximum over all spatial axes, from `(batch, ..., channels)` to `(batch, channels)`.

    Raises:
        ValueError: samples have no spatial axis.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> fnet.global_max_pool(jnp.array([[[1, 5], [3, 4]]]))
        Array([[3, 5]], dtype=int32)

    Source: Oquab et al. 2015, Is Object Localization for Free?, section 3.
    """
    return x.max(spatial_axes(x))


def spatial_axes(x: jax.Array) -> tuple[int, ...]:
    if x.ndim < 3:
        raise LayerValueError(
            f"expected samples with spatial axes before the channels, got samples of shape "
            f"{x.shape[1:]}. Pool before you flatten."
        )
    return tuple(range(1, x.ndim - 1))
