"""Convolution of each channel by itself, alone and followed by one that mixes the channels."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp

from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_count, set_functions
from .convolution import check_channels, convolved
from .dense import REBUILD, along_last, check_arrays
from .initializers import Initializer, glorot_uniform, zeros
from .windows import Size, Window, check_padding, set_size, set_steps, slide


@dataclass(frozen=True, repr=False)
class depthwise_conv(Layer):
    r"""Depthwise convolution, a `conv` of each channel by itself with kernels of its own.

    .. math:: y_{i, c, m} = \sum_k x_{s i + d k, c} W_{k, c, m} + b_{c, m}

    with `strides` :math:`s` and `dilation` :math:`d`. The outputs :math:`m` of each channel
    :math:`c` lie side by side in one axis. Samples are as in `conv`. The kernel :math:`W` has shape
    `(*kernel_size, channels, depth_multiplier)`, the bias :math:`b`
    `(channels depth_multiplier,)`.

    Args:
        kernel_size: the size of the kernel, a tuple with one integer per spatial axis.
        strides: the step between outputs, one integer for all spatial axes or one per axis.
        padding: 'valid' or 'same', as in `conv`.
        depth_multiplier: the number of outputs of each channel.
        dilation: the spacing of the kernel entries, as in `conv`.
        use_bias: whether to add the bias.
        kernel_init, bias_init: initializers, `initializer(key, shape) -> array`.

    Raises:
        ValueError: as for `conv`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.depthwise_conv((3, 3), padding="same", depth_multiplier=2)
        >>> params = fnet.init(net, jax.random.key(0), (8, 8, 4))
        >>> params["kernel"].shape
        (3, 3, 4, 2)
        >>> fnet.apply(net, params, jnp.ones((5, 8, 8, 4))).shape
        (5, 8, 8, 8)

    Source: Sifre 2014, Rigid-Motion Scattering for Image Classification, section 6.2.
    """

    kernel_size: Shape
    strides: Size = 1
    padding: str = "valid"
    _: KW_ONLY
    depth_multiplier: int = 1
    dilation: Size = 1
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        check_depthwise(self)
        set_functions(self, "kernel_init", "bias_init")

    def window(self, in_shape: Shape) -> Window:
        return slide(
            in_shape, self.kernel_size, self.strides, self.padding, self.dilation, "kernel_size"
        )

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        kernel_key, bias_key = jax.random.split(key)
        window, filters = self.window(in_shape), in_shape[-1] * self.depth_multiplier
        shape = (*self.kernel_size, in_shape[-1], self.depth_multiplier)
        params = {"kernel": self.kernel_init(kernel_key, shape)}
        if self.use_bias:
            params["bias"] = self.bias_init(bias_key, (filters,))
        return params, {}, (*window.out_shape, filters)

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        names = ("kernel", "bias") if self.use_bias else ("kernel",)
        check_names("parameters", params, names, REBUILD)
        window, kernel = self.window(x.shape[1:]), params["kernel"]
        check_channels(x, kernel.shape[-2])
        shape = (*self.kernel_size, x.shape[-1], self.depth_multiplier)
        check_arrays(params, kernel=shape, bias=(x.shape[-1] * self.depth_multiplier,))
        y = each_channel(x, kernel, window)
        return (y + along_last(params["bias"], y) if self.use_bias else y), state


@dataclass(frozen=True, repr=False)
class separable_conv(Layer):
    r"""Separable convolution: a depthwise convolution, then a dense layer over the channels.

    .. math:: y = \mathrm{depthwise}(x) P + b

    It approximates a `conv` with far fewer multiplications. The parameters are those of Keras:
    `depthwise_kernel` of shape `(*kernel_size, channels, depth_multiplier)`, `pointwise_kernel`
    :math:`P` of shape `(1, ..., 1, channels depth_multiplier, filters)` and `bias` :math:`b` of
    shape `(filters,)`.

    Args:
        filters: the number of output channels.
        kernel_size, strides, padding, depth_multiplier, dilation: as for `depthwise_conv`.
        use_bias: whether to add the bias.
        depthwise_init, pointwise_init, bias_init: initializers, `initializer(key, shape) -> array`.

    Raises:
        ValueError: as for `conv`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.separable_conv(16, (3, 3), padding="same")
        >>> params = fnet.init(net, jax.random.key(0), (8, 8, 4))
        >>> fnet.apply(net, params, jnp.ones((5, 8, 8, 4))).shape
        (5, 8, 8, 16)

    Source: Chollet 2017, Xception, section 1.2 (there with the two steps exchanged).
    """

    filters: int
    kernel_size: Shape
    strides: Size = 1
    padding: str = "valid"
    _: KW_ONLY
    depth_multiplier: int = 1
    dilation: Size = 1
    use_bias: bool = True
    depthwise_init: Initializer = glorot_uniform
    pointwise_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        set_count(self, "filters", "Pass the number of outputs: separable_conv(32, (3, 3)).")
        check_depthwise(self)
        set_functions(self, "depthwise_init", "pointwise_init", "bias_init")

    def window(self, in_shape: Shape) -> Window:
        return slide(
            in_shape, self.kernel_size, self.strides, self.padding, self.dilation, "kernel_size"
        )

    def shapes(self, channels: int) -> dict[str, Shape]:
        ones = (1,) * len(self.kernel_size)
        return {
            "depthwise_kernel": (*self.kernel_size, channels, self.depth_multiplier),
            "pointwise_kernel": (*ones, channels * self.depth_multiplier, self.filters),
            **({"bias": (self.filters,)} if self.use_bias else {}),
        }

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        out_shape = (*self.window(in_shape).out_shape, self.filters)
        makers = (self.depthwise_init, self.pointwise_init, self.bias_init)
        keys = jax.random.split(key, len(makers))
        shapes = self.shapes(in_shape[-1]).items()
        params = {
            name: maker(own, shape)
            for (name, shape), maker, own in zip(shapes, makers, keys, strict=False)
        }
        return params, {}, out_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        shapes = self.shapes(x.shape[-1])
        check_names("parameters", params, tuple(shapes), REBUILD)
        window = self.window(x.shape[1:])
        check_channels(x, params["depthwise_kernel"].shape[-2])
        check_arrays(params, **shapes)
        y = each_channel(x, params["depthwise_kernel"], window)
        kernel = params["pointwise_kernel"]
        y = y @ kernel.reshape(kernel.shape[-2:]).astype(y.dtype)
        return (y + along_last(params["bias"], y) if self.use_bias else y), state


def check_depthwise(layer: depthwise_conv | separable_conv) -> None:
    set_count(layer, "depth_multiplier", "Omit it for one output per channel.")
    set_size(layer, "kernel_size")
    set_steps(layer, "kernel_size", "strides", "dilation")
    check_padding(layer, layer.padding)


def each_channel(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """Convolve each channel with its own kernels, `(*kernel_size, channels, multiplier)`."""
    *size, channels, multiplier = kernel.shape
    grouped = jnp.asarray(kernel).reshape(*size, 1, channels * multiplier)
    return convolved(x, grouped, window, channels)
