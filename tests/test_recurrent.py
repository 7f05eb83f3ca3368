"""Recurrent layers against loops in float64 and against outputs and gradients of Keras.

data/recurrent/known.safetensors is written by data/recurrent/make.py.
"""

import functools
import pathlib
import re
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from safetensors.numpy import load_file
from tables import Leaky

import fnet

KNOWN = load_file(pathlib.Path(__file__).parent / "data" / "recurrent" / "known.safetensors")
X, MASK = KNOWN["x"], KNOWN["mask"]
MASKED = {"x": X, "mask": MASK}
SHAPES = {"x": X.shape[1:], "mask": MASK.shape[1:]}
BUILD = {"simple_rnn": fnet.simple_rnn, "lstm": fnet.lstm, "gru": fnet.gru}
close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-5)
equal = chex.assert_trees_all_equal


@functools.partial(jax.jit, static_argnums=0)
def apply(net, params, x):
    return fnet.apply(net, params, x)


def build(name, **options):
    *both, kind = name.split("/")
    layer = BUILD[kind](2, **options)
    return fnet.bidirectional(layer) if both else layer


def weights(name, what="weights"):
    arrays = [KNOWN[key] for key in sorted(KNOWN) if re.fullmatch(rf"{name}/{what}/\d", key)]
    trees = [
        dict(zip(("kernel", "recurrent_kernel", "bias"), arrays[i : i + 3], strict=True))
        for i in range(0, len(arrays), 3)
    ]
    return trees[0] if len(trees) == 1 else {"forward": trees[0], "backward": trees[1]}


def exact(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@pytest.mark.parametrize("name", [*BUILD, "bidirectional/lstm"])
def test_outputs_and_gradients_are_those_of_keras(name):
    nets = {form: build(name, return_sequences=form == "all") for form in ("last", "all")}

    def run(net, params, x):
        def loss(params, x):
            y = fnet.apply(net, params, {"x": x, "mask": MASK})
            return jnp.square(y).sum(), y

        (_, y), slopes = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        return fnet.apply(net, params, x), y, slopes

    def expected(form):
        case = f"{name}/{form}/masked"
        slopes = weights(case, "slope"), KNOWN[f"{case}/slope/x"]
        return KNOWN[f"{name}/{form}/y"], KNOWN[f"{case}/y"], slopes

    outputs = jax.jit(lambda *both: {form: run(net, *both) for form, net in nets.items()})
    close(outputs(weights(name), X), {form: expected(form) for form in nets})


@pytest.mark.parametrize("name", BUILD)
def test_outputs_are_those_of_the_formula(name):
    net, params = build(name, return_sequences=True), weights(name)
    formula = functools.partial(reference.recurrent, getattr(reference, name), exact(X))
    plain, masked, backward = (
        formula(exact(params), **options) for options in ({}, {"mask": MASK}, {"reverse": True})
    )

    @jax.jit
    def outputs(params):
        both = {"forward": params, "backward": params}
        return {
            "plain": fnet.apply(net, params, X),
            "masked": fnet.apply(net, params, MASKED),
            "last": fnet.apply(build(name), params, MASKED),
            "both": fnet.apply(fnet.bidirectional(net), both, X),
        }

    expected = {"plain": plain, "masked": masked, "last": masked[:, -1]}
    close(outputs(params), expected | {"both": np.concatenate([plain, backward], -1)})


def test_one_step_of_an_lstm_by_hand():
    params = {"kernel": jnp.array([[0.0, 0.0, 1.0, 0.0]]), "recurrent_kernel": jnp.zeros((1, 4))}
    y = fnet.apply(fnet.lstm(1, use_bias=False), params, jnp.full((1, 1, 1), 0.5))
    assert float(y[0, 0]) == pytest.approx(0.5 * np.tanh(0.5 * np.tanh(0.5)), rel=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_padding_changes_nothing(dtype):
    """A sequence beside longer ones gives what it gives alone, whatever its padding holds."""
    net, params = build("bidirectional/lstm"), weights("bidirectional/lstm")
    padded = np.where(np.arange(5)[None, :, None] < 3, X, 99)
    mask = (np.arange(5)[None] < 3).repeat(2, 0).astype(dtype)
    close(apply(net, params, {"x": padded, "mask": mask}), apply(net, params, X[:, :3]))


def test_trees_and_starts_are_those_of_keras(key):
    def shapes(net):
        params = jax.eval_shape(lambda: fnet.init(net, key, SHAPES))
        return jax.tree.map(jnp.shape, params)

    for gates, (name, make) in zip((1, 4, 3), BUILD.items(), strict=True):
        rnn = {"kernel": (3, 2 * gates), "recurrent_kernel": (2, 2 * gates), "bias": (2 * gates,)}
        rnn["bias"] = (2, 6) if name == "gru" else rnn["bias"]
        assert shapes(make(2)) == rnn
        assert shapes(fnet.bidirectional(make(2))) == {"forward": rnn, "backward": rnn}
    params, both = jax.jit(
        lambda: (
            fnet.lstm(4).init(key, (5, 3))[0],
            fnet.bidirectional(fnet.gru(2)).init(key, (5, 3))[0],
        )
    )()
    equal(params["bias"], jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), 4))
    recurrent = params["recurrent_kernel"]
    close(recurrent @ recurrent.T, np.eye(4), atol=1e-5)
    assert jnp.abs(params["kernel"]).max() <= np.sqrt(6 / (3 + 16))
    assert (both["forward"]["kernel"] != both["backward"]["kernel"]).all()


