"""Transposed, depthwise, separable and causal convolution, up-sampling and padding."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import fnet
from fnet.layers.transposed_convolution import spread, spread_by_product

close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-4)
apply = jax.jit(fnet.apply, static_argnums=0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def parameters(net, in_shape, rng):
    shapes = jax.eval_shape(lambda: fnet.init(net, jax.random.key(0), in_shape))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)


def column(*numbers):
    return np.array(numbers, np.float32).reshape(1, -1, 1)


TRANSPOSED = [
    ((4, 2), (3,), 2, 1),
    ((3, 2), (2,), 3, 1),
    ((4, 3), (3,), 1, 2),
    ((3, 2, 2), (2, 4), (3, 2), 1),
    ((2, 3, 2, 1), (2, 1, 3), (1, 2, 2), 1),
]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("in_shape, kernel_size, strides, dilation", TRANSPOSED)
def test_conv_transpose(in_shape, kernel_size, strides, dilation, padding, rng):
    net = fnet.conv_transpose(3, kernel_size, strides, padding, dilation=dilation)
    params, x = parameters(net, in_shape, rng), rng.normal(size=(2, *in_shape))
    axes = len(kernel_size)
    steps = strides if isinstance(strides, tuple) else (strides,) * axes
    kernel, bias = np.float64(params["kernel"]), np.float64(params["bias"])
    expected = reference.conv_transpose(x, kernel, bias, steps, padding, (dilation,) * axes)
    assert fnet.output_shape(net, in_shape) == expected.shape[1:]
    close(apply(net, params, x), expected)
    window, x = net.window(in_shape), jnp.asarray(x)
    close(spread(x, params["kernel"], window), spread_by_product(x, params["kernel"], window))


@pytest.mark.parametrize(
    "length, size, strides, padding, expected",
    [
        (3, 3, 2, "same", (1, 10, 102, 20, 203, 30)),
        (3, 2, 3, "same", (1, 10, 0, 2, 20, 0, 3, 30, 0)),
        (3, 2, 3, "valid", (1, 10, 0, 2, 20, 0, 3, 30, 0)),
        (2, 5, 2, "same", (10, 102, 1020, 10200)),
        (2, 5, 2, "valid", (1, 10, 102, 1020, 10200, 2000, 20000)),
        (3, 4, 1, "same", (12, 123, 1230)),
    ],
)
def test_conv_transpose_places_outputs_as_keras_does(length, size, strides, padding, expected):
    """What Conv1DTranspose of Keras 3.15 makes of 1, 2, 3 and the kernel 1, 10, 100, ..."""
    net = fnet.conv_transpose(1, (size,), strides, padding, use_bias=False)
    params = {"kernel": 10.0 ** jnp.arange(float(size)).reshape(size, 1, 1)}
    y = fnet.apply(net, params, column(*range(1, length + 1)))
    close(y, column(*expected))


def test_conv_transpose_of_images_is_that_of_keras():
    net = fnet.conv_transpose(1, (2, 3), (3, 2), "same", use_bias=False)
    x = jnp.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    y = fnet.apply(net, {"kernel": jnp.arange(6.0).reshape(2, 3, 1, 1)}, x)
    expected = [[0, 1, 2, 2], [3, 4, 11, 8], [0] * 4, [0, 3, 6, 4], [9, 12, 27, 16], [0] * 4]
    close(y[0, :, :, 0], np.array(expected, np.float32))


def test_conv_transpose_is_the_transpose_of_conv(rng):
    """<conv(x), y> = <x, conv_transpose(y)> for the same kernel."""
    there = fnet.conv(3, (3, 2), 2, use_bias=False)
    back = fnet.conv_transpose(2, (3, 2), 2, use_bias=False)
    x, kernel = rng.normal(size=(1, 7, 6, 2)), jnp.asarray(rng.normal(size=(3, 2, 2, 3)))
    y = rng.normal(size=(1, 3, 3, 3))
    left = (fnet.apply(there, {"kernel": kernel}, x) * y).sum()
    right = (x * fnet.apply(back, {"kernel": kernel}, y)).sum()
    close(left, right)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("in_shape, size", [((6, 2), (3,)), ((5, 4, 3), (2, 3))])
def test_depthwise_and_separable_conv(in_shape, size, padding, rng):
    net = fnet.depthwise_conv(size, 2, padding, depth_multiplier=2)
    params, x = parameters(net, in_shape, rng), rng.normal(size=(2, *in_shape))
    steps, bias = (2,) * len(size), np.float64(params["bias"])
    expected = reference.depthwise_conv(x, np.float64(params["kernel"]), bias, steps, padding)
    assert fnet.output_shape(net, in_shape) == expected.shape[1:]
    close(apply(net, params, x), expected)
    net = fnet.separable_conv(5, size, 2, padding, depth_multiplier=2)
    params = parameters(net, in_shape, rng)
    kernel, mixed, bias = (
        np.float64(params[name]) for name in ("depthwise_kernel", "pointwise_kernel", "bias")
    )
    deep = reference.depthwise_conv(x, kernel, 0.0, steps, padding)
    expected = deep @ mixed.reshape(mixed.shape[-2:]) + bias
    assert fnet.output_shape(net, in_shape) == expected.shape[1:]
    close(apply(net, params, x), expected)


def test_causal_conv_sees_only_the_past():
    """What Conv1D of Keras 3.15 makes of 1 ... 5, the kernel 1, 10, 100 and dilation 2."""
    net = fnet.conv(1, (3,), padding="causal", dilation=2, use_bias=False)
    params = {"kernel": 10.0 ** jnp.arange(3.0).reshape(3, 1, 1)}
    y = fnet.apply(net, params, column(1, 2, 3, 4, 5))
    close(y, column(100, 200, 310, 420, 531))


def test_up_sample_is_that_of_keras():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1) ** 2
    y = fnet.apply(fnet.up_sample((2, 3)), {}, x)
    chex.assert_trees_all_equal(y, jnp.asarray(x.repeat(2, 1).repeat(3, 2)))
    y = fnet.apply(fnet.up_sample((2, 3), "linear"), {}, x)
    first = [0, 0, 1 / 3, 2 / 3, 1, 2, 3, 4, 4]  # UpSampling2D of Keras 3.15, bilinear
    last = [9, 9, 34 / 3, 41 / 3, 16, 19, 22, 25, 25]
    rows = np.array(
        [np.add(np.multiply(first, 1 - w), np.multiply(last, w)) for w in (0, 0.25, 0.75, 1)]
    )
    close(y[0, :, :, 0], rows.astype(np.float32))
    y = fnet.apply(fnet.up_sample((2,)), {}, np.array([[[7], [255]]], np.uint8))
    chex.assert_trees_all_equal(y, jnp.array([[[7], [7], [255], [255]]], jnp.uint8))


def test_zero_pad(rng):
    x = rng.integers(0, 255, (2, 2, 3, 1)).astype(np.uint8)
    y = fnet.apply(fnet.zero_pad((1, (0, 2))), {}, x)
    chex.assert_trees_all_equal(y, jnp.pad(x, [(0, 0), (1, 1), (0, 2), (0, 0)]))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 2, 4)])
def test_global_max_pool(shape, rng):
    x = rng.normal(size=shape)
    close(fnet.apply(fnet.global_max_pool, {}, x), x.reshape(shape[0], -1, 4).max(1))


# What is refused.


def refused(message, error=ValueError):
    return pytest.raises(error, match="^" + re.escape(message))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: fnet.conv_transpose(0, (3,)), "`filters` of conv_transpose must be an integer of"),
        (lambda: fnet.conv_transpose(3, 3), "`kernel_size` of conv_transpose must be a tuple of"),
        (
            lambda: fnet.conv_transpose(3, (3,), padding="causal"),
            "`padding` of conv_transpose must be 'valid' or 'same', got 'causal'.",
        ),
        (
            lambda: fnet.conv(3, (3, 3), padding="causal"),
            "`padding` of conv must be 'valid' or 'same', got 'causal'.",
        ),
        (
            lambda: fnet.conv(3, (3,), padding="full"),
            "`padding` of conv must be 'valid' or 'same' or 'causal', got 'full'.",
        ),
        (
            lambda: fnet.depthwise_conv((3,), depth_multiplier=0),
            "`depth_multiplier` of depthwise_conv must be an integer of at least 1, got 0. Omit it",
        ),
        (lambda: fnet.separable_conv(0, (3,)), "`filters` of separable_conv must be an integer of"),
        (lambda: fnet.up_sample(2), "`size` of up_sample must be a tuple of integers of at least"),
        (
            lambda: fnet.up_sample((2,), "cubic"),
            "`interpolation` of up_sample must be 'nearest' or 'linear', got 'cubic'. 'linear' is",
        ),
        (
            lambda: fnet.zero_pad(1),
            "`padding` of zero_pad must be a tuple with one entry per spatial axis, each an "
            "integer of at least 0 or a pair (before, after), got 1. Write ((1, 0),) for",
        ),
        (lambda: fnet.zero_pad((1, -1)), "`padding` of zero_pad must be a tuple with one entry"),
        (lambda: fnet.zero_pad(((1, 2, 3),)), "`padding` of zero_pad must be a tuple with one"),
    ],
)
def test_hyperparameters(build, message):
    with refused(message):
        build()


@pytest.mark.parametrize(
    "net",
    [
        fnet.conv_transpose(2, (3, 3)),
        fnet.depthwise_conv((3, 3)),
        fnet.separable_conv(2, (3, 3)),
        fnet.up_sample((2, 2)),
        fnet.zero_pad((1, 1)),
    ],
    ids=lambda net: net.name,
)
def test_images_without_channels(net):
    words = "expected samples of 3 axes, 2 spatial and one of channels, as"
    with refused(f"{net.name}: {words}"):
        fnet.output_shape(net, (28, 28))


@pytest.mark.parametrize(
    "net",
    [fnet.conv_transpose(2, (3,)), fnet.depthwise_conv((3,)), fnet.separable_conv(2, (3,))],
    ids=lambda net: net.name,
)
def test_inputs_that_do_not_match_the_kernel(net):
    params = fnet.init(net, jax.random.key(0), (5, 2))
    with refused(
        f"{net.name}: expected input with 2 channels in the last axis, got shape (1, 5, 3)"
    ):
        fnet.apply(net, params, jnp.ones((1, 5, 3)))
