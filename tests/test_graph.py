"""Wirings of layers: shared weights, trees of arrays, and what is refused in which words."""

import re
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from tables import LAYERS

import fnet
from fnet.core.errors import LayerError
from fnet.fitting.nonfinite import explain
from fnet.layers.base import as_layer
from fnet.layers.shapes import is_shape

KEY = jax.random.key(0)
IN = {"left": (3,), "right": (3,)}
close = partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)
equal = chex.assert_trees_all_equal
shapes = partial(jax.tree.map, jnp.shape)
forward = jax.jit(fnet.forward, static_argnums=0)


def towers(layers, x):
    left, right = layers.encoder(x["left"]), layers.encoder(x["right"])
    return {"same": layers.head(left * right), "codes": (left, right)}


def two_towers(units=4):
    encoder = fnet.sequential(fnet.dense(units), fnet.tanh)
    return fnet.graph(towers, encoder=encoder, head=fnet.dense(1))


def batch(key, size=5):
    left, right = jax.random.normal(key, (2, size, 3))
    return {"left": left, "right": right}


def in_order(layers, x):
    return layers.c(layers.b(layers.a(x)))


def three(layers, x):
    return layers.head(layers.norm(layers.norm(layers.drop(layers.drop(x)))))


def twice(layers, x):
    return jnp.stack([layers.drop(x), layers.drop(x), layers.other(x)], 1)


def scaled(layers, x, scale):
    return scale * layers.dense(x)


NORMED = fnet.graph(
    three, drop=fnet.dropout(0.5), norm=fnet.batch_norm(momentum=0.5), head=fnet.dense(1)
)


# What it computes.


def test_the_gradient_of_a_shared_encoder_is_the_sum_over_its_calls(key):
    net, x = two_towers(), batch(key)
    params = fnet.init(net, key, IN)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1))
    def by_hand(left, right, head):
        left = jnp.tanh(x["left"] @ left["kernel"] + left["bias"][None])
        right = jnp.tanh(x["right"] @ right["kernel"] + right["bias"][None])
        return jnp.square((left * right) @ head["kernel"] + head["bias"][None]).sum()

    @jax.jit
    @jax.grad
    def by_graph(params):
        return jnp.square(fnet.apply(net, params, x)["same"]).sum()

    shared = params["encoder"]["dense"]
    expected = jax.tree.map(jnp.add, *by_hand(shared, shared, params["head"]))
    close(by_graph(params)["encoder"]["dense"], expected)


def test_a_chain_is_sequential_bit_for_bit(key):
    layers = fnet.dense(4), fnet.dropout(0.5), fnet.batch_norm()
    chain = fnet.sequential(*layers)
    wired = fnet.graph(in_order, **dict(zip("abc", layers, strict=True)))
    params, own = fnet.init(chain, key, (3,)), fnet.init(wired, key, (3,))
    equal(own, {"a": params["dense"], "c": params["batch_norm"]})
    x = jax.random.normal(key, (5, 3))
    y, state = forward(chain, params, fnet.init_state(chain, (3,)), x, key)
    same, own_state = forward(wired, own, fnet.init_state(wired, (3,)), x, key)
    equal((same, own_state["c"]), (y, state["batch_norm"]))


def test_state_passes_from_one_call_to_the_next(key):
    net, norm = NORMED, NORMED.layers[1]
    params, state = fnet.init(net, key, (3,)), fnet.init_state(net, (3,))
    x = jax.random.normal(key, (8, 3)) + 2
    drop = fnet.graph(lambda layers, x: layers.drop(layers.drop(x)), drop=fnet.dropout(0.5))
    dropped, _ = forward(drop, {}, {}, x, key)
    y, once = forward(norm, params["norm"], state["norm"], dropped)
    _, again = forward(norm, params["norm"], once, y)
    _, new = forward(net, params, state, x, key)
    close(new, {"norm": again})
    assert jnp.abs(again["mean"] - once["mean"]).min() > 0.1


