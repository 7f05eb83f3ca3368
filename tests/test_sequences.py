"""Embedding, attention, root mean square norm and deep stacks against loops in float64."""

import functools
import pickle
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import fnet

close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-5)
equal = chex.assert_trees_all_equal
apply = jax.jit(fnet.apply, static_argnums=0)


@pytest.fixture
def rng(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def parameters(net, in_shape, rng):
    """Random ones, biases too."""
    shapes = jax.eval_shape(lambda: fnet.init(net, jax.random.key(0), in_shape))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)


def exact(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_rms_norm(rng):
    x, scale = rng.normal(1, 3, (2, 4, 3)), rng.normal(size=3)
    expected = scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    close(fnet.apply(fnet.rms_norm(), {"scale": jnp.asarray(scale)}, x), expected)
    x = jnp.array([[400, -400]], jnp.float16)
    equal(fnet.apply(fnet.rms_norm(), {"scale": jnp.ones(2)}, x), jnp.sign(x))


# Embedding.

IDS = np.array([[0, 4, 2], [1, 1, 0]])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64, np.float32])
def test_embedding(dtype, rng):
    net = fnet.embedding(5, 3)
    table = rng.normal(size=(5, 3)).astype(np.float32)
    y = fnet.apply(net, {"embeddings": table}, IDS.astype(dtype))
    equal(y, jnp.asarray(table[IDS]))


def test_embedding_starts_like_that_of_keras(key):
    table = np.asarray(fnet.init(fnet.embedding(1000, 8), key, (3,))["embeddings"])
    assert -0.05 <= table.min() < -0.0499 and 0.0499 < table.max() < 0.05
    assert abs(table.mean()) < 1e-3


def test_gradient_of_an_embedding_counts_its_uses():
    table = jnp.zeros((5, 2))
    slope = jax.grad(lambda table: fnet.apply(NET, {"embeddings": table}, IDS).sum())(table)
    equal(slope, jnp.array([2.0, 2.0, 1.0, 0.0, 1.0])[:, None].repeat(2, 1))


NET = fnet.embedding(5, 2)


@pytest.mark.parametrize("ids", [[-1, 0], [0, 5], [0, 2**31 - 1], np.array([255, 0], np.uint8)])
def test_ids_out_of_range_are_refused_where_they_are_known_and_nan_elsewhere(ids):
    params = {"embeddings": jnp.ones((5, 2))}
    low, high = min(ids), max(ids)
    with refused(
        f"embedding: expected ids in [0, 5), got {low} to {high}. Raise `input_dim`, or map"
    ):
        fnet.apply(fnet.sequential(NET), {"embedding": params}, [ids])
    y = apply(NET, params, jnp.asarray([ids]))
    equal(np.isnan(y).all(-1), ~np.isin([ids], range(5)))


def test_fit_names_the_ids_out_of_range(key):
    net = fnet.sequential(NET, fnet.flatten, fnet.dense(2), fnet.softmax)
    state = fnet.train_state(net, "sgd", key, (3,))
    x, y = np.concatenate([IDS, [[0, 0, 7]]]), np.zeros(3, np.int32)
    loss = "sparse_categorical_crossentropy"
    with pytest.warns(RuntimeWarning, match=r"embedding: expected ids in \[0, 5\), got 0 to 7"):
        fnet.fit(fnet.supervised(net, loss), state, (x, y), epochs=1, batch_size=3, progress=False)


def test_fractions_are_no_ids():
    with refused(
        "embedding: expected whole numbers as ids, got float32 with fractions. For numbers"
    ):
        fnet.apply(NET, {"embeddings": jnp.ones((5, 2))}, jnp.array([[0.5]]))


# Attention.


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_heads, key_dim, use_bias", [(1, None, True), (3, 5, False)])
def test_attention(num_heads, key_dim, use_bias, causal, rng):
    net = fnet.attention(num_heads, key_dim, causal=causal, use_bias=use_bias)
    params, x = parameters(net, (4, 6), rng), rng.normal(size=(2, 4, 6)).astype(np.float32)
    expected = reference.attention(exact(x), exact(params), num_heads, causal)
    close(apply(net, params, x), expected, atol=1e-4)


