"""Properties that every layer has, and each layer against arithmetic in float64."""

import copy
import functools
import math
import pickle

import chex
import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
import tables
from hypothesis import given, settings, strategies as st
from jax.test_util import check_grads
from problems import enable_x64
from tables import ACTIVATIONS, LAYERS

import fnet
from fnet import initializers
from fnet.layers.base import map_shapes

map_layers = pytest.mark.parametrize("row", LAYERS, ids=[row.name for row in LAYERS])
ALONE = {"everything", "graph_of_everything"} | {function.__name__ for function in ACTIVATIONS}
PARTS = [row for row in LAYERS if row.name not in ALONE]  # one for all activations: faster
apply = jax.jit(fnet.apply, static_argnums=0)
forward = jax.jit(fnet.forward, static_argnums=0)
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)


@pytest.fixture
def rng(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def shapes_of(row):
    """Parameters and state of a layer of the table as shapes, so that nothing is compiled."""
    return shapes_named(row.name)


@functools.cache
def shapes_named(name):
    row = next(row for row in LAYERS if row.name == name)
    net = row.factory()

    def trees(key):
        return fnet.init(net, key, row.in_shape), fnet.init_state(net, row.in_shape)

    return jax.eval_shape(trees, jax.random.key(0))


def built(row, rng, batch=3):
    """A layer of the table with random parameters, state and batch, all of NumPy."""
    real, whole = jnp.result_type(float), jnp.result_type(int)
    params, state = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(real), shapes_of(row)
    )

    def numbers(shape):
        shape = (batch, *shape)
        if row.ids:
            return rng.integers(0, row.ids, shape).astype(whole)
        return rng.normal(size=shape).astype(real)

    return row.factory(), params, state, map_shapes(numbers, row.in_shape)


def assert_shapes(outputs, batch, row):
    expected = map_shapes(lambda s: (batch, *s), fnet.output_shape(row.factory(), row.in_shape))
    for y in outputs:
        assert jax.tree.map(jnp.shape, y) == expected


def outputs(net, params, state, x, key):
    """The output at inference, that in training, and the new state."""
    return fnet.apply(net, params, x, state), *fnet.forward(net, params, state, x, key)


# What holds for every layer.


@map_layers
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_predicted_shape_is_the_real_one(row, batch, key, rng):
    net, params, state, x = built(row, rng, batch)
    *ys, new_state = jax.eval_shape(functools.partial(outputs, net), params, state, x, key)
    assert_shapes(ys, batch, row)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new_state)


@map_layers
def test_jit_equals_eager_is_traced_once_and_changes_no_argument(row, key, rng):
    chex.clear_trace_counter()
    net, *arguments = built(row, rng)
    before = copy.deepcopy(arguments)
    eager = outputs(net, *arguments, key)
    chex.assert_trees_all_equal(arguments, before)
    assert_shapes(eager[:2], 3, row)
    chex.assert_tree_all_finite(eager)
    jitted = jax.jit(chex.assert_max_traces(outputs, n=1), static_argnums=0)
    close(jitted(net, *arguments, key), eager, rtol=1e-3, atol=1e-5)
    params, state, x = arguments
    x = jax.tree.map(lambda a: a + 1, x)
    jitted(row.factory(), params, state, x, key)  # equal, but built anew


@map_layers
def test_a_sample_alone_equals_the_sample_in_its_batch(row, rng):
    net, params, state, x = built(row, rng)

    @jax.jit
    @jax.vmap
    def alone(sample):
        y = fnet.apply(net, params, jax.tree.map(lambda a: a[None], sample), state)
        return jax.tree.map(lambda a: a[0], y)

    close(alone(x), fnet.apply(net, params, x, state), rtol=1e-3, atol=1e-5)


@map_layers
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_floating_dtype_is_kept(row, dtype, key, rng):
    net, params, state, x = built(row, rng)
    params, x = jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, (params, x)
    )
    *ys, new_state = jax.eval_shape(functools.partial(outputs, net), params, state, x, key)
    assert {y.dtype for y in jax.tree.leaves(ys)} == {jnp.dtype(dtype)}
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new_state)