def test_a_cell_of_ones_own():
    """A moving average: with a mask, and in both directions, by hand."""
    net = fnet.recurrent(Leaky(0.5), return_sequences=True)
    x, params = jnp.array([[[4.0], [8.0], [2.0]]]), {"scale": jnp.ones(1)}
    equal(fnet.apply(net, params, x)[0, :, 0], jnp.array([2.0, 5.0, 3.5]))
    y = apply(net, params, {"x": x, "mask": jnp.array([[1, 0, 1]])})
    equal(y[0, :, 0], jnp.array([2.0, 2.0, 2.0]))
    both = fnet.bidirectional(fnet.recurrent(Leaky(0.5), return_sequences=True))
    y = apply(both, {"forward": params, "backward": params}, x)
    equal(y[0, :, 1], jnp.array([4.25, 4.5, 1.0]))
    gru, params = fnet.recurrent(fnet.gru(2)), weights("gru")
    equal(apply(gru, params, MASKED), apply(fnet.gru(2), params, MASKED))


@pytest.mark.parametrize("name", BUILD)
def test_inputs_are_projected_ahead_of_the_loop_except_on_a_cpu(name, monkeypatch):
    net, params = build(name), weights(name)

    def projected_ahead():
        program = str(jax.make_jaxpr(lambda x: fnet.apply(net, params, x))(X))
        return f"f32[5,2,{params['kernel'].shape[1]}] = dot_general[" in program

    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert not projected_ahead()
    within = fnet.apply(net, params, MASKED)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert projected_ahead()
    close(fnet.apply(net, params, MASKED), within)


@pytest.mark.parametrize("name", BUILD)
def test_bfloat16_is_close(name):
    net, params = build(name), weights(name)
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), (params, X))
    y = apply(net, *narrow)
    assert y.dtype == jnp.bfloat16
    close(y.astype(float), apply(net, params, X), atol=0.05)
    assert apply(net, params, np.ones((1, 2, 3), np.uint8)).dtype == jnp.float32


# Where recurrent layers are used.

LETTERS = np.random.default_rng(0).integers(0, 4, (32, 6))
DATA = LETTERS, LETTERS[:, 0]  # which letter came first, six steps ago


def remembers(wrap=lambda layer: layer):
    lstm = wrap(fnet.lstm(8))
    return fnet.sequential(fnet.embedding(4, 4), lstm, fnet.dense(4), fnet.softmax)


def task(net, **options):
    return fnet.supervised(net, "sparse_categorical_crossentropy", **options)


def test_lstms_learn_in_one_program(key):
    states = fnet.grid(seed=[0, 1]).states(remembers(), fnet.adam(0.05), (6,))
    run = {"epochs": 60, "batch_size": 32}
    _, history = fnet.train_many(task(remembers()), states, DATA, form="vmap", **run)
    assert (history["loss"][:, -1] < 0.1).all()


def test_remat_and_compute_dtype_keep_the_gradient(key):
    params = fnet.init(remembers(), key, (6,))

    def slopes(net, **options):
        def loss(params):
            return task(net, **options).loss(params, {}, DATA, key)[0]["loss"].mean()

        return jax.value_and_grad(loss)(params)

    @jax.jit
    def each():
        half = slopes(remembers(), compute_dtype=jnp.bfloat16)
        return slopes(remembers()), slopes(remembers(fnet.remat)), half

    plain, again, half = each()
    close(again, plain)
    close(half, plain, rtol=3e-2, atol=3e-3)


