"""Convolution over one, two or three spatial axes."""

from dataclasses import KW_ONLY, dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..core.dtypes import floating
from ..core.errors import LayerValueError
from ..core.platform import platform
from ..core.trees import Tree
from .base import InitResult, Key, Layer, Output, Shape
from .checks import check_names, set_count, set_functions
from .dense import REBUILD, along_last, check_arrays
from .initializers import Initializer, glorot_uniform, zeros
from .windows import Size, Window, check_padding, set_size, set_steps, slide


def convolve(x: jax.Array, kernel: jax.Array, window: Window, groups: int) -> jax.Array:
    axes = "DHW"[-len(window.size) :]
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.pads,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def convolve_by_product(x: jax.Array, kernel: jax.Array, window: Window, groups: int) -> jax.Array:
    """Compute `convolve` as one matrix product of the gathered windows and the kernel."""
    batch, channels, spatial = x.shape[0], x.shape[-1], len(window.size)
    x = jnp.pad(x, [(0, 0), *window.pads, (0, 0)])
    met = []
    for place in np.ndindex(*window.size):
        start = tuple(i * d for i, d in zip(place, window.dilation, strict=True))
        stop = tuple(
            i + (n - 1) * s + 1
            for i, n, s in zip(start, window.out_shape, window.strides, strict=True)
        )
        cut = lax.slice(x, (0, *start, 0), (batch, *stop, channels), (1, *window.strides, 1))
        met.append(cut)
    shape = (batch, *window.out_shape)
    if groups == 1:
        return jnp.concatenate(met, -1) @ kernel.reshape(-1, kernel.shape[-1])
    grouped = jnp.stack(met, -2).reshape(*shape, len(met), groups, channels // groups)
    kernels = kernel.reshape(len(met), channels // groups, groups, kernel.shape[-1] // groups)
    places = "ndhw"[: 1 + spatial]
    y = jnp.einsum(f"{places}kgc,kcgf->{places}gf", grouped, kernels)
    return y.reshape(*shape, kernel.shape[-1])


# `convolve` with derivatives through `convolve_by_product`. Training steps run in loops. Inside a
# loop on a CPU, XLA has a fast path only for plain convolutions, and the derivatives of a
# convolution are not of that form (https://github.com/jax-ml/jax/issues/12868). For 128 images of
# (14, 14, 16), 32 filters and a (3, 3) window on 2 cores, the derivatives took 1,600 ms per step as
# convolutions and take 45 ms as products.
loop_convolve: jax.custom_jvp[jax.Array] = jax.custom_jvp(convolve, nondiff_argnums=(2, 3))


@loop_convolve.defjvp
def loop_convolve_jvp(
    window: Window,
    groups: int,
    primals: tuple[jax.Array, jax.Array],
    tangents: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    through_x = convolve_by_product(dx, kernel, window, groups)
    through_kernel = convolve_by_product(x, dkernel, window, groups)
    return loop_convolve(x, kernel, window, groups), through_x + through_kernel


def convolved(x: jax.Array, kernel: jax.Array, window: Window, groups: int) -> jax.Array:
    """The convolution in one dtype, by the faster way of this machine."""
    x = floating(x, kernel.dtype)
    dtype = jnp.result_type(x, kernel)
    function = loop_convolve if platform() == "cpu" else convolve
    return function(x.astype(dtype), kernel.astype(dtype), window, groups)


def check_channels(x: jax.Array, channels: int) -> None:
    if x.shape[-1] != channels:
        raise LayerValueError(
            f"expected input with {channels} channels in the last axis, got shape {x.shape}. "
            f"Build the parameters with in_shape={x.shape[1:]}."
        )


@dataclass(frozen=True, repr=False)
class conv(Layer):
    r"""Convolution, over one, two or three spatial axes.

    .. math:: y_i = \sum_k x_{s i + d k} W_k + b

    with `strides` :math:`s` and `dilation` :math:`d`. The shape of a sample determines the number
    of spatial axes: sequences are `(length, channels)`, images `(height, width, channels)` and
    volumes `(depth, height, width, channels)`. The indices :math:`i` and :math:`k` run over the
    spatial axes; each product contracts the channels, so the output has `filters` channels. The
    kernel :math:`W` has shape `(*kernel_size, channels / groups, filters)` and is not flipped; the
    bias :math:`b` has shape `(filters,)`. Integer inputs are cast to the kernel's dtype.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the kernel, a tuple with one integer per spatial axis: `(3,)` for
            sequences, `(3, 3)` for images.
        strides: the step between outputs, one integer for all spatial axes or one per axis.
        padding: 'valid' uses only windows inside the input, which gives
            `(n - reach) // strides + 1` outputs; 'same' pads both sides with zeros (an odd one goes
            to the end), which gives `ceil(n / strides)` outputs; 'causal', for sequences only, pads
            before the start, so that no output depends on later inputs.
        dilation: the spacing of the kernel entries, likewise; a kernel of size k reaches over
            `reach = dilation * (k - 1) + 1` entries.
        groups: the number of groups of channels and filters that are convolved independently; as
            many groups as channels make a depthwise convolution.
        use_bias: whether to add the bias.
        kernel_init, bias_init: initializers, `initializer(key, shape) -> array`; see
            `fnet.initializers`.

    Raises:
        ValueError: `kernel_size` is no tuple of integers of at least 1, `padding` is unknown, or
            `groups` does not divide `filters`; (from `init`) samples have the wrong rank, `groups`
            does not divide the channels, or the kernel is larger than the input with
            padding='valid'; (from `apply`) the channels do not match the kernel.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.reshape((28, 28, 1)), fnet.conv(32, (3, 3), padding="same"))
        >>> params = fnet.init(net, jax.random.key(0), (28, 28))
        >>> params["conv"]["kernel"].shape
        (3, 3, 1, 32)
        >>> fnet.apply(net, params, jnp.ones((5, 28, 28))).shape
        (5, 28, 28, 32)

    Images `(28, 28)` without channels are refused: add a channel axis, as above.

    Source: LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition;
    dilation: Yu and Koltun 2016, Multi-Scale Context Aggregation by Dilated Convolutions; groups:
    Krizhevsky, Sutskever and Hinton 2012, ImageNet Classification, section 3.2; causal: van den
    Oord et al. 2016, WaveNet, section 2.1.
    """

    filters: int
    kernel_size: Shape
    strides: Size = 1
    padding: str = "valid"
    _: KW_ONLY
    dilation: Size = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: Initializer = glorot_uniform
    bias_init: Initializer = zeros

    def __post_init__(self) -> None:
        set_count(self, "filters", "Pass the number of outputs, such as conv(32, (3, 3)).")
        set_count(self, "groups", "Omit it to convolve all channels together.")
        set_size(self, "kernel_size")
        set_steps(self, "kernel_size", "strides", "dilation")
        check_padding(self, self.padding, *(["causal"] if len(self.kernel_size) == 1 else []))
        set_functions(self, "kernel_init", "bias_init")
        if self.filters % self.groups:
            raise ValueError(
                f"`filters` of conv must be a multiple of `groups`, got {self.filters} filters in "
                f"{self.groups} groups. Change one of them."
            )

    def window(self, in_shape: Shape) -> Window:
        return slide(
            in_shape, self.kernel_size, self.strides, self.padding, self.dilation, "kernel_size"
        )

    def kernel_shape(self, in_shape: Shape) -> Shape:
        if in_shape[-1] % self.groups:
            raise LayerValueError(
                f"expected channels in the last axis that `groups`={self.groups} divides, got "
                f"samples of shape {in_shape}. Change `groups`, or the filters of the layer before."
            )
        return (*self.window(in_shape).size, in_shape[-1] // self.groups, self.filters)

    def init(self, key: jax.Array, in_shape: Shape) -> InitResult:
        kernel_key, bias_key = jax.random.split(key)
        out_shape = (*self.window(in_shape).out_shape, self.filters)
        params = {"kernel": self.kernel_init(kernel_key, self.kernel_shape(in_shape))}
        if self.use_bias:
            params["bias"] = self.bias_init(bias_key, (self.filters,))
        return params, {}, out_shape

    def apply(self, params: Tree, state: Tree, x: jax.Array, key: Key, training: bool) -> Output:
        names = ("kernel", "bias") if self.use_bias else ("kernel",)
        check_names("parameters", params, names, REBUILD)
        kernel, window = params["kernel"], self.window(x.shape[1:])
        check_channels(x, kernel.shape[-2] * self.groups)
        check_arrays(params, kernel=self.kernel_shape(x.shape[1:]), bias=(self.filters,))
        y = convolved(x, jnp.asarray(kernel), window, self.groups)
        return (y + along_last(params["bias"], y) if self.use_bias else y), state