@pytest.mark.parametrize("name", ["sequential_nested", "batch_norm", "own_layer"])
def test_init_under_jit_and_vmap_gives_stacked_parameters(name, key):
    row = next(row for row in LAYERS if row.name == name)
    net, keys = row.factory(), jax.random.split(key, 2)
    many = jax.jit(jax.vmap(lambda key: fnet.init(net, key, row.in_shape)))(keys)
    each = [fnet.init(net, key, row.in_shape) for key in keys]
    close(many, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each))


@map_layers
def test_equal_by_value_when_rebuilt(row):
    net, rebuilt = fnet.sequential(row.factory()), fnet.sequential(row.factory())
    assert net is not rebuilt and net == rebuilt and hash(net) == hash(rebuilt)
    assert pickle.loads(pickle.dumps(net)) == net
    assert jax.tree.structure(net) == jax.tree.structure(rebuilt) and not jax.tree.leaves(net)


def test_no_two_layers_are_equal():
    assert len({fnet.sequential(row.factory()) for row in LAYERS}) == len(LAYERS)


@map_layers
def test_repr_builds_the_layer_again(row):
    net = fnet.sequential(row.factory())
    names = vars(functools) | vars(initializers) | vars(tables) | vars(fnet)
    assert eval(repr(net), names) == net


@pytest.mark.parametrize("row", PARTS, ids=[row.name for row in PARTS])
def test_gradients(row, key, rng):
    @jax.jit
    def of_params_and_x(params, x):
        return outputs(net, params, state, x, key)

    with enable_x64():
        net, params, state, x = built(row, rng)
        of_floats = functools.partial(of_params_and_x, x=x) if row.ids else of_params_and_x
        arguments = (params,) if row.ids else (params, x)
        check_grads(of_floats, arguments, order=1, modes=["rev"], eps=1e-5)


@map_layers
def test_summary_counts_the_parameters(row):
    params, _ = shapes_of(row)
    *_, count, size, _ = fnet.summary(row.factory(), row.in_shape).splitlines()[-1].split()
    assert int(count.replace(",", "")) == fnet.count_params(params)
    assert int(size.replace(",", "")) == 4 * fnet.count_params(params)


sizes = st.integers(1, 4)
KEEPS_SHAPE = [function for function in ACTIVATIONS if function is not fnet.glu]
KEEPS_SHAPE += [fnet.batch_norm(), fnet.layer_norm(), fnet.dropout(0.5), fnet.rescale(2)]


@st.composite
def models(draw):
    """A random model, its input shape, and its output shape by rules of the test's own."""
    in_shape = shape = tuple(draw(st.lists(sizes, min_size=1, max_size=3)))
    layers = []
    for kind in draw(st.lists(st.sampled_from(["dense", "reshape", "flatten", "same"]))):
        size = math.prod(shape)
        match kind:
            case "dense":
                units = draw(sizes)
                layers.append(fnet.dense(units))
                shape = (*shape[:-1], units)
            case "reshape":
                rows = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
                layers.append(fnet.reshape((rows, -1)))
                shape = (rows, size // rows)
            case "flatten":
                layers.append(fnet.flatten)
                shape = (size,)
            case "same":
                layers.append(draw(st.sampled_from(KEEPS_SHAPE)))
    return fnet.sequential(*layers), in_shape, shape


@settings(deadline=None, max_examples=40)
@given(models(), st.integers(1, 3))
def test_random_models(model, batch):
    net, in_shape, out_shape = model

    def run(key):
        x = jnp.ones((batch, *in_shape))
        params, state = fnet.init(net, key, in_shape), fnet.init_state(net, in_shape)
        y, new_state = fnet.forward(net, params, state, x, key)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, new_state)
        return y, fnet.apply(net, params, x, state)

    assert fnet.output_shape(net, in_shape) == out_shape
    chex.assert_shape(jax.eval_shape(run, jax.random.key(0)), (batch, *out_shape))


