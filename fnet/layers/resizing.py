"""Layers without parameters that enlarge sequences, images and volumes."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ..core.checks import is_integer
from ..core.dtypes import at_least_float32, floating
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .windows import check_axes, set_size


@dataclass(frozen=True, repr=False)
class up_sample(Layer):
    r"""Enlarge the spatial axes.

    .. math:: y_{n i + k} = x_i, \quad 0 \le k < n

    with `size` :math:`n`. Samples are sequences `(length, channels)`, images
    `(height, width, channels)` or volumes. The channels and a floating dtype are preserved.

    Args:
        size: the factors, a tuple with one integer per spatial axis: `(2, 2)` for images.
        interpolation: 'nearest' repeats each entry and keeps any dtype; 'linear' interpolates
            between the centres of neighbours (bilinear for images) and gives floats.

    Raises:
        ValueError: `size` is no tuple of integers of at least 1, or `interpolation` is unknown;
            (from `init`) samples have the wrong rank.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> x = jnp.array([[[1.0], [3.0]]])
        >>> fnet.apply(fnet.up_sample((2,)), {}, x).ravel()
        Array([1., 1., 3., 3.], dtype=float32)
        >>> fnet.apply(fnet.up_sample((2,), "linear"), {}, x).ravel()
        Array([1. , 1.5, 2.5, 3. ], dtype=float32)

    Source: Odena, Dumoulin and Olah 2016, Deconvolution and Checkerboard Artifacts.
    """

    size: Shape
    interpolation: str = "nearest"

    def __post_init__(self) -> None:
        set_size(self, "size")
        if self.interpolation not in ("nearest", "linear"):
            raise ValueError(
                f"`interpolation` of up_sample must be 'nearest' or 'linear', got "
                f"{self.interpolation!r}. 'linear' is bilinear for images."
            )

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        check_axes("size", self.size, in_shape)
        spatial = (n * factor for n, factor in zip(in_shape, self.size, strict=False))
        return {}, {}, (*spatial, in_shape[-1])

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        _, _, out_shape = self.init(jax.random.key(0), x.shape[1:])
        if self.interpolation == "linear":
            dtype = floating(x).dtype
            y = jax.image.resize(at_least_float32(x), (x.shape[0], *out_shape), "linear")
            return y.astype(dtype), state
        for axis, factor in enumerate(self.size, 1):
            x = jnp.repeat(x, factor, axis)
        return x, state


@dataclass(frozen=True, repr=False)
class zero_pad(Layer):
    """Add zeros around the spatial axes.

    Samples are sequences `(length, channels)`, images `(height, width, channels)` or volumes. The
    channels and the dtype are preserved.

    Args:
        padding: a tuple with one entry per spatial axis, a pair `(before, after)` or one integer
            for both: `((1, 0),)` for sequences, `(1, 1)` or `((1, 0), (2, 2))` for images.

    Raises:
        ValueError: `padding` is not such a tuple; (from `init`) samples have the wrong rank.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> net = fnet.zero_pad(((1, 2),))
        >>> fnet.apply(net, {}, jnp.array([[[5.0], [6.0]]])).ravel()
        Array([0., 5., 6., 0., 0.], dtype=float32)
        >>> fnet.output_shape(fnet.zero_pad((1, 1)), (28, 28, 3))
        (30, 30, 3)

    Source: LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition.
    """

    padding: tuple[int | tuple[int, int], ...]

    def __post_init__(self) -> None:
        padding = self.padding
        several = isinstance(padding, (tuple, list)) and 1 <= len(padding) <= 3
        entries = [counts(entry) for entry in padding] if several else []
        if not entries or None in entries:
            raise ValueError(
                f"`padding` of zero_pad must be a tuple with one entry per spatial axis, each an "
                f"integer of at least 0 or a pair (before, after), got {padding!r}. Write "
                f"((1, 0),) for sequences, (1, 1) for images."
            )
        object.__setattr__(self, "padding", tuple(entries))

    def pads(self, in_shape: Shape) -> list[tuple[int, int]]:
        check_axes("padding", self.padding, in_shape)
        return [(n, n) if isinstance(n, int) else n for n in self.padding]

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        pads = self.pads(in_shape)
        spatial = (n + sum(pad) for n, pad in zip(in_shape, pads, strict=False))
        return {}, {}, (*spatial, in_shape[-1])

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        return jnp.pad(x, [(0, 0), *self.pads(x.shape[1:]), (0, 0)]), state


def counts(entry: object) -> int | tuple[int, int] | None:
    """An integer of at least 0 or a pair of them as such; None for anything else."""
    if is_integer(entry, 0):
        return int(entry)
    if isinstance(entry, (tuple, list)) and len(entry) == 2:
        before, after = map(counts, entry)
        if isinstance(before, int) and isinstance(after, int):
            return before, after
    return None