def test_each_call_has_a_key_of_its_own(key):
    net = fnet.graph(twice, drop=fnet.dropout(0.5), other=fnet.dropout(0.5))
    y, _ = forward(net, {}, {}, jnp.ones((1, 64)), key)
    assert len({row.tobytes() for row in np.asarray(y[0])}) == 3
    equal(forward(net, {}, {}, jnp.ones((1, 64)), key)[0], y)


def test_vmap_over_members(key):
    net, x = two_towers(), batch(key)
    keys = jax.random.split(key, 2)
    many = jax.vmap(lambda key: fnet.init(net, key, IN))(keys)
    ys = jax.jit(jax.vmap(lambda params: fnet.apply(net, params, x)))(many)
    for i in range(2):
        close(
            jax.tree.map(lambda a, i=i: a[i], ys), fnet.apply(net, fnet.init(net, keys[i], IN), x)
        )


def test_ids_keep_their_dtype_on_the_way(key):
    def wire(layers, x):
        counts = jnp.eye(5)[layers.reshape(x["ids"])].sum(1)
        return layers.dense(jnp.concatenate([counts, layers.scale(x["image"])[:, 0]], 1))

    layers = {"reshape": fnet.reshape((2,)), "scale": fnet.rescale(0.5), "dense": fnet.dense(2)}
    net = fnet.sequential(fnet.graph(wire, **layers))
    struct = partial(jax.ShapeDtypeStruct, dtype="int32")
    in_shape = {"ids": struct((2, 1)), "image": jax.ShapeDtypeStruct((1, 3), "uint8")}
    params = fnet.init(net, key, in_shape)
    assert params["graph"]["dense"]["kernel"].shape == (8, 2)
    assert fnet.output_shape(net, in_shape) == (2,) and "(2,)" in fnet.summary(net, in_shape)
    with pytest.raises(TypeError, match="wire takes"):
        fnet.init(net, key, in_shape | {"ids": (2, 1)})
    x = {"ids": jnp.zeros((5, 2, 1), int), "image": jnp.zeros((5, 1, 3), jnp.uint8)}
    assert fnet.apply(net, params, x).shape == (5, 2)
    program = fnet.load_exported(fnet.export(net, params, in_shape))
    assert program.dtype == {"ids": "int32", "image": "uint8"}
    close(program(x), fnet.apply(net, params, x))


def test_weights_are_shared_by_calls_of_any_shape_that_they_fit(key):
    def pyramid(layers, x):
        return fnet.global_avg_pool(layers.conv(x)) + fnet.global_avg_pool(layers.conv(x[:, ::2]))

    net = fnet.graph(pyramid, conv=fnet.conv(2, (3,), padding="same"))
    assert shapes(fnet.init(net, key, (8, 3))) == {"conv": {"kernel": (3, 3, 2), "bias": (2,)}}


@dataclass(frozen=True, repr=False)
class difference(fnet.Layer):
    """A layer of two arrays."""

    takes_trees = True

    def init(self, key, in_shape):
        assert in_shape == ((3,), (3,))
        return {}, {}, in_shape[0]

    def apply(self, params, state, x, key, training):
        return x[0] - x[1], state


def test_layers_of_trees(key):
    own = fnet.sequential(difference(), fnet.dense(2))
    total = fnet.residual(lambda x: {"left": x["right"], "right": x["left"]})
    x = batch(key)
    params = fnet.init(own, key, ((3,), (3,)))
    expected = fnet.apply(fnet.dense(2), params["dense"], x["left"] - x["right"])
    close(fnet.apply(own, params, (x["left"], x["right"])), expected)
    assert fnet.output_shape(total, IN) == IN
    close(fnet.apply(total, {}, x)["left"], x["left"] + x["right"])


def moved(layers, x):
    return {"h": layers.dense(x["h"]) * x["mask"][:, None], "mask": x["mask"]}