@pytest.mark.parametrize(
    "net, written",
    [
        (fnet.dense(512), "dense(512)"),
        (fnet.dense(3, use_bias=False), "dense(3, use_bias=False)"),
        (
            fnet.sequential(fnet.flatten, fnet.residual(fnet.dropout(0.5)), fnet.reshape([2, -1])),
            "sequential(flatten, residual(dropout(0.5)), reshape((2, -1)))",
        ),
        (
            fnet.parallel(
                functools.partial(fnet.elu, alpha=2.0), fnet.batch_norm(momentum=0.9), merge=sum
            ),
            "parallel(partial(elu, alpha=2.0), batch_norm(momentum=0.9), merge=sum)",
        ),
        (
            fnet.sequential(fnet.rescale(2, offset=-1), jnp.tanh),
            "sequential(rescale(2.0, -1.0), tanh)",
        ),
        (fnet.sequential(lambda x: x), "sequential(lambda)"),
    ],
)
def test_repr(net, written):
    assert repr(net) == written


# Each layer against arithmetic in float64.


def random(rng, *shape):
    return jnp.asarray(rng.normal(1, 3, shape))


def exact(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 3), (2, 4, 4, 3), (2, 2, 2, 2, 3)])
def test_dense(shape, rng):
    x, kernel, bias = random(rng, *shape), random(rng, 3, 4), random(rng, 4)
    expected = np.einsum("...i,iu->...u", exact(x), exact(kernel))
    without_bias = fnet.dense(4, use_bias=False)
    close(apply(without_bias, {"kernel": kernel}, x), expected, atol=1e-4)
    y = apply(fnet.dense(4), {"kernel": kernel, "bias": bias}, x)
    close(y, expected + exact(bias), atol=1e-4)


def test_dense_takes_integers_in_the_dtype_of_its_kernel():
    params = {"kernel": jnp.ones((2, 1), jnp.bfloat16), "bias": jnp.ones(1, jnp.bfloat16)}
    y = fnet.apply(fnet.dense(1), params, np.array([[1, 255]], np.uint8))
    chex.assert_trees_all_equal(y, jnp.array([[257]], jnp.bfloat16))
    assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 2, 3)])
