"""Models of flax, equinox and haiku as layers: as in the library's own loop, in files, in words."""

import functools
import pickle
import re
import sys
from typing import NamedTuple

import chex
import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import fnet

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
KEY = jax.random.key(7)
X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
Y = np.stack([X[:, 0] * X[:, 1], X.sum(axis=1)], axis=1)
BATCH, EPOCHS = 8, 5
BATCHES = [(X[i : i + BATCH], Y[i : i + BATCH]) for i in range(0, len(X), BATCH)] * EPOCHS
OWN = optax.adam(1e-2)


@pytest.fixture(autouse=True)
def promotion():
    """The other libraries add numbers of different dtypes and ranks."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# No bias in front of the norms: its gradient is rounding alone, which adam would enlarge.


class OfLinen(nn.Module):
    width: int = 4

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Dense(self.width, use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.8)(x))
        return nn.Dense(2)(nn.Dropout(0.2, deterministic=not train)(x))


class OfNnx(nnx.Module):
    def __init__(self, width, *, rngs):
        first = nnx.Linear(3, width, use_bias=False, rngs=rngs)
        self.layers = nnx.List([first, nnx.Linear(width, 2, rngs=rngs)])
        self.norm = nnx.BatchNorm(width, momentum=0.8, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.layers[0](x)))
        return self.layers[1](self.dropout(x))


class OfEquinox(eqx.Module):
    layers: list[eqx.nn.Linear]
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    order: jax.Array

    def __init__(self, width, key):
        keys = jax.random.split(key)
        first = eqx.nn.Linear(3, width, use_bias=False, key=keys[0])
        self.layers = [first, eqx.nn.Linear(width, 2, key=keys[1])]
        self.norm = eqx.nn.BatchNorm(width, "batch", momentum=0.8, mode="ema")
        self.dropout = eqx.nn.Dropout(0.2)
        self.order = jnp.array([2, 0, 1])

    def __call__(self, x, state, key=None):
        x, state = self.norm(self.layers[0](x[self.order]), state)
        return self.layers[1](self.dropout(jax.nn.relu(x), key=key)), state


def of_haiku(x, is_training):
    x = hk.Linear(4, with_bias=False)(x)
    x = jax.nn.relu(hk.BatchNorm(True, True, 0.8)(x, is_training))
    return hk.Linear(2)(hk.dropout(hk.next_rng_key(), 0.2, x) if is_training else x)


OF_HAIKU = hk.transform_with_state(of_haiku)


def descend(loss, params, state):
    """The loop that users of optax write; `loss(params, state, x, y, key) -> loss, state`."""

    @jax.jit
    def step(params, state, opt_state, x, y, key):
        grads, state = jax.grad(loss, has_aux=True)(params, state, x, y, key)
        updates, opt_state = OWN.update(grads, opt_state)
        return optax.apply_updates(params, updates), state, opt_state

    opt_state = OWN.init(params)
    for (x, y), key in zip(BATCHES, step_keys(), strict=True):
        params, state, opt_state = step(params, state, opt_state, x, y, key)
    return params, state


def step_keys():
    """The keys of fnet's steps."""
    state = fnet.train_state(fnet.relu, "sgd", KEY, (3,))
    return [jax.random.fold_in(state.key, step) for step in range(len(BATCHES))]


def loop_of_linen():
    module = OfLinen()
    variables = module.init(KEY, X[:1], train=False)

    def loss(params, stats, x, y, key):
        variables = {"params": params, "batch_stats": stats}
        y_pred, changed = module.apply(
            variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return jnp.mean((y_pred - y) ** 2), changed["batch_stats"]

    params, stats = descend(loss, variables["params"], variables["batch_stats"])
    variables = {"params": params, "batch_stats": stats}
    return params, {"batch_stats": stats}, module.apply(variables, X, train=False)


def loop_of_nnx():
    model = OfNnx(4, rngs=nnx.Rngs(KEY))
    optimizer = nnx.Optimizer(model, OWN, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y, key):
        nnx.reseed(model, default=key)
        grads = nnx.grad(lambda model: jnp.mean((model(x) - y) ** 2))(model)
        optimizer.update(model, grads)

    model.train()
    for (x, y), key in zip(BATCHES, step_keys(), strict=True):
        step(model, optimizer, x, y, key)
    model.eval()
    layers, norm = model.layers, model.norm
    params = {
        "layers": {
            "0": {"kernel": layers[0].kernel[...]},
            "1": {"kernel": layers[1].kernel[...], "bias": layers[1].bias[...]},
        },
        "norm": {"scale": norm.scale[...], "bias": norm.bias[...]},
    }
    return params, {"norm": {"mean": norm.mean[...], "var": norm.var[...]}}, model(X)


def loop_of_equinox():
    model, state = eqx.nn.make_with_state(OfEquinox)(4, KEY)
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params, state, x, y, key):
        model = eqx.combine(params, static)
        mapped = jax.vmap(model, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))
        y_pred, state = mapped(x, state, jax.random.split(key, len(x)))
        return jnp.mean((y_pred - y) ** 2), state

    params, state = descend(loss, params, state)
    model = eqx.nn.inference_mode(eqx.combine(params, static))
    mapped = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    leaves = jax.tree.leaves(state)
    known = {
        "buffers": {"order": jnp.array([2, 0, 1])},
        "state": {"0": leaves[0], "1": {"0": leaves[1], "1": leaves[2]}},
    }
    own = {
        "layers": {
            "0": {"weight": model.layers[0].weight},
            "1": {"weight": model.layers[1].weight, "bias": model.layers[1].bias},
        },
        "norm": {"weight": model.norm.weight, "bias": model.norm.bias},
    }
    return own, known, mapped(X, state)[0]