def test_stacks_of_trees(key):
    """A tree goes through `scan_layers`, `remat` and `residual`, and keeps its dtypes."""
    block = fnet.graph(moved, dense=fnet.dense(3))
    net = fnet.scan_layers(fnet.remat(block), 2)
    in_shape = {"h": (3,), "mask": ()}
    params = fnet.init(net, key, in_shape)
    assert shapes(params) == {"dense": {"kernel": (2, 3, 3), "bias": (2, 3)}}
    x = {"h": jnp.ones((4, 3)), "mask": jnp.array([1.0, 0.0, 1.0, 0.0])}
    expected = x
    for i in range(2):
        expected = fnet.apply(block, jax.tree.map(lambda a, i=i: a[i], params), expected)
    close(jax.jit(fnet.apply, static_argnums=0)(net, params, x), expected)
    with pytest.raises(
        ValueError, match="scan_layers: expected layers that keep the shape {'left'"
    ):
        fnet.output_shape(fnet.scan_layers(two_towers(), 2), IN)


# What a run does with it.


def test_it_is_a_value():
    net = partial(fnet.graph, partial(scaled, scale=2.0))
    assert net(dense=fnet.dense(2)) == net(dense=fnet.dense(2))
    assert repr(net(dense=fnet.dense(2))) == "graph(partial(scaled, scale=2.0), dense=dense(2))"
    others = net(dense=fnet.dense(3)), net(other=fnet.dense(2))
    another_function = fnet.graph(scaled, dense=fnet.dense(2))
    assert len({net(dense=fnet.dense(2)), *others, another_function}) == 4


def test_a_lambda_compiles_once_for_each_object(key, compilations):
    net, other = (fnet.graph(lambda layers, x: layers.a(x), a=fnet.relu) for _ in range(2))
    apply = jax.jit(fnet.apply, static_argnums=0)
    x = jnp.ones((2, 3))
    compilations.clear()
    for model in (net, net, other, net):
        apply(model, {}, x)
    assert len(compilations) == 2


def two_heads(layers, x):
    h = layers.norm(layers.hidden(jnp.concatenate([x["left"], x["right"]], -1)))
    return {"sum": layers.head(h), "sign": layers.sigmoid(layers.head(h))}


def test_it_trains_on_trees(key):
    parts = {"hidden": fnet.dense(4), "norm": fnet.batch_norm(), "head": fnet.dense(1)}
    net = fnet.graph(two_heads, **parts, sigmoid=fnet.sigmoid)
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    total = x.sum(1, keepdims=True)
    y = {"sum": total, "sign": (total > 0).astype(np.float32)}
    task = fnet.supervised(net, {"sum": "mean_squared_error", "sign": "binary_crossentropy"})
    state = fnet.train_state(net, fnet.adam(0.1), key, IN)
    data = {"left": x[:, :3], "right": x[:, 3:]}, y
    state, history = fnet.train(task, state, data, epochs=10, batch_size=8)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert float(state.model_state["norm"]["variance"].mean()) != 1


def test_predict_takes_and_gives_trees(key):
    net, x = two_towers(), batch(key, 7)
    params = fnet.train_state(net, "sgd", key, IN).params
    mesh = jax.make_mesh((1,), ("data",))
    y = fnet.predict(net, params, x, 3, mesh=mesh, shardings=fnet.fsdp)
    close(y, fnet.apply(net, params, x))
    classes = jax.eval_shape(lambda: fnet.predict_classes(net, params, x))
    assert shapes(classes) == {"same": (7,), "codes": ((7,), (7,))}
    with pytest.raises(ValueError, match="^`x` must hold as many samples in every leaf, got"):
        fnet.predict(net, params, x | {"left": x["left"][:3]})


def test_wide_kernels_are_cut_along_the_mesh(key):
    net = two_towers(512)
    params = jax.eval_shape(lambda: fnet.init(net, key, IN))
    mesh = jax.make_mesh((1, 1), ("data", "model"))
    layout = fnet.shardings(net, params, mesh)
    assert layout["encoder"]["dense"]["kernel"].spec == jax.P(None, "model")
    with pytest.raises(TypeError, match=r"of the layers \['encoder', 'head'\], got \['tower'\]"):
        fnet.shardings(net, params | {"tower": {}}, mesh)