def test_batch_norm(shape, rng):
    net, axes = fnet.batch_norm(), tuple(range(len(shape) - 1))
    params, state = {"scale": random(rng, 3), "bias": random(rng, 3)}, fnet.init_state(net, (3,))
    scale, bias = exact(params["scale"]), exact(params["bias"])
    running_mean, running_variance = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = random(rng, *shape)
        mean, variance = exact(x).mean(axes), exact(x).var(axes)
        running_mean = 0.99 * running_mean + 0.01 * mean
        running_variance = 0.99 * running_variance + 0.01 * variance
        y, state = forward(net, params, state, x)
        close(y, scale * (exact(x) - mean) / np.sqrt(variance + 1e-3) + bias, rtol=1e-4, atol=1e-4)
        close(state, {"mean": running_mean, "variance": running_variance})
    expected = scale * (exact(x) - running_mean) / np.sqrt(running_variance + 1e-3) + bias
    close(apply(net, params, x, state), expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_of_other_hyperparameters():
    net = fnet.batch_norm(momentum=0.5, epsilon=3.0)
    params, state = fnet.init(net, jax.random.key(0), (1,)), fnet.init_state(net, (1,))
    y, state = fnet.forward(net, params, state, [[5.0], [3.0]])
    close(y, np.array([[0.5], [-0.5]]))
    close(state, {"mean": np.array([2.0]), "variance": np.array([1.0])})


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3)])
def test_layer_norm(shape, rng):
    net, x = fnet.layer_norm(), random(rng, *shape)
    params = {"scale": random(rng, 3), "bias": random(rng, 3)}
    mean, variance = exact(x).mean(-1, keepdims=True), exact(x).var(-1, keepdims=True)
    expected = (exact(x) - mean) / np.sqrt(variance + 1e-3)
    expected = exact(params["scale"]) * expected + exact(params["bias"])
    close(apply(net, params, x), expected, rtol=1e-4, atol=1e-4)
    close(forward(net, params, {}, x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_scale, use_bias", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize(
    "build", [fnet.batch_norm, fnet.layer_norm, functools.partial(fnet.group_norm, 1)]
)
def test_norms_without_scale_or_bias(build, use_scale, use_bias, rng):
    """They are those with a scale of 1 or a bias of 0."""
    net, x, key = build(use_scale=use_scale, use_bias=use_bias), random(rng, 5, 3), None
    names = ["scale"] * use_scale + ["bias"] * use_bias
    assert sorted(fnet.init(net, jax.random.key(0), (3,))) == sorted(names)
    params, state = {name: random(rng, 3) for name in names}, fnet.init_state(net, (3,))
    whole = {"scale": jnp.ones(3), "bias": jnp.zeros(3)} | params
    close(outputs(net, params, state, x, key), outputs(build(), whole, state, x, key))


def test_rms_norm_without_scale(rng):
    net, x = fnet.rms_norm(use_scale=False), random(rng, 5, 3)
    assert fnet.init(net, jax.random.key(0), (3,)) == {}
    close(fnet.apply(net, {}, x), fnet.apply(fnet.rms_norm(), {"scale": jnp.ones(3)}, x))


def test_prelu(rng):
    x, alpha = random(rng, 5, 2, 3), random(rng, 1, 3)
    expected = np.where(exact(x) > 0, exact(x), exact(alpha)[None] * exact(x))
    close(fnet.apply(fnet.prelu((1,)), {"alpha": alpha}, x), expected)
    assert fnet.init(fnet.prelu(), jax.random.key(0), (2, 3))["alpha"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"^`shared_axes` of prelu must be a tuple of integers of"):
        fnet.prelu((0,))
    with pytest.raises(ValueError, match=r"^prelu: expected samples with the axes \(2,\), counted"):
        fnet.output_shape(fnet.prelu((2,)), (3,))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_norms_do_not_overflow_in_half_precision(dtype):
    params = {"scale": jnp.ones(1, dtype), "bias": jnp.zeros(1, dtype)}
    net, x = fnet.batch_norm(), jnp.array([[400], [-400]], dtype)
    y, state = fnet.forward(net, params, {"mean": jnp.zeros(1), "variance": jnp.ones(1)}, x)
    close(exact(y), np.array([[1.0], [-1.0]]))
    close(state, {"mean": np.zeros(1), "variance": np.array([1600.99])}, rtol=1e-2)
    params = {"scale": jnp.ones(2, dtype), "bias": jnp.zeros(2, dtype)}
    close(exact(fnet.apply(fnet.layer_norm(), params, x.T)), np.array([[1.0, -1.0]]))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout(rate, key, rng):
    net, x, n = fnet.dropout(rate), random(rng, 100, 100), 10_000
    y, _ = forward(net, {}, {}, x, key)
    dropped = y == 0
    assert abs(int(dropped.sum()) - rate * n) < 5 * math.sqrt(n * rate * (1 - rate))
    close(y, np.where(dropped, 0, exact(x) / (1 - rate)))
    chex.assert_trees_all_equal(apply(net, {}, x), x)
    chex.assert_trees_all_equal(forward(net, {}, {}, x, key)[0], y)
    assert (dropped != (forward(net, {}, {}, x, jax.random.fold_in(key, 1))[0] == 0)).any()


def test_dropout_of_nothing_needs_no_key():
    x = jnp.ones((2, 3))
    chex.assert_trees_all_equal(fnet.forward(fnet.dropout(0), {}, {}, x)[0], x)


@pytest.mark.parametrize(
    "net, expected",
    [
        (fnet.rescale(1 / 255), [0.0, 0.2, 1.0]),
        (fnet.rescale(1 / 127.5, offset=-1), [-1.0, -0.6, 1.0]),
        (fnet.rescale(2), [0.0, 102.0, 510.0]),
    ],
)
def test_rescale_of_bytes(net, expected):
    y = fnet.apply(net, {}, np.array([[0, 51, 255]], np.uint8))
    assert y.dtype == jnp.float32
    close(y, np.array([expected]))


def test_reshape_and_flatten_go_row_by_row():
    x = np.arange(24).reshape(2, 3, 4)
    chex.assert_trees_all_equal(fnet.apply(fnet.flatten, {}, x), np.arange(24).reshape(2, 12))
    for shape in [(2, 2, 3), (2, -1, 3), (-1, 2, 3)]:
        y = fnet.apply(fnet.reshape(shape), {}, x)
        chex.assert_trees_all_equal(y, np.arange(24).reshape(2, 2, 2, 3))


def test_combinators(rng):
    f, g, x = fnet.dense(3), fnet.dense(3, use_bias=False), random(rng, 2, 3)
    kernel, kernel_1, bias = random(rng, 3, 3), random(rng, 3, 3), random(rng, 3)
    params = {"dense": {"kernel": kernel, "bias": bias}, "dense_1": {"kernel": kernel_1}}
    fx, gx = exact(x) @ exact(kernel) + exact(bias), exact(x) @ exact(kernel_1)
    for net, expected in [
        (fnet.sequential(f, g), fx @ exact(kernel_1)),
        (fnet.residual(f, g), exact(x) + fx @ exact(kernel_1)),
        (fnet.parallel(f, g), np.concatenate([fx, gx], axis=-1)),
        (fnet.parallel(f, g, merge=sum), fx + gx),
    ]:
        close(apply(net, params, x), expected, rtol=1e-4, atol=1e-4)


def logistic(x):
    return 1 / (1 + np.exp(-x))


SELU = {"scale": 1.0507009873554805, "alpha": 1.6732632423543772}
FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: SELU["scale"] * np.where(x > 0, x, SELU["alpha"] * np.expm1(x)),
    "gelu": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "soft_sign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "sigmoid": logistic,
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "glu": lambda x: x[..., :4] * logistic(x[..., 4:]),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
}