def loop_of_haiku():
    def loss(params, state, x, y, key):
        y_pred, state = OF_HAIKU.apply(params, state, key, x, is_training=True)
        return jnp.mean((y_pred - y) ** 2), state

    params, state = OF_HAIKU.init(KEY, X[:1], is_training=True)
    params, state = descend(loss, params, state)
    return params, state, OF_HAIKU.apply(params, state, None, X, is_training=False)[0]


class Case(NamedTuple):
    """A model, made anew at each call, and the library's own loop over it."""

    net: object
    loop: object


CASES = {
    "linen": Case(lambda: fnet.from_flax(OfLinen()), loop_of_linen),
    "nnx": Case(lambda: fnet.from_flax(functools.partial(OfNnx, 4)), loop_of_nnx),
    "equinox": Case(lambda: fnet.from_equinox(functools.partial(OfEquinox, 4)), loop_of_equinox),
    "haiku": Case(lambda: fnet.from_haiku(OF_HAIKU), loop_of_haiku),
}
# What compiles a program of its own: here for the one with the most moving parts.
LONG = [pytest.param(name, marks=[pytest.mark.soak] * (name != "nnx")) for name in CASES]


def task_of(net):
    return fnet.supervised(net, "mean_squared_error")


def start_of(net, key=KEY):
    return fnet.train_state(net, fnet.adam(1e-2), key, (3,))


@functools.cache
def trained(name):
    net = CASES[name].net()
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "shuffle": False}
    return net, fnet.train(task_of(net), start_of(net), (X, Y), **settings)[0]


def assert_close(a, b, tolerance=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), a, b)


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_that_of_the_library_s_own_loop(name):
    net, state = trained(name)
    params, model_state, y = CASES[name].loop()
    assert_close(state.params, params)
    assert_close(state.model_state, model_state)
    assert_close(fnet.predict(net, state, X), y)


@pytest.mark.parametrize("name", CASES)
def test_a_rebuilt_model_is_equal_and_compiles_nothing(name, compilations):
    net, state = trained(name)
    fnet.predict(net, state, X)
    again = CASES[name].net()
    assert again == net
    assert hash(again) == hash(net)
    del compilations[:]
    fnet.predict(again, state, X)
    assert not compilations