def test_files(key, tmp_path):
    state = fnet.train_state(two_towers(), "adam", key, IN)
    fnet.save(tmp_path / "run.safetensors", state)
    restored = fnet.load(tmp_path / "run.safetensors", like=state)
    equal(restored.params, state.params)


def test_few_bits_reach_every_layer(key):
    net = fnet.sequential(two_towers(), lambda y: y["same"])
    task = fnet.supervised(net, lambda y, p: p[:, 0], compute_dtype="bfloat16")
    params, x = fnet.init(net, key, IN), batch(key)

    def loss(params):
        return task.loss(params, {}, (x, jnp.ones(5)), key)[0]["loss"].sum()

    written = str(jax.make_jaxpr(jax.grad(loss))(params))
    assert set(re.findall(r"(\w+)\[[\d,]*\] = dot_general", written)) == {"bf16"}
    assert len(re.findall("= dot_general", written)) >= 5


def test_the_layer_that_is_not_finite_is_named(key):
    net = fnet.graph(three, drop=jnp.log, norm=fnet.tanh, head=fnet.dense(1))
    state = fnet.train_state(net, "sgd", key, (3,))
    task = fnet.supervised(net, "mean_squared_error")
    data = jnp.full((4, 3), 0.5), jnp.ones((4, 1))
    with jax.numpy_dtype_promotion("standard"):
        assert (
            explain(task, state, data)
            == "drop: gives what is not finite from an input of up to 0.693"
        )


SUMMARY = """
layer              output shape                            parameters   bytes   FLOPs a sample
encoder            (4,)                                            16      64               24
  dense            (4,)                                            16      64               24
  tanh             (4,)                                             0       0                0
encoder (shared)   (4,)                                             0       0               24
  dense            (4,)                                             0       0               24
  tanh             (4,)                                             0       0                0
head               (1,)                                             5      20                8
total              {'codes': ((4,), (4,)), 'same': (1,)}           21      84               56
"""


def test_summary_has_a_row_for_each_call():
    assert fnet.summary(two_towers(), IN) == SUMMARY.strip()


# Files of other libraries.


NAMES = {
    "encoder/dense": "layers/sequential/layers/dense",
    "encoder/batch_norm": "layers/sequential/layers/batch_normalization",
    "kind": "layers/dense",
    "same": "layers/dense_1",
}


def functional(layers, x):
    left, right = layers.encoder(x["left"]), layers.encoder(x["right"])
    kind = layers.kind(jnp.concatenate([left, right, x["right"]], -1))
    return {"same": layers.same(left * right), "kind": kind}


def test_a_functional_model_of_keras_predicts_the_same(tmp_path):
    net = fnet.graph(
        functional,
        encoder=fnet.sequential(fnet.dense(3), fnet.tanh, fnet.batch_norm()),
        kind=fnet.dense(2),
        same=fnet.sequential(fnet.dense(1), fnet.sigmoid),
    )
    names = {"same/dense" if path == "same" else path: name for path, name in NAMES.items()}
    in_shape = {"left": (4,), "right": (4,)}
    with zipfile.ZipFile(Path(__file__).parent / "data" / "foreign" / "towers.zip") as archive:
        known = load_tensors(archive.read("known.safetensors"))
        path = archive.extract("towers.weights.h5", tmp_path)
    params, state = fnet.load_keras(path, net, in_shape, names)
    y = fnet.apply(net, params, {name: known[name] for name in in_shape}, state)
    close(y, {name: known[name] for name in y})
    copy = tmp_path / "copy.weights.h5"
    fnet.save_keras(copy, net, in_shape, params, state, names)
    equal(fnet.load_keras(copy, net, in_shape, names), (params, state))
    with pytest.raises(ValueError, match=r"encoder/dense: expected layers in `sequential` only"):
        fnet.load_keras(path, net, in_shape)