@pytest.mark.parametrize("function", ACTIVATIONS, ids=lambda function: function.__name__)
def test_activations(function):
    x = np.array([[-20.0, -3.0, -1.0, -0.5, 0.0, 0.5, 2.0, 7.0]])
    close(apply(function, {}, x), FORMULAS[function.__name__](x))


def test_activations_take_bytes_as_the_numbers_they_are():
    x = np.array([[0, 1, 2, 200]], np.uint8)

    @jax.jit
    def each(x):
        return {function.__name__: function(x) for function in ACTIVATIONS}

    close(jax.tree.map(exact, each(x)), jax.tree.map(exact, each(x.astype(np.float32))))


def test_slopes_are_finite_far_out():
    x = jnp.array([-1e4, -1e2, 0.0, 0.0, 0.0, 1.0, 1e2, 1e4])
    slope = jax.grad(lambda x, function: function(x).sum())
    slopes = jax.jit(lambda x: {f.__name__: slope(x, f) for f in ACTIVATIONS})
    chex.assert_tree_all_finite(slopes(x))


@pytest.mark.parametrize(
    "function, edges",
    [
        (functools.partial(fnet.celu, alpha=2.0), {-2.0: math.exp(-1), 0.0: 1, 3.0: 1}),
        (functools.partial(fnet.elu, alpha=2.0), {-1.0: 2 * math.exp(-1), 3.0: 1}),
        (functools.partial(fnet.leaky_relu, negative_slope=0.2), {-1.0: 0.2, 0.0: 1, 1.0: 1}),
        (fnet.hard_sigmoid, {-4.0: 0, 0.0: 1 / 6, 4.0: 0}),
        (fnet.hard_tanh, {-2.0: 0, 0.0: 1, 2.0: 0}),
        (fnet.relu, {-1.0: 0, 0.0: 0, 1.0: 1}),
        (fnet.relu6, {-1.0: 0, 0.0: 0, 1.0: 1, 6.0: 0, 7.0: 0}),
        (fnet.selu, {0.0: SELU["scale"] * SELU["alpha"], 1.0: SELU["scale"]}),
        (fnet.silu, {0.0: 0.5, 1e4: 1, -1e4: 0}),
        (fnet.softplus, {0.0: 0.5, 1e4: 1, -1e4: 0}),
        (fnet.soft_sign, {0.0: 1, 1.0: 0.25}),
        (fnet.log_sigmoid, {0.0: 0.5, 1e4: 0, -1e4: 1}),
    ],
)
def test_slopes_at_the_edges(function, edges):
    close(jax.vmap(jax.grad(function))(jnp.array(list(edges))), np.array(list(edges.values())))


