"""Random models of random shapes and dtypes go through everything a run is, and the laws hold."""

import dataclasses
import inspect
import math
import os
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from problems import bits
from tables import ACTIVATIONS, LAYERS

import fnet
from fnet.core.errors import LayerError
from fnet.layers.base import Custom, Function, as_layer
from fnet.training.precision import cast_floats

BATCH, STEPS = 4, 2
DTYPES = ["float32", "bfloat16", "uint8", "int32"]
sizes = st.integers(1, 3)
windows = st.lists(sizes, min_size=1, max_size=3).map(tuple)
paddings = st.sampled_from(["valid", "same"])
simple = [*ACTIVATIONS, fnet.flatten, fnet.global_avg_pool, fnet.rescale(0.5, offset=-1)]
simple += [fnet.batch_norm(), fnet.layer_norm(), fnet.rms_norm()]
simple += [
    fnet.dropout(0.5),
    fnet.random_noise(0.1),
    fnet.random_shift(1),
    fnet.learned_positions(),
    fnet.sinusoidal_positions,
    fnet.prelu(),
    fnet.global_max_pool,
]
parts = st.one_of(
    st.sampled_from(simple),
    st.builds(fnet.dense, sizes, use_bias=st.booleans()),
    st.builds(fnet.embedding, st.just(256), sizes),
    st.builds(fnet.reshape, st.lists(st.sampled_from([-1, 1, 2, 3]), min_size=1, max_size=3)),
    st.builds(fnet.group_norm, sizes),
    st.builds(fnet.attention, sizes, causal=st.booleans(), rotary=st.booleans()),
    st.builds(fnet.gru, sizes, return_sequences=st.booleans()),
    st.builds(fnet.bidirectional, st.builds(fnet.lstm, sizes, return_sequences=st.booleans())),
    st.builds(fnet.conv, sizes, windows, sizes, paddings, dilation=sizes),
    st.builds(fnet.conv, st.just(4), windows, groups=sizes.map(lambda n: 2 ** (n - 1))),
    st.builds(fnet.conv_transpose, sizes, windows, sizes, paddings),
    st.builds(fnet.depthwise_conv, windows, sizes, paddings, depth_multiplier=sizes),
    st.builds(fnet.max_pool, windows, sizes, paddings),
    st.builds(fnet.avg_pool, windows, sizes, paddings),
)


def shape_after(net, in_shape):
    """What comes out of the model, or None if it cannot take this shape; it says so in words."""
    try:
        return fnet.output_shape(net, in_shape)
    except LayerError as error:
        assert ": expected " in str(error) and ", got " in str(error)


@st.composite
def layers(draw, in_shape, depth):
    """Layers that take this shape one after the other, and the shape that comes out of them."""
    chosen = []
    for _ in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from(["part"] * 3 + ["nested"] * (depth > 0)))
        net = draw(parts if kind == "part" else nested(in_shape, depth - 1))
        if (out_shape := shape_after(net, in_shape)) is not None:
            chosen.append(net)
            in_shape = out_shape
    return chosen


@st.composite
def nested(draw, in_shape, depth):
    inside = draw(layers(in_shape, depth))
    match draw(st.sampled_from(["sequential", "residual", "parallel", "remat", "scan_layers"])):
        case "sequential":
            return fnet.sequential(*inside)
        case "residual":
            return fnet.residual(*inside, *draw(back_to(inside, in_shape)))
        case "parallel":
            return fnet.parallel(*inside, fnet.sequential(*draw(layers(in_shape, depth))))
        case "remat":
            return fnet.remat(fnet.sequential(*inside))
        case "scan_layers":
            return fnet.scan_layers(fnet.sequential(*inside, *draw(back_to(inside, in_shape))), 2)


def back_to(inside, in_shape):
    """What brings the shape back to `in_shape`, or nothing, which a skip connection may refuse."""
    way = (fnet.flatten, fnet.dense(math.prod(in_shape)), fnet.reshape(in_shape))
    return st.sampled_from([(), way])


@st.composite
def problems(draw):
    in_shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return fnet.sequential(*draw(layers(in_shape, 2))), in_shape, draw(st.sampled_from(DTYPES))


def start(net, in_shape, dtype):
    """A state whose parameters are in few bits where the input is."""
    state = fnet.train_state(net, "adam", jax.random.key(0), in_shape)
    if dtype != "bfloat16":
        return state
    params = cast_floats(state.params, dtype)
    return dataclasses.replace(state, params=params, opt_state=state.optimizer.init(params))


def check_laws(problem):
    net, in_shape, dtype = problem
    out_shape = fnet.output_shape(net, in_shape)
    random = np.random.default_rng(0)
    x = jnp.asarray(random.integers(0, 5, (BATCH, *in_shape)).astype(dtype))
    y = np.zeros((BATCH, *out_shape), np.float32)
    state = start(net, in_shape, dtype)
    before = jax.tree.map(np.array, bits(state))

    chex.assert_shape(fnet.predict(net, state, x), (BATCH, *out_shape))
    trained, history = fnet.train(
        fnet.supervised(net, "mean_squared_error"),
        state,
        (x, y),
        epochs=1,
        batch_size=BATCH // STEPS,
    )
    assert int(trained.step) == STEPS and history["loss"].shape == (1,)
    chex.assert_trees_all_equal(bits(state), before)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.safetensors")
        fnet.save(path, trained)
        restored = fnet.load(path, like=state)
    chex.assert_trees_all_equal_shapes_and_dtypes(bits(trained), bits(restored), bits(state))
    for came, saved in zip(*map(jax.tree.leaves, map(bits, (restored, trained))), strict=True):
        assert np.asarray(came).tobytes() == np.asarray(saved).tobytes()


@pytest.fixture(autouse=True)
def promotion():
    """Dtypes promoted as they are for users: integers beside floats are floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


common = settings(
    deadline=None,
    database=None,
    phases=(Phase.generate,),  # a failure is shown as it came: shrinking would compile for hours
    suppress_health_check=list(HealthCheck),
)


def test_the_tables_hold_every_public_layer():
    rows = [as_layer(row.factory(), row.name) for row in LAYERS]
    held = {row.function if isinstance(row, Function) else type(row) for row in rows}
    public = {name: value for name, value in vars(fnet.layers).items() if callable(value)}
    public = {name: value for name, value in public.items() if not inspect.isabstract(value)}
    public["layer"] = Custom
    assert [name for name, value in public.items() if value not in held] == []


@settings(common, max_examples=8, derandomize=True)
@given(problems())
def test_random_models(problem):
    check_laws(problem)


@pytest.mark.soak
@pytest.mark.parametrize("part", [1, 2])  # for two cores
def test_many_random_models(part, figures):
    many = 12

    @settings(common, max_examples=many)
    @given(problems())
    def check(problem):
        check_laws(problem)

    check()
    what = "random models with random shapes and dtypes: init, predict, train, save and load"
    figures(f"{what}, {part} of 2", f"{many} of {many} without a crash, all laws held")