def features(layers, x):
    return layers.head(layers.flat(layers.conv(x["image"]))) + layers.age(x["age"])


def test_torch_weights_turn_where_an_image_is_flattened(key, tmp_path):
    parts = {"conv": fnet.conv(2, (2, 2)), "head": fnet.dense(3), "age": fnet.dense(3)}
    net, in_shape = (
        fnet.graph(features, **parts, flat=fnet.flatten),
        {"image": (3, 3, 2), "age": (1,)},
    )
    params = fnet.init(net, key, in_shape)
    path, names = tmp_path / "model.safetensors", {name: name for name in parts}
    fnet.save_torch(path, net, in_shape, params, names=names)
    equal(fnet.load_torch(path, net, in_shape, names=names)[0], params)
    weight = load_tensors(path.read_bytes())["head.weight"].reshape(3, 2, 2, 2)
    equal(weight, np.transpose(np.reshape(params["head"]["kernel"], (2, 2, 2, 3)), (3, 2, 0, 1)))
    hidden = fnet.graph(
        lambda layers, x: layers.head(fnet.flatten(layers.conv(x["image"]))) + layers.age(x["age"]),
        **parts,
    )
    with pytest.raises(ValueError, match="head: expected .* an array that the function makes"):
        fnet.save_torch(path, hidden, in_shape, params, names=names)


# What is refused.


def wired(function, **layers):
    layers = layers or {"encoder": fnet.dense(2), "head": fnet.dense(1)}
    return lambda: fnet.init(fnet.graph(function, **layers), KEY, IN)


def applied(x):
    net = two_towers()
    params = jax.eval_shape(lambda: fnet.init(net, KEY, IN))
    return lambda: jax.eval_shape(lambda params: fnet.apply(net, params, x), params)