# Initialisers: variance as a function of fan_in and fan_out, and the largest value in deviations.

SHAPE = FAN_IN, FAN_OUT = 200, 300
CUT = 2 / 0.87962566103423978  # of a normal cut at 2 and given its deviation back


@pytest.mark.parametrize(
    "initializer, variance, bound",
    [
        (initializers.glorot_uniform, 2 / (FAN_IN + FAN_OUT), math.sqrt(3)),
        (initializers.glorot_normal, 2 / (FAN_IN + FAN_OUT), CUT),
        (initializers.he_uniform, 2 / FAN_IN, math.sqrt(3)),
        (initializers.he_normal, 2 / FAN_IN, CUT),
        (initializers.lecun_uniform, 1 / FAN_IN, math.sqrt(3)),
        (initializers.lecun_normal, 1 / FAN_IN, CUT),
        (initializers.variance_scaling, 1 / FAN_IN, CUT),
        (
            functools.partial(
                initializers.variance_scaling, scale=3.0, mode="fan_avg", distribution="uniform"
            ),
            6 / (FAN_IN + FAN_OUT),
            math.sqrt(3),
        ),
        (
            functools.partial(initializers.variance_scaling, mode="fan_out", distribution="normal"),
            1 / FAN_OUT,
            6,
        ),
        (initializers.normal, 0.01**2, 6),
        (initializers.truncated_normal, (0.02 / CUT) ** 2, CUT),
        (functools.partial(initializers.normal, stddev=2.0), 2.0**2, 6),
        (functools.partial(initializers.truncated_normal, stddev=2.0), (4 / CUT) ** 2, CUT),
    ],
)
def test_random_initializers(initializer, variance, bound, key):
    values = exact(initializer(key, SHAPE)) / math.sqrt(variance)
    assert abs(values.mean()) < 5 / math.sqrt(values.size)
    assert abs(values.var() - 1) < 0.03
    assert 0.97 * min(bound, 3.5) < np.abs(values).max() < bound * (1 + 1e-6)


def test_other_initializers(key):
    shape = (200, 300)
    values = exact(initializers.uniform(key, shape, scale=12))
    assert values.min() >= 0 and values.max() < 12
    assert abs(values.mean() - 6) < 0.1 and abs(values.var() - 12) < 0.4
    assert (initializers.zeros(key, shape) == 0).all()
    assert (initializers.ones(key, shape) == 1).all()
    assert (initializers.constant(key, shape, value=0.5) == 0.5).all()
    eye = initializers.identity(key, (2, 3), gain=2.0)
    chex.assert_trees_all_equal(eye, jnp.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    with pytest.raises(
        ValueError, match=r"^`shape` of identity must be that of a matrix, got \(2,"
    ):
        initializers.identity(key, (2, 3, 3))
    for name in ("mode", "distribution"):
        with pytest.raises(ValueError, match=f"^`{name}` of variance_scaling must be one of .*'a'"):
            initializers.variance_scaling(key, shape, **{name: "a"})
    for shape in [(4, 6), (6, 4)]:
        q = exact(initializers.orthogonal(key, shape, gain=3.0)) / 3
        close(q @ q.T if shape[0] < shape[1] else q.T @ q, np.eye(4))


def test_layers_use_the_initializers_they_are_given(key):
    net = fnet.dense(3, kernel_init=initializers.ones, bias_init=initializers.ones)
    close(fnet.init(net, key, (2,)), {"kernel": np.ones((2, 3)), "bias": np.ones(3)})
    default = fnet.init(fnet.dense(300), key, (200,))
    assert (default["bias"] == 0).all()
    bound = math.sqrt(6 / 500)
    assert 0.97 * bound < jnp.abs(default["kernel"]).max() < bound