@pytest.mark.parametrize("name", LONG)
def test_a_run_is_saved_and_resumed(name, tmp_path):
    net, expected = trained(name)
    settings = {"batch_size": BATCH, "shuffle": False, "progress": False}
    keep = fnet.Checkpoints(tmp_path, keep=1)
    task = task_of(net)
    fnet.fit(task, start_of(net), (X, Y), epochs=2, callbacks=[keep], **settings)
    state, _ = fnet.fit(
        task, start_of(net), (X, Y), epochs=EPOCHS, callbacks=[keep], resume="auto", **settings
    )
    assert_close(state.params, expected.params, 1e-6)
    assert_close(state.model_state, expected.model_state, 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_its_state_and_weights_are_files(name, tmp_path):
    net, state = trained(name)
    path, like = tmp_path / "file.safetensors", start_of(net)
    fnet.save(path, state)
    restored = fnet.load(path, like)
    assert_close(restored.params, state.params, 0)
    assert_close(restored.model_state, state.model_state, 0)
    fnet.save_weights(path, state.params, net)
    assert_close(fnet.load_weights(path, like=like.params), state.params, 0)


@pytest.mark.parametrize("name", LONG)
def test_members_are_initialised_by_their_keys(name):
    net, _ = trained(name)
    keys = jax.random.split(KEY, 2)
    states = jax.vmap(lambda key: start_of(net, key))(keys)
    alone = start_of(net, keys[1])
    assert_close(jax.tree.map(lambda leaf: leaf[1], states.params), alone.params)
    _, history = fnet.train_many(task_of(net), states, (X, Y), epochs=1, batch_size=40)
    assert history["loss"][0, 0] != history["loss"][1, 0]


@pytest.mark.parametrize("name", CASES)
def test_it_is_a_layer_among_layers(name):
    net = fnet.sequential(fnet.rescale(2), CASES[name].net(), fnet.softmax)
    state = start_of(net)
    (own,) = state.params
    assert own == {"linen": "OfLinen", "haiku": "haiku"}.get(name, f"Of{name.capitalize()}")
    assert fnet.output_shape(net, (3,)) == (2,)
    assert own in fnet.summary(net, (3,))
    y, new_state = fnet.forward(net, state.params, state.model_state, X, KEY)
    assert jax.tree.structure(new_state) == jax.tree.structure(state.model_state)
    other, _ = fnet.forward(net, state.params, state.model_state, X, jax.random.key(1))
    assert np.abs(y - other).max() > 1e-3  # dropout
    kept = fnet.apply(net, state.params, X, state.model_state)
    assert_close(kept.sum(axis=1), np.ones(len(X), np.float32))


@pytest.mark.parametrize("name", ["nnx", "equinox"])
def test_a_module_keeps_its_values_and_comes_back_with_others(name):
    make = {"nnx": lambda: OfNnx(4, rngs=nnx.Rngs(KEY)), "equinox": lambda: OfEquinox(4, KEY)}[name]
    from_ = {"nnx": fnet.from_flax, "equinox": fnet.from_equinox}[name]
    net, (constructed, state) = from_(make()), trained(name)
    one, other = (fnet.init(net, jax.random.key(seed), (3,)) for seed in (0, 1))
    assert_close(one, other, 0)
    assert_close(one, fnet.init(constructed, KEY, (3,)), 1e-6)
    assert net == from_(make())
    assert net != constructed
    module = net.to_module(state.params, state.model_state)
    expected = fnet.predict(constructed, state, X)
    if name == "nnx":
        assert_close(module(X), expected)
    else:
        module, own_state = module
        y = jax.vmap(module, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(X, own_state)
        assert_close(y[0], expected)


def test_equinox_takes_a_module_with_its_state():
    module, own_state = eqx.nn.make_with_state(OfEquinox)(4, KEY)
    net = fnet.from_equinox((module, own_state))
    assert_close(fnet.init_state(net, (3,)), fnet.init_state(CASES["equinox"].net(), (3,)))
    with pytest.raises(ValueError, match=r"Pass both: from_equinox\(\(module, state\)\)"):
        fnet.from_equinox(module)


def test_a_batch_norm_of_equinox_computes_in_few_bits():
    net, state = trained("equinox")
    few = fnet.supervised(net, "mean_squared_error", compute_dtype="bfloat16")
    values, own_state = few.loss(state.params, state.model_state, (X, Y), KEY)
    expected, known = task_of(net).loss(state.params, state.model_state, (X, Y), KEY)
    np.testing.assert_allclose(values["loss"], expected["loss"], rtol=0.1, atol=0.1)
    assert_close(own_state, known, 1e-2)
    jax.tree.map(lambda own, known: chex.assert_type(own, known.dtype), own_state, known)


def linear(x):
    return hk.Linear(2)(x)


def normalized(x, is_training):
    return hk.BatchNorm(True, True, 0.9)(x, is_training)


def test_a_layer_of_haiku_is_a_value():
    net, state = trained("haiku")
    again = pickle.loads(pickle.dumps(net))
    assert again == net == fnet.from_haiku(hk.transform_with_state(of_haiku))
    assert hash(again) == hash(net)
    assert_close(fnet.predict(again, state, X), fnet.predict(net, state, X), 0)
    plain, keyless = hk.transform(linear), hk.without_apply_rng(hk.transform(linear))
    wrapped = hk.Transformed(jax.jit(plain.init), jax.jit(plain.apply))
    layers = [fnet.from_haiku(pair) for pair in (plain, keyless, wrapped)]
    params = fnet.init(layers[0], KEY, (3,))
    for layer in layers[:2]:
        again = pickle.loads(pickle.dumps(layer))
        assert again == layer
        assert_close(fnet.apply(again, params, X), fnet.apply(layers[0], params, X), 0)
    assert len(set(layers)) == 3  # what is around a function may change it
    assert layers[2] == fnet.from_haiku(wrapped)


def test_a_function_of_haiku_without_a_key_may_have_a_state():
    pair = hk.without_apply_rng(hk.transform_with_state(normalized))
    net = fnet.from_haiku(pair)
    params, state, _ = net.init(KEY, (3,))
    y, moved = pickle.loads(pickle.dumps(net)).apply(params, state, X, KEY, True)
    expected, theirs = pair.apply(params, state, X, is_training=True)
    assert_close(y, expected, 0)
    assert_close(moved, theirs, 0)


class Tokens(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic, learning):
        self.sow("intermediates", "ids", x["ids"])
        noise = jax.random.normal(self.make_rng("noise"), (2,)) if learning else 0
        return {"y": nn.Embed(5, 2)(x["ids"]).mean(axis=1) + noise, "z": x["ids"]}


def test_inputs_and_outputs_are_trees_and_flags_have_names():
    net = fnet.from_flax(Tokens(), flag="learning", dtype="int32")
    params, state, out_shape = net.init(KEY, {"ids": (4,)})
    assert (state, out_shape) == ({}, {"y": (2,), "z": (4,)})
    x = {"ids": jnp.zeros((3, 4), jnp.int32)}
    y, _ = net.apply(params, state, x, None, False)
    noisy, _ = net.apply(params, state, x, KEY, True)
    assert y["y"].shape == noisy["y"].shape == (3, 2)
    assert np.abs(y["y"] - noisy["y"]).min() > 0


def test_ints_go_through_every_library():
    nets = [
        fnet.from_flax(lambda rngs: nnx.Embed(5, 2, rngs=rngs), dtype="int32"),
        fnet.from_equinox(lambda key: eqx.nn.Embedding(5, 2, key=key), dtype="int32"),
        fnet.from_haiku(hk.without_apply_rng(hk.transform(lambda x: hk.Embed(5, 2)(x))), dtype=int),
    ]
    for net in nets:
        params = fnet.init(net, KEY, ())
        assert fnet.apply(net, params, jnp.arange(3)).shape == (3, 2)


class Sowing(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.sow("losses", "size", jnp.sum(x**2))
        return nn.Dense(2)(x)


def test_a_state_that_grows_is_refused():
    net = fnet.from_flax(Sowing())
    state = start_of(net)
    with pytest.raises(TypeError, match=r"^Sowing: expected a module that keeps the form of its "):
        fnet.forward(net, state.params, state.model_state, X)


class TwoInputs(nn.Module):
    def __call__(self, x, z):
        return x + z


class WithArray(nn.Module):
    start: np.ndarray

    def __call__(self, x):
        return x


WORDS = [
    ("a class of linen", lambda: fnet.from_flax(OfLinen), r"got the class OfLinen\. Call it: OfL"),
    ("a class of nnx", lambda: fnet.from_flax(OfNnx), r"got the class OfNnx\. Call it: OfNnx\("),
    ("a class of equinox", lambda: fnet.from_equinox(OfEquinox), r"Call it: OfEquinox\(\.\.\.\)"),
    ("equinox for flax", lambda: fnet.from_flax(eqx.nn.Identity()), r"fnet\.from_equinox takes"),
    ("flax for equinox", lambda: fnet.from_equinox(OfLinen()), r"fnet\.from_flax takes a module"),
    ("haiku for flax", lambda: fnet.from_flax(OF_HAIKU), r"fnet\.from_haiku takes"),
    ("flax for haiku", lambda: fnet.from_haiku(OfLinen()), r"fnet\.from_flax takes a module"),
    ("of fnet", lambda: fnet.from_flax(fnet.dense(2)), r"A layer of fnet is used as it is"),
    ("not transformed", lambda: fnet.from_haiku(of_haiku), r"got of_haiku\. Transform .* hk\.tran"),
    ("a number", lambda: fnet.from_flax(3), r"`module` of from_flax must be a module .*, got 3\. "),
    ("no module", lambda: fnet.from_flax(lambda rngs: 3), r"nnx\.Module, got 3 from lambda\. R"),
    ("no module of equinox", lambda: fnet.from_equinox(lambda key: 3), r"one, got 3 from lambda\."),
    ("two inputs", lambda: fnet.from_flax(TwoInputs()), r"with one input, got the arguments \['z'"),
    ("no flag", lambda: fnet.from_flax(OfLinen(), flag="fit"), r"got 'fit' instead of one of \['t"),
    ("an array", lambda: fnet.from_flax(WithArray(np.zeros(2))), r"must be hashable, got a With"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), [row[1:] for row in WORDS], ids=[r[0] for r in WORDS])
def test_what_is_no_module_is_refused_in_words(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_parameters_of_another_module_are_refused():
    net = CASES["equinox"].net()
    with pytest.raises(TypeError, match=r"^OfEquinox: expected parameters \['layers/0/weight', "):
        fnet.apply(net, {"kernel": jnp.ones(3)}, X, fnet.init_state(net, (3,)))


@pytest.mark.parametrize("name", ["flax", "equinox", "haiku"])
def test_a_missing_package_is_named(name, monkeypatch):
    for module in [module for module in sys.modules if re.match(rf"{name}(\.|$)", module)]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf"`from_{name}` must have.* pip install \"fnet-jax\[inter"
    ):
        getattr(fnet, f"from_{name}")(None)
