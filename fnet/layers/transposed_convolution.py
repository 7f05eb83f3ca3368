"""Transposed convolution, which enlarges sequences, images and volumes."""

import math
from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..core.dtypes import floating
from ..core.platform import platform
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_count, set_functions
from .convolution import check_channels
from .dense import REBUILD, along_last, check_arrays
from .initializers import Initializer, glorot_uniform, zeros
from .windows import Size, Window, check_axes, check_padding, per_axis, set_size, set_steps


def spread(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolve `x` with zeros between its entries; `window.pads` are cut from the result."""
    axes = "DHW"[-len(window.size) :]
    around = [
        (d * (k - 1) - before, d * (k - 1) - after)
        for k, d, (before, after) in zip(window.size, window.dilation, window.pads, strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        jnp.flip(kernel, range(len(window.size))),
        (1,) * len(window.size),
        around,
        lhs_dilation=window.strides,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}OI", f"N{axes}C"),
    )


def spread_by_product(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Compute `spread` as one matrix product, whose results are moved apart and added.

    Inside a loop on a CPU, XLA has no fast path for convolutions with zeros between the entries;
    see `convolution.loop_convolve`.
    """
    *places, filters, channels = kernel.shape
    products = x @ kernel.reshape(-1, channels).T
    products = products.reshape(*x.shape[:-1], math.prod(places), filters)
    y = jnp.zeros((x.shape[0], *window.out_shape, filters), x.dtype)
    for number, place in enumerate(np.ndindex(*places)):
        pads = []
        for k, d, s, (before, _), n, out in zip(
            place,
            window.dilation,
            window.strides,
            window.pads,
            x.shape[1:-1],
            window.out_shape,
            strict=True,
        ):
            start = d * k - before
            pads.append((start, out - start - (n - 1) * s - 1, s - 1))
        part = products[..., number, :]
        y += lax.pad(part, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    return y


@dataclass(frozen=True, repr=False)
class conv_transpose(Layer):
    r"""Transposed convolution, which enlarges.

    .. math:: y_j = \sum_{s i + d k = j} x_i W_k + b

    with `strides` :math:`s` and `dilation` :math:`d`. It is the transpose of the linear map of a
    `conv` with the same kernel. Samples are sequences `(length, channels)`, images
    `(height, width, channels)` or volumes. The kernel :math:`W` has shape
    `(*kernel_size, filters, channels)`, as in Keras; the bias :math:`b`, added to all outputs, has
    shape `(filters,)`. Integer inputs are cast to the kernel's dtype.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernel, a tuple with one integer per spatial axis.
        strides: the step between the places of two inputs, one integer for all spatial axes or one
            per axis.
        padding: 'valid' keeps all outputs, `strides * (n - 1) + max(reach, strides)` of them;
            'same' gives `strides * n` outputs and cuts the others off at both ends (an odd one at
            the end).
        dilation: the spacing of the kernel entries, likewise; a kernel of size k reaches over
            `reach = dilation * (k - 1) + 1` entries.
        use_bias: whether to add the bias.
        kernel_init, bias_init: initializers, `initializer(key, shape) -> array`.

    Raises:
        ValueError: a size is no integer of at least 1, `kernel_size` is no tuple, or `padding` is
            unknown; (from `init`) samples have the wrong rank; (from `apply`) the channels do not
            match the kernel.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.conv_transpose(32, (3, 3), 2, "same")
        >>> params = fnet.init(net, jax.random.key(0), (7, 7, 64))
        >>> params["kernel"].shape
        (3, 3, 32, 64)
        >>> fnet.apply(net, params, jnp.ones((5, 7, 7, 64))).shape
        (5, 14, 14, 32)

    Source: Zeiler et al. 2010, Deconvolutional Networks; Dumoulin and Visin 2016, A Guide to
    Convolution Arithmetic for Deep Learning, chapter 4.
    """

    filters: int
    kernel_size: Shape
    strides: Size = 1
    padding: str = "valid"
    _: KW_ONLY
    dilation: Size = 1
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        set_count(self, "filters", "Pass the number of outputs: conv_transpose(32, (3, 3)).")
        set_size(self, "kernel_size")
        set_steps(self, "kernel_size", "strides", "dilation")
        check_padding(self, self.padding)
        set_functions(self, "kernel_init", "bias_init")

    def window(self, in_shape: Shape) -> Window:
        """The geometry; its `pads` are the outputs to cut, or zeros to add where negative."""
        check_axes("kernel_size", self.kernel_size, in_shape)
        axes = len(self.kernel_size)
        strides, dilation = per_axis(self.strides, axes), per_axis(self.dilation, axes)
        pads, out_shape = [], []
        for n, k, s, d in zip(in_shape[:-1], self.kernel_size, strides, dilation, strict=True):
            reach = d * (k - 1) + 1
            whole, extra = s * (n - 1) + reach, max(reach - s, 0)
            out = s * n if self.padding == "same" else s * n + extra
            before = extra // 2 if self.padding == "same" else 0
            pads.append((before, whole - before - out))
            out_shape.append(out)
        return Window(self.kernel_size, strides, dilation, tuple(pads), tuple(out_shape))

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        kernel_key, bias_key = jax.random.split(key)
        out_shape = (*self.window(in_shape).out_shape, self.filters)
        shape = (*self.kernel_size, self.filters, in_shape[-1])
        params = {"kernel": self.kernel_init(kernel_key, shape)}
        if self.use_bias:
            params["bias"] = self.bias_init(bias_key, (self.filters,))
        return params, {}, out_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        names = ("kernel", "bias") if self.use_bias else ("kernel",)
        check_names("parameters", params, names, REBUILD)
        window, kernel = self.window(x.shape[1:]), jnp.asarray(params["kernel"])
        check_channels(x, kernel.shape[-1])
        shape = (*self.kernel_size, self.filters, x.shape[-1])
        check_arrays(params, kernel=shape, bias=(self.filters,))
        x = floating(x, kernel.dtype)
        dtype = jnp.result_type(x, kernel)
        function = spread_by_product if platform() == "cpu" else spread
        y = function(x.astype(dtype), kernel.astype(dtype), window)
        return (y + along_last(params["bias"], y) if self.use_bias else y), state
