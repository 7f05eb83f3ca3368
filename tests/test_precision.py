"""Mixed precision: passes in few bits; parameters, losses and updates in many."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import LOSS, bits, classifier, images, start, task
from tables import LAYERS

import fnet
from fnet.layers.base import is_shape, map_shapes
from fnet.layers.wrappers import map_layers
from fnet.training.precision import Rounded

DATA, VALIDATION = images(50), images(20, seed=1)
RUN = {"epochs": 2, "batch_size": 8}
NET = fnet.sequential(
    fnet.rescale(1 / 255), fnet.flatten, fnet.dense(3), fnet.batch_norm(), fnet.softmax
)


HALF = task(NET, compute_dtype="bfloat16")


def equal(a, b) -> None:
    chex.assert_trees_all_equal(bits(a), bits(b))


@pytest.fixture(scope="module")
def trained():
    return fnet.train(HALF, start(NET), DATA, validation=VALIDATION, **RUN)


def test_every_product_of_both_passes_is_in_the_compute_dtype():
    state, batch = start(), tuple(a[:8] for a in DATA)
    for options, dtype in (({"compute_dtype": "bfloat16"}, "bf16"), ({}, "f32")):
        step = fnet.train_step(fnet.supervised(classifier(), LOSS, **options))
        found = re.findall(
            r"(\w+)\[[\d,]*\] = dot_general", str(jax.make_jaxpr(step)(state, batch))
        )
        assert len(found) >= 3  # two layers, and the kernel of the second one twice backwards
        assert set(found) == {dtype}


def test_parameters_statistics_and_losses_stay_in_float32(trained):
    state, history = trained
    chex.assert_trees_all_equal_shapes_and_dtypes(bits(state), bits(start(NET)))
    for name in ("loss", "accuracy", "val_loss"):
        chex.assert_type(history[name], jnp.float32)


def test_a_step_is_that_of_float32_but_for_rounding():
    state = start(NET, fnet.sgd(1.0))
    (half, logs), (whole, exact) = (
        jax.jit(fnet.train_step(given))(state, DATA) for given in (HALF, task(NET))
    )
    np.testing.assert_allclose(logs["loss"], exact["loss"], rtol=2e-2)
    chex.assert_trees_all_close(half.params, whole.params, atol=1e-2)
    assert logs["loss"] != exact["loss"]


def test_small_updates_are_not_lost():
    """0.001 is below the spacing of bfloat16 at 1: master weights add it up all the same."""
    net = fnet.layer(lambda key, in_shape: (jnp.ones(()), in_shape), lambda p, x: p * x)
    state = fnet.train_state(net, fnet.sgd(1e-3), jax.random.key(0), (1,))
    step = jax.jit(fnet.train_step(fnet.supervised(net, lambda y, p: p[:, 0])))
    for _ in range(5):
        state, _ = step(state, (jnp.ones((1, 1)), jnp.ones(1)))
    assert float(state.params) == pytest.approx(0.995, abs=1e-5)


def test_fit_is_train_bit_for_bit(trained):
    fitted = fnet.fit(HALF, start(NET), DATA, validation=VALIDATION, progress=False, **RUN)
    equal(fitted, trained)


def test_validation_is_what_evaluate_gives(trained):
    state, history = trained
    logs = fnet.evaluate(
        fnet.supervised(NET, LOSS),
        state,
        VALIDATION,
    )
    np.testing.assert_allclose(history["val_loss"][-1], logs["loss"], rtol=1e-6)


def test_many_members_compute_in_it_too(trained):
    states = fnet.grid(seed=[0, 1]).states(NET, "adam", (4, 4))
    state, _ = fnet.train_many(HALF, states, DATA, form="map", **RUN)
    first = jax.tree.map(lambda leaf: leaf[0], state.params)
    chex.assert_trees_all_close(first, trained[0].params, rtol=2e-2, atol=2e-2)


def test_one_value_of_it_is_one_program(compilations):
    for compute_dtype in ("bfloat16", jnp.bfloat16, jnp.dtype("bfloat16")):
        fnet.train(task(NET, compute_dtype=compute_dtype), start(NET), DATA, **RUN)
        if compute_dtype == "bfloat16":
            compilations.clear()
    assert not compilations


def joined(y):
    return jnp.concatenate(jax.tree.leaves(y), -1)


@pytest.mark.parametrize("row", LAYERS, ids=lambda row: row.name)
def test_every_layer_computes_in_it(row):
    """From parameters and an input of that dtype, with no promotion that is not written."""
    net = row.factory()
    if not is_shape(fnet.output_shape(net, row.in_shape)):
        net = fnet.sequential(net, joined)

    def mean(y, p):
        return p.astype(float).reshape(len(p), -1).mean(1)

    state = jax.eval_shape(lambda: fnet.train_state(net, "sgd", jax.random.key(0), row.in_shape))
    step = fnet.train_step(fnet.supervised(net, mean, compute_dtype="bfloat16"))
    dtype = jnp.int32 if row.ids else jnp.float32
    x = map_shapes(lambda shape: jax.ShapeDtypeStruct((2, *shape), dtype), row.in_shape)
    after, logs = jax.eval_shape(step, state, (x, jnp.ones(2)))
    chex.assert_trees_all_equal_shapes_and_dtypes(bits(after.params), bits(state.params))
    assert logs["loss"].dtype == jnp.float32


def test_the_twin_has_the_names_and_the_trees_of_the_model():
    twin = map_layers(classifier(), lambda layer: Rounded(layer, jnp.dtype("bfloat16")))
    assert [name for name, _ in twin.named()] == [name for name, _ in classifier().named()]
    assert twin == map_layers(classifier(), lambda layer: Rounded(layer, jnp.dtype("bfloat16")))


def test_overflow_in_few_bits_is_explained():
    """65,520 is infinite in float16, and fine in float32."""
    net = fnet.sequential(fnet.rescale(1000), fnet.dense(1))
    state = fnet.train_state(net, fnet.sgd(1e-9), jax.random.key(0), (2,))
    data = np.full((8, 2), 100, np.float32), np.zeros((8, 1), np.float32)
    with pytest.warns(RuntimeWarning, match="rescale: gives what is not finite from an input of"):
        half = fnet.supervised(net, "mean_squared_error", compute_dtype="float16")
        fnet.fit(half, state, data, batch_size=8, progress=False)


@pytest.mark.parametrize("bad", ["int8", "bfloat", 16, jnp.int32])
def test_refuses_what_is_no_floating_dtype(bad):
    with pytest.raises(TypeError, match=r"^`compute_dtype` must be a floating dtype, got .* Write"):
        fnet.train_step(fnet.supervised(classifier(), LOSS, compute_dtype=bad))


@pytest.mark.parametrize("norm", [fnet.group_norm(1), fnet.layer_norm(), fnet.batch_norm()])
def test_statistics_of_inputs_beyond_float16_are_those_of_float32(norm):
    """70,000 is infinite in float16; what a normalization makes of it is not."""
    net = fnet.sequential(norm, fnet.dense(1))
    x = np.random.default_rng(0).uniform(-70_000, 70_000, (8, 4)).astype(np.float32)
    state = fnet.train_state(net, "sgd", jax.random.key(0), (4,))
    half = fnet.supervised(net, "mean_squared_error", compute_dtype="float16")
    _, logs = jax.jit(fnet.train_step(half))(state, (x, np.ones((8, 1), np.float32)))
    _, exact = jax.jit(fnet.train_step(fnet.supervised(net, "mean_squared_error")))(
        state, (x, np.ones((8, 1), np.float32))
    )
    np.testing.assert_allclose(logs["loss"], exact["loss"], rtol=1e-2)