def flops(net, in_shape):
    return int(fnet.summary(net, in_shape).splitlines()[-1].split()[-1].replace(",", ""))


def test_summary_counts_every_time_step():
    a_step = 2 * 4 * 32 * (16 + 32)
    assert flops(fnet.lstm(32), (2, 16)) == 2 * a_step
    assert flops(fnet.lstm(32), (20, 16)) == 20 * a_step
    assert flops(fnet.bidirectional(fnet.lstm(32)), (20, 16)) == 2 * 20 * a_step


# What is refused.


def refused(message, error=ValueError):
    return pytest.raises(error, match="^" + re.escape(message))


@dataclass(frozen=True)
class Widening(Leaky):
    def step(self, params, carry, x):
        return {"mean": jnp.concatenate([carry["mean"], x], -1)}, x


@pytest.mark.parametrize(
    "build, error, message",
    [
        (lambda: fnet.lstm(0), ValueError, "`units` of lstm must be an integer of at least 1, got"),
        (lambda: fnet.gru(2, unroll=0), ValueError, "`unroll` of gru must be an integer of at lea"),
        (lambda: fnet.recurrent(3), TypeError, "`cell` of recurrent must be a fnet.Cell, got 3. D"),
        (
            lambda: fnet.bidirectional(fnet.dense(3)),
            TypeError,
            "`layer` of bidirectional must be a recurrent layer, got a dense. Write bidirectional(",
        ),
    ],
)
def test_hyperparameters(build, error, message):
    with refused(message, error):
        build()


@pytest.mark.parametrize(
    "net, in_shape, message",
    [
        (
            fnet.lstm(2),
            (784,),
            "lstm: expected sequences (time, features), got samples of shape (7",
        ),
        (fnet.recurrent(Leaky(0.5)), (), "recurrent: expected sequences (time, ...), got samples"),
        (
            fnet.recurrent(Widening(0.5)),
            (3, 2),
            "recurrent: expected a step that keeps the shapes and dtypes of its carry, got {'mean'"
            ": 'float32(2, 4)'} from {'mean': 'float32(2, 2)'}. Return from `start` what `step`",
        ),
    ],
)
def test_samples(net, in_shape, message):
    for ask in (fnet.output_shape, fnet.summary):
        with pytest.raises((ValueError, TypeError), match="^" + re.escape(message)):
            ask(fnet.sequential(net), in_shape)


@pytest.mark.parametrize("net", [fnet.gru(2), fnet.bidirectional(fnet.gru(2))])
def test_masks_of_another_form(net, key):
    params = jax.eval_shape(lambda: fnet.init(net, key, (5, 3)))
    message = f"{net.name}: expected a mask with an entry for each of 5 time steps, got one of "
    message += "shape (4,) for samples of shape (5, 3)."
    with refused(message):
        fnet.output_shape(net, {"x": (5, 3), "mask": (4,)})
    with refused(message):
        jax.eval_shape(functools.partial(apply, net), params, {"x": X, "mask": MASK[:, :4]})
    with refused(
        f"{net.name}: expected a mask for each of 2 samples, got one of shape (1, 5). Pass x, or"
    ):
        jax.eval_shape(functools.partial(apply, net), params, {"x": X, "mask": MASK[:1]})
    with refused(
        f"{net.name}: expected the input ['mask', 'x'], got ['lengths', 'x']. Pass", TypeError
    ):
        jax.eval_shape(functools.partial(apply, net), params, {"x": X, "lengths": MASK})
    with refused(message.replace("5", "4").replace("(4,)", "(5,)")):
        jax.eval_shape(functools.partial(apply, net), params, {"x": X[:, :4], "mask": MASK})


def test_parameters_of_another_model(key):
    params = weights("lstm")
    with refused("lstm: expected input with 3 features in the last axis, got shape (2, 4)."):
        fnet.apply(fnet.sequential(fnet.lstm(2)), {"lstm": params}, X[..., [0, 1, 2, 0]])
    with refused("lstm: expected a recurrent_kernel of shape (3, 12), got (2, 8). Use the par"):
        fnet.apply(fnet.lstm(3), params, X)
    with refused("lstm: expected parameters ['kernel', 'recurrent_kernel'], got [", TypeError):
        fnet.apply(fnet.lstm(2, use_bias=False), params, X)
    with refused("bidirectional: expected parameters ['backward', 'forward'], got [", TypeError):
        fnet.apply(fnet.bidirectional(fnet.lstm(2)), params, X)