def test_trees_of_attention():
    def shapes(net):
        params = jax.eval_shape(lambda: fnet.init(net, jax.random.key(0), (7, 6)))
        return jax.tree.map(jnp.shape, params)

    assert shapes(fnet.attention(2)) == dict.fromkeys(
        ("query", "key", "value", "output"), {"kernel": (6, 6), "bias": (6,)}
    )
    assert shapes(fnet.attention(2, 5, use_bias=False)) == {
        **dict.fromkeys(("query", "key", "value"), {"kernel": (6, 10)}),
        "output": {"kernel": (10, 6)},
    }


def test_causal_attention_does_not_see_what_comes(rng):
    net = fnet.attention(2, causal=True)
    params, x = parameters(net, (5, 4), rng), jnp.asarray(rng.normal(size=(1, 5, 4)))
    slope = jax.jit(jax.jacobian(lambda x: fnet.apply(net, params, x[None])[0].sum(-1)))(x[0])
    seen = np.asarray(jnp.abs(slope).sum(-1) > 0)
    equal(seen, np.tril(np.ones((5, 5), bool)))


# Stacks.


def block():
    return fnet.residual(fnet.dense(3), fnet.batch_norm(), fnet.tanh, fnet.dropout(0.5))


def test_scan_layers_is_its_layers_one_after_the_other(key, rng):
    net, layer, depth = fnet.scan_layers(block(), 4), block(), 4
    x = jnp.asarray(rng.normal(size=(5, 3)))
    params, state = fnet.init(net, key, (3,)), fnet.init_state(net, (3,))
    y, moved = jax.jit(fnet.forward, static_argnums=0)(net, params, state, x, key)
    known = fnet.apply(net, params, x, moved)

    @jax.jit
    def one(key, state, x, key_of_dropout):
        own = fnet.init(layer, key, (3,))
        return own, *fnet.forward(layer, own, state, x, key_of_dropout)

    each, inferred = x, x
    for i in range(depth):
        own_key = jax.random.fold_in(key, i)
        own, each, own_state = one(own_key, fnet.init_state(layer, (3,)), each, own_key)
        close(own, jax.tree.map(lambda a, i=i: a[i], params))
        close(own_state, jax.tree.map(lambda a, i=i: a[i], moved))
        inferred = apply(layer, own, inferred, own_state)
    close(y, each)
    close(known, inferred)


def test_scan_layers_is_one_body_whatever_its_depth():
    def program(depth, unroll=1):
        net = fnet.scan_layers(fnet.sequential(fnet.dense(2), fnet.tanh), depth, unroll=unroll)
        params = jax.eval_shape(lambda: fnet.init(net, jax.random.key(0), (2,)))
        return apply.lower(net, params, jnp.ones((1, 2))).as_text()

    assert len(program(300)) < 1.1 * len(program(3))
    assert "while" in program(3) and "while" not in program(3, unroll=3)


def test_scan_layers_of_bytes(key):
    net = fnet.scan_layers(fnet.dense(2), 2)
    params = fnet.init(net, key, (2,))
    x = np.array([[1, 255]], np.uint8)
    equal(fnet.apply(net, params, x), fnet.apply(net, params, x.astype(np.float32)))


def test_remat_computes_again_what_its_layer_does(key, rng):
    plain = fnet.sequential(fnet.residual(fnet.dense(3), fnet.tanh), block())
    net = fnet.sequential(*map(fnet.remat, plain.layers))
    params, state = fnet.init(plain, key, (3,)), fnet.init_state(plain, (3,))
    equal(fnet.init(net, key, (3,)), params)
    equal(fnet.init_state(net, (3,)), state)
    x = jnp.asarray(rng.normal(size=(5, 3)))

    def loss(net, params):
        y, moved = fnet.forward(net, params, state, x, key)
        return jnp.square(y).sum(), moved

    slopes = {
        model: jax.jit(jax.value_and_grad(functools.partial(loss, model), has_aux=True))
        for model in (plain, net)
    }
    close(slopes[net](params), slopes[plain](params))
    times = [str(jax.make_jaxpr(slope)(params)).count(" tanh ") for slope in slopes.values()]
    assert times == [2, 4]


