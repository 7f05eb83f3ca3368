"""Convolution, pooling, group norm and augmentation against loops over windows in float64."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import fnet

close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-4)
forward = jax.jit(fnet.forward, static_argnums=0)


@pytest.fixture
def rng(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def per_axis(value, axes):
    return value if isinstance(value, tuple) else (value,) * axes


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "in_shape, kernel_size, strides, dilation, groups",
    [
        ((7, 2), (3,), 1, 1, 1),
        ((9, 4), (3,), 2, 3, 2),
        ((6, 5, 3), (3, 3), 1, 1, 1),
        ((6, 7, 4), (2, 3), (3, 2), 1, 4),
        ((6, 7, 2), (1, 3), 1, (1, 2), 1),
        ((3, 4, 5, 2), (2, 1, 3), (1, 2, 1), 1, 2),
    ],
)
def test_conv(in_shape, kernel_size, strides, dilation, groups, padding, rng):
    net = fnet.conv(4, kernel_size, strides, padding, dilation=dilation, groups=groups)
    axes = len(in_shape) - 1
    shape = (*kernel_size, in_shape[-1] // groups, 4)
    params = {"kernel": rng.normal(size=shape), "bias": rng.normal(size=4)}
    x = rng.normal(size=(2, *in_shape))
    expected = reference.conv(
        x, *params.values(), per_axis(strides, axes), padding, per_axis(dilation, axes), groups
    )
    assert fnet.output_shape(net, in_shape) == expected.shape[1:]
    close(fnet.apply(net, jax.tree.map(jnp.asarray, params), x), expected)


def test_conv_of_one_entry_is_dense(key, rng):
    x, dense = rng.normal(size=(2, 3, 4, 5)), fnet.dense(2)
    params = fnet.init(dense, key, (3, 4, 5))
    kernel = params["kernel"].reshape(1, 1, 5, 2)
    y = fnet.apply(fnet.conv(2, (1, 1)), params | {"kernel": kernel}, x)
    close(y, fnet.apply(dense, params, x))


def test_conv_takes_bytes_in_the_dtype_of_its_kernel():
    params = {"kernel": jnp.ones((2, 1, 1), jnp.bfloat16)}
    y = fnet.apply(fnet.conv(1, (2,), use_bias=False), params, np.array([[[1], [255]]], np.uint8))
    assert y.dtype == jnp.bfloat16
    chex.assert_trees_all_equal(y, jnp.array([[[256]]], jnp.bfloat16))


def test_conv_starts_like_that_of_keras(key):
    params = jax.eval_shape(lambda: fnet.init(fnet.conv(64, (3, 5), groups=2), key, (9, 9, 16)))
    assert jax.tree.map(jnp.shape, params) == {"kernel": (3, 5, 8, 64), "bias": (64,)}
    params = fnet.init(fnet.conv(64, (3, 3)), key, (9, 9, 16))
    bound = np.sqrt(6 / (9 * (16 + 64)))  # the fans are those of the whole window
    assert 0.97 * bound < jnp.abs(params["kernel"]).max() < bound
    assert not params["bias"].any()


POOLS = [
    ((5, 3), (2,), None),
    ((7, 2), (3,), 2),
    ((5, 4, 3), (2, 2), None),
    ((4, 7, 2), (3, 2), (1, 3)),
    ((3, 4, 3, 2), (2, 2, 2), 1),
]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("in_shape, pool_size, strides", POOLS)
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_pools(name, in_shape, pool_size, strides, padding, rng):
    net, axes = getattr(fnet, name)(pool_size, strides, padding), len(in_shape) - 1
    x = rng.normal(-3, 1, (2, *in_shape))
    expected = getattr(reference, name)(x, pool_size, per_axis(strides or pool_size, axes), padding)
    assert fnet.output_shape(net, in_shape) == expected.shape[1:]
    close(fnet.apply(net, {}, x), expected)


def test_pools_of_bytes():
    x = np.array([[[1], [200], [255], [252], [7]]], np.uint8)
    y = fnet.apply(fnet.max_pool((2,), padding="same"), {}, x)
    chex.assert_trees_all_equal(y, jnp.array([[[200], [255], [7]]], jnp.uint8))
    y = fnet.apply(fnet.avg_pool((2,), padding="same"), {}, x)
    chex.assert_trees_all_equal(y, jnp.array([[[100.5], [253.5], [7.0]]]))
    y = fnet.apply(fnet.max_pool((2,)), {}, -x.astype(np.int32))
    chex.assert_trees_all_equal(y, jnp.array([[[-1], [-252]]]))


def test_means_do_not_overflow_in_half_precision():
    x = jnp.full((1, 8, 1), 60_000, jnp.float16)
    for net in (fnet.avg_pool((4,)), fnet.global_avg_pool):
        assert (fnet.apply(net, {}, x) == 60_000).all()


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 2, 4), (1, 2, 2, 2, 4)])
def test_global_avg_pool(shape, rng):
    x = rng.normal(size=shape)
    close(fnet.apply(fnet.global_avg_pool, {}, x), x.reshape(shape[0], -1, 4).mean(1))


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("spatial", [(), (3,), (2, 3)])
def test_group_norm(groups, spatial, rng):
    x, scale, bias = rng.normal(1, 3, (2, *spatial, 6)), rng.normal(size=6), rng.normal(size=6)
    params = {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}
    expected = reference.group_norm(x, scale, bias, groups)
    close(fnet.apply(fnet.group_norm(groups), params, x), expected)


@pytest.mark.parametrize("shape", [(64, 5, 6), (64, 5, 6, 2)])
def test_random_shift(shape, key):
    net, x = fnet.random_shift(2), np.arange(1, np.prod(shape) + 1).reshape(shape).astype(np.int32)
    y = np.asarray(forward(net, {}, {}, x, key)[0])
    assert y.dtype == x.dtype
    padded = np.pad(x, [(0, 0), (2, 2), (2, 2), *[(0, 0)] * (len(shape) - 3)])
    shifts = set()
    for i in range(len(x)):
        found = [
            (a, b)
            for a, b in np.ndindex(5, 5)
            if np.array_equal(y[i], padded[i, a : a + 5, b : b + 6])
        ]
        assert len(found) == 1, "every image is one of its 25 shifts"
        shifts.add(found[0])
    assert {a for a, _ in shifts} == {b for _, b in shifts} == set(range(5))
    assert len(shifts) > 15, "each sample is shifted on its own"


def test_random_noise(key):
    net, x = fnet.random_noise(0.5), np.full((100, 100), 3, np.uint8)
    y, _ = forward(net, {}, {}, x, key)
    assert y.dtype == jnp.float32
    assert abs(y.mean() - 3) < 5 * 0.5 / 100
    assert abs(y.std() - 0.5) < 0.02
    assert abs((y > 3.5).mean() - 0.1587) < 0.02, "it is normal"
    chex.assert_trees_all_equal(fnet.apply(net, {}, x), jnp.full((100, 100), 3.0))


@pytest.mark.parametrize("net", [fnet.random_shift(2), fnet.random_noise(0.5)])
def test_augmentation_acts_only_in_training(net, key, rng):
    x = jnp.asarray(rng.normal(size=(4, 5, 5)))
    chex.assert_trees_all_equal(fnet.apply(net, {}, x), x)
    one, again = (forward(net, {}, {}, x, key)[0] for _ in range(2))
    other, _ = forward(net, {}, {}, x, jax.random.fold_in(key, 1))
    chex.assert_trees_all_equal(one, again)
    assert (one != x).any() and (one != other).any()
    words = "expected a random key in training, got key=None"
    with pytest.raises(ValueError, match=f"^{net.name}: {words}"):
        fnet.forward(net, {}, {}, x)


def test_a_convolutional_network_learns(key, rng):
    """Where a bright stroke lies is learnt, and whether it stands or lies."""
    x = rng.integers(0, 50, (64, 8, 8)).astype(np.uint8)
    y = (np.arange(64) % 2).astype(np.int32)
    for image, label, place in zip(x, y, rng.integers(0, 8, 64), strict=True):
        (image if label else image.T)[place] += 200
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.reshape((8, 8, 1)),
        fnet.random_shift(1),
        fnet.conv(8, (3, 3), padding="same"),
        fnet.group_norm(4),
        fnet.relu,
        fnet.max_pool((2, 2)),
        fnet.conv(8, (3, 3)),
        fnet.relu,
        fnet.global_avg_pool,
        fnet.dense(2),
        fnet.softmax,
    )
    state = fnet.train_state(net, fnet.adam(0.02), key, (8, 8))
    task = fnet.supervised(net, "sparse_categorical_crossentropy", ["accuracy"])
    _, history = fnet.train(task, state, (x, y), epochs=20, batch_size=16)
    assert history["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    "net, in_shape, count, flops",
    [
        (fnet.conv(4, (3, 3)), (6, 6, 2), 76, 4 * 4 * 4 * 2 * 9 * 2),
        (fnet.conv(4, (3,), 2, use_bias=False), (7, 2), 24, 3 * 4 * 2 * 3 * 2),
        (fnet.conv(4, (3, 3), groups=2, use_bias=False), (6, 6, 2), 36, 4 * 4 * 4 * 2 * 9),
        (fnet.conv(1, (3, 3), padding="same", use_bias=False), (4, 4, 1), 9, 4 * 4 * 2 * 9),
        (fnet.max_pool((2, 2)), (4, 4, 2), 0, 0),
        (fnet.avg_pool((2, 2)), (4, 4, 2), 0, 0),
        (fnet.random_shift(1), (4, 4), 0, 0),
        (fnet.random_noise(1), (4, 4), 0, 0),
    ],
)
def test_summary(net, in_shape, count, flops):
    *_, params, size, counted = fnet.summary(net, in_shape).splitlines()[-1].split()
    assert (int(params), int(size), int(counted.replace(",", ""))) == (count, 4 * count, flops)


# What is refused.


def refused(message, error=ValueError):
    return pytest.raises(error, match="^" + re.escape(message))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: fnet.conv(0, (3,)), "`filters` of conv must be an integer of at least 1, got 0. "),
        (lambda: fnet.conv(3, (3,), groups=0), "`groups` of conv must be an integer of at least 1"),
        (
            lambda: fnet.conv(6, (3,), groups=4),
            "`filters` of conv must be a multiple of `groups`, got 6 filters in 4 groups. Change",
        ),
        (
            lambda: fnet.conv(3, (3, 0)),
            "`kernel_size` of conv must be a tuple of integers of at least 1, one for each spatial "
            "axis, got (3, 0). Write (3,) for sequences, (3, 3) for images, (3, 3, 3) for volumes.",
        ),
        (
            lambda: fnet.conv(3, 3),
            "`kernel_size` of conv must be a tuple of integers of at least 1, one for each spatial "
            "axis, got 3. Write (3,) for sequences, (3, 3) for images, (3, 3, 3) for volumes.",
        ),
        (
            lambda: fnet.conv(3, (3, 3), strides=1.5),
            "`strides` of conv must be an integer of at least 1, or a tuple of one for each axis "
            "of `kernel_size`=(3, 3), got 1.5. Write strides=2 or strides=(2, 2).",
        ),
        (lambda: fnet.conv(3, (3,), strides=(2, 2)), "`strides` of conv must be an integer of at"),
        (lambda: fnet.conv(3, (3,), dilation=True), "`dilation` of conv must be an integer of at"),
        (lambda: fnet.max_pool(2), "`pool_size` of max_pool must be a tuple of integers of at"),
        (lambda: fnet.max_pool(()), "`pool_size` of max_pool must be a tuple of integers of at"),
        (lambda: fnet.max_pool((1,) * 4), "`pool_size` of max_pool must be a tuple of integers"),
        (lambda: fnet.avg_pool((2,), "same"), "`strides` of avg_pool must be an integer of at"),
        (
            lambda: fnet.conv(3, (3,), padding="SAME"),
            "`padding` of conv must be 'valid' or 'same' or 'causal', got 'SAME'. 'valid' adds",
        ),
        (
            lambda: fnet.max_pool((2,), padding=1),
            "`padding` of max_pool must be 'valid' or 'same', got",
        ),
        (lambda: fnet.group_norm(0), "`groups` of group_norm must be an integer of at least 1"),
        (lambda: fnet.group_norm(epsilon=-1), "`epsilon` of group_norm must be in [0, inf), got"),
        (lambda: fnet.random_shift(0), "`pixels` of random_shift must be an integer of at least 1"),
        (lambda: fnet.random_noise(-1), "`stddev` of random_noise must be in [0, inf), got -1."),
    ],
)
def test_hyperparameters(build, message):
    with refused(message):
        build()


@pytest.mark.parametrize(
    "net, in_shape, message",
    [
        (
            fnet.conv(3, (5, 5)),
            (4, 8, 1),
            "conv: expected a `kernel_size` of at most (4, 8), the spatial axes of the input, got "
            "(5, 5) for padding='valid'. Make it smaller, or use padding='same'.",
        ),
        (
            fnet.conv(3, (3,), dilation=2),
            (4, 1),
            "conv: expected a `kernel_size` of at most (4,), the spatial axes of the input, got "
            "(3,), (5,) with its dilation, for padding='valid'. Make it",
        ),
        (
            fnet.max_pool((3,)),
            (2, 1),
            "max_pool: expected a `pool_size` of at most (2,), the spatial",
        ),
        (
            fnet.conv(4, (3,), groups=2),
            (8, 3),
            "conv: expected channels in the last axis that `groups`=2 divides, got samples of "
            "shape (8, 3). Change `groups`, or the filters of the layer before.",
        ),
        (
            fnet.group_norm(),
            (8, 48),
            "group_norm: expected channels in the last axis that `groups`=32 divides, got samples "
            "of shape (8, 48). Change `groups`, or the layer before.",
        ),
        (
            fnet.conv(3, (3, 3)),
            (28, 28),
            "conv: expected samples of 3 axes, 2 spatial and one of channels, as `kernel_size` is "
            "(3, 3), got shape (28, 28). Add channels to images with "
            "fnet.reshape((height, width, 1)), or give `kernel_size` one entry per spatial axis.",
        ),
        (fnet.avg_pool((2,)), (784,), "avg_pool: expected samples of 2 axes, 1 spatial and one"),
        (fnet.conv(3, (3,)), (5, 6, 1), "conv: expected samples of 2 axes, 1 spatial and one of"),
        (
            fnet.global_avg_pool,
            (784,),
            "global_avg_pool: expected samples with spatial axes before the channels, got "
            "samples of shape (784,). Pool before you flatten.",
        ),
        (
            fnet.random_shift(4),
            (4, 28, 1),
            "random_shift: expected images of more than `pixels`=4 each way, got samples of shape "
            "(4, 28, 1). Use a smaller shift, which keeps part of every image.",
        ),
        (
            fnet.random_shift(1),
            (784,),
            "random_shift: expected images (height, width) or (height, width, channels), got "
            "samples of shape (784,). Put the layer before any fnet.flatten.",
        ),
    ],
)
def test_samples(net, in_shape, message):
    for ask in (fnet.output_shape, fnet.summary):
        with refused(message):
            ask(fnet.sequential(net), in_shape)


def test_inputs_that_do_not_match_the_kernel(key):
    net = fnet.sequential(fnet.conv(4, (3,), groups=2))
    params = jax.tree.map(jnp.ones_like, jax.eval_shape(lambda: fnet.init(net, key, (8, 2))))
    with refused(
        "conv: expected input with 2 channels in the last axis, got shape (5, 8, 6). "
        "Build the parameters with in_shape=(8, 6)."
    ):
        fnet.apply(net, params, jnp.ones((5, 8, 6)))
    with refused("conv: expected a kernel of shape (3, 1, 8), got (3, 1, 4). Use the parameters"):
        fnet.apply(fnet.sequential(fnet.conv(8, (3,), groups=2)), params, jnp.ones((5, 8, 2)))
    with refused("conv: expected parameters ['bias', 'kernel'], got []. Use the", TypeError):
        fnet.apply(net, {}, jnp.ones((5, 8, 2)))
    with refused("conv: expected a `kernel_size` of at most (2,), the spatial axes of the input"):
        fnet.apply(net, params, jnp.ones((5, 2, 2)))
