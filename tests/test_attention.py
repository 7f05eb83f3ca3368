"""Attention with masks, a second sequence, shared heads and rotations, and positions."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads
from problems import enable_x64

import fnet

close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-4)
KEY = jax.random.key(0)


@functools.partial(jax.jit, static_argnums=(0, 4))
def run(net, params, x, key=None, training=False):
    return net.apply(params, {}, x, key, training)[0]


def parameters(net, in_shape, rng):
    shapes = jax.eval_shape(lambda: net.init(KEY, in_shape)[0])
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)


def exact(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def problem(net, rng, mask_shape=(5,)):
    x = {"x": rng.normal(size=(2, 3, 8)), "memory": rng.normal(size=(2, 5, 6))}
    if mask_shape is not None:
        x["mask"] = rng.random((2, *mask_shape)) < 0.6
    x = jax.tree.map(jnp.asarray, x)
    return parameters(net, jax.tree.map(lambda a: a.shape[1:], x), rng), x


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("mask_shape", [None, (5,), (3, 5)])
@pytest.mark.parametrize(
    "net, groups",
    [
        (fnet.attention(2), 2),
        (fnet.attention(4, 2, key_value_heads=2, causal=True, rotary=True), 2),
        (fnet.attention(3, 4, key_value_heads=1, use_bias=False), 1),
    ],
)
def test_attention_to_a_second_sequence(net, groups, mask_shape, rng):
    params, x = problem(net, rng, mask_shape)
    given = exact(x)
    expected = reference.attention(
        given.pop("x"), exact(params), net.num_heads, net.causal,
        groups=groups, rotary=net.rotary, **given,
    )  # fmt: skip
    y = run(net, params, x)
    assert y.shape[1:] == net.init(KEY, jax.tree.map(lambda a: a.shape[1:], x))[2]
    close(y, expected, atol=1e-3)


KERAS = {  # the second feature of what Keras 3.15 computes, for each sample and step
    (2, 3, None): {
        "none": [-1.80901, -1.64187, -1.70587, -1.07283, -1.00824, -1.06317],
        "padding": [-1.88403, -1.76472, -1.81276, -1.01833, -0.99707, -1.01664],
        "full": [-1.83958, -1.61395, -1.66675, -1.10193, -1.00021, -1.03455],
        "causal": [-2.01404, -1.95391, -1.88694, -1.29655, -1.20699, -1.16162],
        "both": [-2.01404, -1.95391, -1.83501, -1.29655, -1.20699, -1.10013],
    },
    (4, 3, 2): {
        "none": [-0.9808, -1.12569, -0.88855, 0.01857, 0.10352, 0.12765],
        "padding": [-1.04064, -1.15591, -0.99993, 0.19971, 0.23245, 0.25614],
        "full": [-1.10369, -1.11556, -0.88645, -0.07655, 0.11263, 0.24366],
        "causal": [-1.15131, -1.18109, -1.08458, -0.55805, -0.39195, -0.17442],
        "both": [-1.15131, -1.18109, -1.13089, -0.55805, -0.39195, -0.06407],
    },
}


@pytest.mark.parametrize("case", ["none", "padding", "full", "causal", "both"])
@pytest.mark.parametrize("heads", KERAS)
def test_attention_computes_what_keras_computes(heads, case):
    """MultiHeadAttention(2, 3) and GroupQueryAttention(3, 4, 2) on the same numbers."""
    number, size, groups = heads
    net = fnet.attention(number, size, key_value_heads=groups, causal=case in ("causal", "both"))
    x = {
        "x": jnp.sin(jnp.arange(24.0)).reshape(2, 3, 4),
        "memory": jnp.cos(jnp.arange(60.0)).reshape(2, 5, 6),
    }
    if case in ("full", "both"):
        x["mask"] = jnp.arange(30).reshape(2, 3, 5) % 3 != 1
    if case == "padding":
        x["mask"] = jnp.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]])
    shapes = jax.eval_shape(lambda: net.init(KEY, {"x": (3, 4), "memory": (5, 6)})[0])
    params: dict = {name: {} for name in ("query", "key", "value", "output")}
    order = [(name, part) for name in params for part in ("kernel", "bias")]
    for i, (name, part) in enumerate(order):
        shape = shapes[name][part].shape
        numbers = 1.5 * np.cos(np.arange(np.prod(shape)) * 1.7 + i)
        params[name][part] = jnp.asarray(numbers.reshape(shape))
    close(run(net, params, x)[:, :, 1].ravel(), np.array(KERAS[heads][case]))


def test_padding_changes_nothing(rng):
    """A masked step may hold anything: neither values nor gradients see it."""
    net = fnet.attention(2)
    params, x = problem(net, rng)
    x["mask"] = jnp.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool)
    far = jnp.where(x["mask"][:, :, None], x["memory"], 1e4)
    close(run(net, params, x), run(net, params, x | {"memory": far}))
    slope = jax.jit(jax.grad(lambda memory: run(net, params, x | {"memory": memory}).sum()))(far)
    chex.assert_trees_all_equal(np.asarray(slope != 0).any(-1), np.asarray(x["mask"]))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_a_step_that_sees_nothing_gives_the_bias_and_finite_gradients(dtype, rng):
    net = fnet.attention(2, causal=True)
    params, x = problem(net, rng)
    x["mask"] = jnp.array([[0, 0, 0, 0, 0], [0, 0, 1, 1, 0]])
    params, x = jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, (params, x)
    )

    def loss(params, x):
        y = run(net, params, x)
        return jnp.square(y.astype(jnp.float32)).sum(), y

    floats = {"x": x["x"], "memory": x["memory"]}
    slope = jax.grad(lambda params, floats: loss(params, x | floats), argnums=(0, 1), has_aux=True)
    slopes, y = jax.jit(slope)(params, floats)
    chex.assert_tree_all_finite((slopes, y))
    assert y.dtype == dtype
    bias = np.broadcast_to(params["output"]["bias"], (5, 8))
    chex.assert_trees_all_equal(np.concatenate([y[0], y[1, :2]]), bias)
    assert (np.asarray(y[1, 2]) != bias[0]).any()


def test_gradients_with_a_mask(rng):
    with enable_x64():
        net = fnet.attention(4, 2, key_value_heads=2, rotary=True, causal=True)
        params, x = problem(net, rng, (3, 5))
        x["mask"] = x["mask"].at[0, 1].set(False)
        floats = {"x": x["x"], "memory": x["memory"]}
        function = jax.jit(lambda params, floats: run(net, params, x | floats))
        check_grads(function, (params, floats), order=1, modes=["rev"], eps=1e-5)


def test_dropout_drops_attention_weights(rng):
    """With values of one and one step to attend to, an output is 0 or 1 / keep."""
    net = fnet.attention(8, 1, dropout=0.25, use_bias=False)
    eye = {"kernel": jnp.eye(8)}
    params = {"query": eye, "key": eye, "value": eye, "output": eye}
    x = jnp.ones((500, 1, 8))
    y = np.asarray(run(net, params, x, KEY, True))
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.03
    chex.assert_trees_all_equal(run(net, params, x), x)
    with refused("attention: expected a random key in training, got key=None."):
        fnet.forward(net, params, {}, x)


def test_rotations_know_only_distances(rng):
    """Scores of rotated heads stay as they are if both sequences move on alike."""
    net = fnet.attention(2, rotary=True)
    params = parameters(net, (9, 8), rng)
    x = jnp.asarray(rng.normal(size=(1, 6, 8)))
    pad = jnp.zeros((1, 3, 8))
    moved = {"x": jnp.concatenate([pad, x], 1), "mask": jnp.arange(9)[None] >= 3}
    close(run(net, params, moved)[:, 3:], run(net, params, x), atol=1e-3)
    plain = fnet.attention(2)
    assert abs(run(net, params, x) - run(plain, params, x)).max() > 0.1


# Positions.


@pytest.mark.parametrize("features", [1, 4, 5])
def test_sinusoidal_positions(features, rng):
    x = rng.normal(size=(2, 7, features))
    y = fnet.apply(fnet.sinusoidal_positions, {}, x)
    close(y, x + reference.sinusoidal_positions(7, features), atol=1e-6)


def test_learned_positions(rng):
    net, rows = fnet.learned_positions(), rng.normal(size=(7, 4))
    x = rng.normal(size=(2, 7, 4))
    params = {"embeddings": jnp.asarray(rows)}
    close(fnet.apply(net, params, x), x + rows)
    close(fnet.apply(net, params, x[:, :3]), (x + rows)[:, :3])
    start = fnet.init(net, KEY, (100, 8))["embeddings"]
    assert -0.05 <= start.min() < -0.045 and 0.045 < start.max() < 0.05


# What is refused.


def refused(message, error=ValueError):
    return pytest.raises(error, match="^" + re.escape(message))


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: fnet.attention(4, key_value_heads=3),
            "`key_value_heads` of attention must divide `num_heads`, got 3 for 4 heads. Change",
        ),
        (
            lambda: fnet.attention(4, key_value_heads=0),
            "`key_value_heads` of attention must be an integer of at least 1, got 0. Leave",
        ),
        (lambda: fnet.attention(2, dropout=1), "`dropout` of attention must be in [0, 1), got 1."),
    ],
)
def test_hyperparameters(build, message):
    with refused(message):
        build()


X, MEMORY = jnp.ones((2, 3, 8)), jnp.ones((2, 5, 8))
PARAMS = fnet.init(fnet.attention(2), KEY, (3, 8))


@pytest.mark.parametrize(
    "x, message",
    [
        (
            {"x": X, "mask": jnp.ones((2, 4))},
            "attention: expected a mask with a number for each of 3 steps, shape (3,) or (3, 3) a "
            "sample, got (4,). Cut or pad it as the sequence is.",
        ),
        ({"x": X, "memory": MEMORY, "mask": jnp.ones((2, 3))}, "attention: expected a mask with a"),
        ({"x": X, "memory": MEMORY, "mask": jnp.ones((2, 5, 3))}, "attention: expected a mask"),
        ({"x": X, "mask": jnp.ones((2, 1, 3, 3))}, "attention: expected a mask with a number for"),
        (
            {"x": X, "memory": MEMORY[:1]},
            "attention: expected as many samples in all parts of the input, got [2, 1]. Take 'x',",
        ),
        (
            {"x": X, "memory": jnp.ones((2, 5))},
            "attention: expected sequences (time, features), got samples of shape (5,). Embed",
        ),
    ],
)
def test_inputs(x, message):
    net = fnet.sequential(fnet.attention(2))
    with refused(message):
        net.apply({"attention": PARAMS}, {}, x, None, False)
    shapes = jax.tree.map(lambda a: a.shape[1:], x)
    if "as many samples" not in message:
        with refused(message):
            net.init(KEY, shapes)


def test_parts_of_the_input():
    for x in ({"memory": (3, 8)}, {"x": (3, 8), "masks": (3,)}):
        with refused("attention: expected a sequence, or a dict with 'x' and, where", TypeError):
            fnet.sequential(fnet.attention(2)).init(KEY, x)


def test_what_positions_refuse():
    with refused("attention: expected heads with an even number of features, which `rotary` pai"):
        fnet.init(fnet.attention(2, 3, rotary=True), KEY, (3, 8))
    for net in (fnet.learned_positions(), fnet.sinusoidal_positions):
        with refused(f"{fnet.sequential(net).layers[0].name}: expected sequences (time, features)"):
            fnet.init(fnet.sequential(net), KEY, (8,))
    params = {"embeddings": jnp.ones((3, 8))}
    for x in (jnp.ones((1, 4, 8)), jnp.ones((1, 3, 7))):
        with refused("learned_positions: expected sequences of at most 3 steps and 8 features, as"):
            fnet.apply(fnet.learned_positions(), params, x)