def products_alone(primitive, *_, **__):
    return primitive.name == "dot_general"


def test_a_policy_says_what_is_computed_again(key):
    inside, x = fnet.sequential(fnet.dense(3), fnet.tanh), jnp.ones((5, 3))
    params, slopes, products = fnet.init(inside, key, (3,)), [], []
    for policy in (None, "nothing_saveable", "dots_saveable", products_alone):
        net = fnet.remat(fnet.residual(inside), policy=policy)
        assert net == pickle.loads(pickle.dumps(net))
        slope = jax.grad(lambda params, net=net: fnet.apply(net, params, x).sum())
        slopes.append(slope({"sequential": params}))
        products.append(str(jax.make_jaxpr(slope)({"sequential": params})).count(" dot_general"))
    close(slopes, slopes[:1] * 4)
    assert products[0] == products[1] == products[2] + 1 == products[3] + 1
    assert repr(net) == "remat(residual(sequential(dense(3), tanh)), policy=products_alone)"
    named = fnet.remat(fnet.tanh, policy="dots_saveable")
    assert named != fnet.remat(fnet.tanh) and repr(named) == "remat(tanh, policy='dots_saveable')"


def test_a_transformer_learns(key, rng):
    """The letter three places before, which only attention or luck can tell."""
    x = rng.integers(0, 4, (64, 8))
    y = np.roll(x, 3, axis=1)
    block = fnet.sequential(
        fnet.residual(fnet.rms_norm(), fnet.attention(2, causal=True)),
        fnet.residual(fnet.rms_norm(), fnet.dense(32), fnet.gelu, fnet.dense(16)),
    )
    net = fnet.sequential(
        fnet.embedding(4, 16),
        fnet.layer(place_init, place),
        fnet.scan_layers(fnet.remat(block), 2),
        fnet.dense(4),
        fnet.softmax,
    )
    state = fnet.train_state(net, fnet.adam(0.02), key, (8,))
    loss = "sparse_categorical_crossentropy"
    _, history = fnet.fit(
        fnet.supervised(net, loss), state, (x, y), epochs=60, batch_size=64, progress=False
    )
    by_chance = np.log(4) * 3 / 8  # the first three come from the end, which is not to be seen
    assert history["loss"][-1] < 1.2 * by_chance


def place_init(key, in_shape):
    return {"embeddings": 0.1 * jax.random.normal(key, in_shape)}, in_shape


def place(params, x):
    return x + params["embeddings"][None]


def line(net, in_shape, number=-1):
    *_, params, size, flops = fnet.summary(net, in_shape).splitlines()[number].split()
    return tuple(int(text.replace(",", "")) for text in (params, size, flops))


def test_summary_of_stacks():
    dense = 4 * 2 * 4
    assert line(fnet.scan_layers(fnet.dense(4), 7), (4,)) == (140, 560, 7 * dense)
    net = fnet.sequential(fnet.remat(fnet.scan_layers(fnet.residual(fnet.dense(4)), 3)))
    assert line(net, (4,)) == (60, 240, 3 * dense)
    names = [row.split()[0] for row in fnet.summary(net, (4,)).splitlines()]
    assert names == ["layer", "scan_layers", "residual", "dense", "total"]
    assert line(net, (4,), 3) == (20, 80, dense)


def test_summary_of_attention_and_embedding():
    time, features = 50, 32
    dense, scores = time * features * 2 * features, 2 * time * time * features
    params, size, flops = line(fnet.attention(4), (time, features))
    assert (params, size) == (4 * (32 * 32 + 32), 16 * (32 * 32 + 32))
    assert flops == 4 * dense + 2 * scores
    assert line(fnet.embedding(1000, features), (time,)) == (32_000, 128_000, 0)