ONE = fnet.dense(2)
REFUSED = {
    "layer missing": (
        wired(lambda layers, x: layers.decoder(x["left"])),
        AttributeError,
        "graph: expected a call of one of the layers ['encoder', 'head'], got `layers.decoder`.",
    ),
    "layer never called": (
        wired(lambda layers, x: layers.encoder(x["left"])),
        ValueError,
        "graph: expected a function that calls every layer, got lambda, which never calls",
    ),
    "another shape": (
        wired(lambda layers, x: layers.head(layers.head(layers.encoder(x["left"])))),
        ValueError,
        "head: expected calls with one shape, since all share the weights, got samples of shape "
        "(2,) and then (1,). Give",
    ),
    "batch axis lost": (
        wired(lambda layers, x: layers.head(layers.encoder(x["left"])).mean()),
        ValueError,
        "graph: expected a function that keeps the batch axis, got output shape () for input shape "
        "{'left': (2, 3), 'right': (2, 3)}. Leave axis 0 as it is.",
    ),
    "one batch axis lost": (
        wired(lambda layers, x: (layers.head(layers.encoder(x["left"])), x["left"].sum(0))),
        ValueError,
        "graph: expected a function that keeps the batch axis, got output shape ((2, 1), (3,))",
    ),
    "no array": (
        wired(lambda layers, x: [layers.head(layers.encoder(x["left"])), "left"]),
        TypeError,
        "graph: expected a function that returns an array, got a list. Return",
    ),
    "a call without a batch": (
        wired(lambda layers, x: layers.encoder(x["left"].mean()), encoder=fnet.relu),
        ValueError,
        "graph: expected a call of encoder with batches, samples in axis 0 of each array, got an "
        "array of shape (). Give",
    ),
    "a call of a tree": (
        wired(lambda layers, x: layers.encoder(x), encoder=ONE),
        TypeError,
        "encoder: expected one array, got a tree of arrays, with shapes {'left': (3,), 'right': "
        "(3,)}. Call the layer on one of them in fnet.graph",
    ),
    "a call of two arrays": (
        wired(lambda layers, x: layers.encoder(x["left"], x["right"]), encoder=ONE),
        TypeError,
        "graph: expected one input in the call of encoder, got 2. Pass several arrays as one tuple",
    ),
    "shapes of another tree": (
        lambda: fnet.train_state(two_towers(), "sgd", KEY, {"left": (3,)}),
        TypeError,
        "graph: expected an input that towers takes, got a dict with shapes {'left': (2, 3)}, for "
        "which it raises KeyError('right'). Pass arrays in the tree",
    ),
    "one shape": (
        lambda: fnet.summary(two_towers(), (3,)),
        TypeError,
        "graph: expected an input that towers takes, got an array of shape (2, 3), for which it",
    ),
    "arrays of another tree": (
        applied({"left": jnp.ones((5, 3))}),
        TypeError,
        "graph: expected an input that towers takes, got a dict with shapes {'left': (5, 3)}, for",
    ),
    "a tuple": (
        applied((jnp.ones((5, 3)), jnp.ones((5, 3)))),
        TypeError,
        "graph: expected an input that towers takes, got a tuple with shapes ((5, 3), (5, 3)), for",
    ),
    "features of another number": (
        applied({"left": jnp.ones((5, 3)), "right": jnp.ones((5, 2))}),
        ValueError,
        "encoder/dense: expected input with 3 features in the last axis, got shape (5, 2).",
    ),
    "no shape": (
        lambda: fnet.output_shape(two_towers(), {}),
        TypeError,
        "`in_shape` must be a tuple of integers, got {}. Write",
    ),
    "an empty axis": (
        lambda: fnet.output_shape(two_towers(), {"left": (3,), "right": (0,)}),
        ValueError,
        "`in_shape` must have no axis below 1, got {'left': (3,), 'right': (0,)}. Write",
    ),
    "no function": (
        lambda: fnet.graph(fnet.dense(2)),
        TypeError,
        "`function` must be a function, got a dense. Pass a function.",
    ),
    "no layer": (
        lambda: fnet.graph(towers, encoder="dense"),
        TypeError,
        "`encoder` must be a layer or a function x -> y, got 'dense'. Layers have no names here",
    ),
    "a name that cannot be written": (
        lambda: fnet.graph(towers, **{"a/b": fnet.relu}),
        ValueError,
        "`layers` of graph must have names that can be written as layers.name, got 'a/b'. Use",
    ),
    "a tree for an activation": (
        lambda: fnet.init(fnet.sequential(fnet.relu), KEY, IN),
        TypeError,
        "relu: expected arrays that the function takes, got a tree with shapes",
    ),
    "a tree that a residual changes": (
        lambda: fnet.init(fnet.residual(lambda x: x["left"]), KEY, IN),
        ValueError,
        "residual: expected layers that keep the shape {'left': (3,), 'right': (3,)}, got (3,). ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_compiled(name, compilations):
    call, error, message = REFUSED[name]
    compilations.clear()
    with pytest.raises(error, match="^" + re.escape(message)):
        call()
    assert compilations == []


SINGLE = [row for row in LAYERS if not as_layer(row.factory(), "layer").takes_trees]


@pytest.mark.parametrize("row", SINGLE, ids=[row.name for row in SINGLE])
def test_layers_of_one_array_refuse_a_tree(row):
    net = row.factory()
    assert is_shape(row.in_shape)
    message = f"^{net.name}: expected one array, got a tree of arrays, .* in fnet.graph"
    with pytest.raises(LayerError, match=message):
        fnet.init(net, KEY, {"x": row.in_shape})
    with pytest.raises(LayerError, match=message):
        fnet.apply(net, {}, (jnp.ones((2, *row.in_shape)),))


def test_errors_of_jax_stay_as_they_are():
    net = fnet.graph(lambda layers, x: x if x.sum() > 0 else -x)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        fnet.init(net, KEY, (3,))