# What is refused.


def refused(message, error=ValueError):
    return pytest.raises(error, match="^" + re.escape(message))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: fnet.embedding(0, 3), "`input_dim` of embedding must be an integer of at least 1"),
        (lambda: fnet.embedding(3, 0), "`output_dim` of embedding must be an integer of at least"),
        (lambda: fnet.attention(0), "`num_heads` of attention must be an integer of at least 1"),
        (lambda: fnet.attention(2, 0), "`key_dim` of attention must be an integer of at least 1"),
        (lambda: fnet.rms_norm(epsilon=-1), "`epsilon` of rms_norm must be in [0, inf), got -1."),
        (lambda: fnet.scan_layers(fnet.relu, 0), "`depth` of scan_layers must be an integer of at"),
        (
            lambda: fnet.scan_layers(fnet.relu, 2, unroll=0),
            "`unroll` of scan_layers must be an integer of at least 1, got 0. Omit it to run",
        ),
    ],
)
def test_hyperparameters(build, message):
    with refused(message):
        build()


@pytest.mark.parametrize("build", [fnet.remat, functools.partial(fnet.scan_layers, depth=2)])
def test_stacks_of_what_is_no_layer(build):
    message = "`layer` must be a layer or a function x -> y, got a list. Write fnet.sequential"
    with refused(message, TypeError):
        build([fnet.relu])


@pytest.mark.parametrize(
    "net, in_shape, message",
    [
        (
            fnet.attention(4),
            (8, 10),
            "attention: expected features in the last axis that `num_heads`=4 divides, got samples "
            "of shape (8, 10). Change one of them, or pass `key_dim`.",
        ),
        (
            fnet.attention(2),
            (10,),
            "attention: expected sequences (time, features), got samples of shape (10,). Embed "
            "ids with fnet.embedding; turn images into sequences with fnet.reshape.",
        ),
        (
            fnet.scan_layers(fnet.dense(3), 2),
            (4,),
            "scan_layers: expected layers that keep the shape (4,), got (3,). End them with",
        ),
        (
            fnet.scan_layers(fnet.residual(fnet.attention(3)), 2),
            (5, 4),
            "scan_layers/residual/attention: expected features in the last axis that",
        ),
        (fnet.remat(fnet.attention(3)), (5, 4), "attention: expected features in the last axis"),
    ],
)
def test_samples(net, in_shape, message):
    for ask in (fnet.output_shape, fnet.summary):
        with refused(message):
            ask(fnet.sequential(net), in_shape)


def test_parameters_of_another_model(rng):
    x = jnp.ones((2, 5, 4))
    params = parameters(fnet.attention(2), (5, 4), rng)
    with refused("attention/query: expected a kernel of shape (4, 6), got (4, 4). Use the"):
        fnet.apply(fnet.sequential(fnet.attention(2, 3)), {"attention": params}, x)
    with refused(
        "attention: expected parameters ['key', 'output', 'query', 'value'], got", TypeError
    ):
        fnet.apply(fnet.attention(2), {"query": params["query"]}, x)
    with refused("embedding: expected embeddings of shape (5, 2), got (4, 2). Use the parameters"):
        fnet.apply(NET, {"embeddings": jnp.ones((4, 2))}, IDS)
    params = parameters(fnet.scan_layers(fnet.dense(4), 3), (4,), rng)
    with refused("scan_layers: expected arrays of 2 layers, stacked along axis 0, got shape (3"):
        fnet.apply(fnet.scan_layers(fnet.dense(4), 2), params, x)
    with refused("scan_layers: expected a layer that keeps the dtype, got ", TypeError):
        fnet.apply(fnet.scan_layers(to_half, 2), {}, x)


def to_half(x):
    return x.astype(jnp.bfloat16)
