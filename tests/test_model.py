"""What one does with a model, what it refuses, and in which words."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet
from fnet import initializers

equal = chex.assert_trees_all_equal
close = partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)
shapes = partial(jax.tree.map, jnp.shape)
forward = jax.jit(fnet.forward, static_argnums=0)


def numbers(*shape):
    return jnp.linspace(-2, 3, int(np.prod(shape))).reshape(shape)


def weights(features, units):
    return {"kernel": numbers(features, units), "bias": numbers(units)}


def test_init_takes_part_in_any_transformation():
    net = fnet.sequential(fnet.dense(2))
    key = jax.random.key(0)
    plain = fnet.init(net, key, (3,))
    equal(jax.jit(lambda: fnet.init(net, key, (3,)))(), plain)
    equal(jax.jit(lambda key: fnet.init(net, key, (3,)))(key), plain)
    many = jax.vmap(lambda key: fnet.init(net, key, (3,)))(key[None])
    equal(jax.tree.map(lambda a: a[0], many), plain)
    many = jax.jit(jax.vmap(lambda key: fnet.init(net, key, (3,))))(key[None])
    equal(jax.tree.map(lambda a: a[0], many), plain)
    slope = jax.grad(lambda x: x * fnet.init(net, key, (3,))["dense"]["kernel"].sum())(1.0)
    assert slope == plain["dense"]["kernel"].sum()
    equal(jax.eval_shape(lambda: fnet.init(net, key, (3,))), jax.eval_shape(lambda: plain))
    rate = jax.grad(lambda o: fnet.train_state(net, o, key, (3,)).optimizer.learning_rate)
    assert rate(fnet.sgd(0.1)).learning_rate == 1


def test_a_model_is_a_static_argument_of_any_transformation():
    def built():
        return fnet.sequential(fnet.dense(2), fnet.graph(halved, inner=fnet.layer_norm()))

    net, x = built(), numbers(4, 3)
    params = jax.jit(fnet.init, static_argnums=2)(net, jax.random.key(0), (3,))
    expected = fnet.apply(net, params, x)
    apply = jax.jit(fnet.apply)
    close(apply(net, params, x), expected)
    known = apply._cache_size()
    close(apply(built(), params, x), expected)
    assert apply._cache_size() == known  # equal, but built anew
    assert apply(fnet.sequential(fnet.tanh), {}, x).shape == (4, 3)
    each = jax.vmap(fnet.apply, in_axes=(None, None, 0))(net, params, x[:, None])
    close(each[:, 0], expected)
    assert not jax.tree.leaves(net)


def halved(layers, x):
    return layers.inner(x) / 2


def test_init_is_one_program_and_a_function_of_the_key(compilations):
    net = fnet.sequential(
        fnet.dense(4),
        fnet.residual(fnet.dense(4), fnet.sequential(fnet.dense(4))),
        fnet.parallel(fnet.dense(4), fnet.batch_norm(), fnet.dense(4)),
    )
    key, other = jax.random.key(1), jax.random.key(2)
    compilations.clear()
    params = fnet.init(net, key, (4,))
    assert len(compilations) == 1
    again, others = fnet.init(net, key, (4,)), fnet.init(net, other, (4,))
    assert len(compilations) == 1
    equal(params, again)
    kernels = [leaf for tree in (params, others) for leaf in jax.tree.leaves(tree) if leaf.ndim > 1]
    assert len({kernel.tobytes() for kernel in map(np.asarray, kernels)}) == 10


@pytest.mark.parametrize("ask", [fnet.output_shape, fnet.summary])
def test_shapes_and_summaries_compute_nothing(ask, compilations):
    net = fnet.sequential(fnet.dense(4), fnet.dropout(0.5), fnet.batch_norm())
    jax.clear_caches()
    ask(net, (3,))
    assert compilations == []


def test_names_are_numbered_like_those_of_keras():
    net = fnet.sequential(
        fnet.dense(2),
        fnet.relu,
        fnet.dense(3),
        fnet.batch_norm(),
        fnet.sequential(fnet.dense(4), fnet.dense(5)),
        fnet.residual(fnet.dense(5)),
        fnet.sequential(fnet.layer_norm()),
        fnet.batch_norm(),
        fnet.dense(6),
    )
    norm = {"scale": (5,), "bias": (5,)}
    key = jax.random.key(0)
    assert shapes(jax.eval_shape(lambda: fnet.init(net, key, (1,)))) == {
        "dense": {"kernel": (1, 2), "bias": (2,)},
        "dense_1": {"kernel": (2, 3), "bias": (3,)},
        "batch_norm": {"scale": (3,), "bias": (3,)},
        "sequential": {
            "dense": {"kernel": (3, 4), "bias": (4,)},
            "dense_1": {"kernel": (4, 5), "bias": (5,)},
        },
        "residual": {"dense": {"kernel": (5, 5), "bias": (5,)}},
        "sequential_1": {"layer_norm": norm},
        "batch_norm_1": norm,
        "dense_2": {"kernel": (5, 6), "bias": (6,)},
    }


@pytest.mark.parametrize(
    "net, params, state",
    [
        (fnet.relu, {}, {}),
        (partial(fnet.elu, alpha=2.0), {}, {}),
        (lambda x: 2 * x, {}, {}),
        (fnet.dropout(0.5), {}, {}),
        (fnet.dense(2), {"kernel": (3, 2), "bias": (2,)}, {}),
        (
            fnet.batch_norm(),
            {"scale": (3,), "bias": (3,)},
            {"mean": (3,), "variance": (3,)},
        ),
        (fnet.layer(lambda key, in_shape: ({"w": jnp.ones(2)}, (2,)), max), {"w": (2,)}, {}),
        (fnet.sequential(), {}, {}),
        (fnet.sequential(fnet.relu, fnet.sequential(fnet.flatten)), {}, {}),
    ],
)
def test_trees_of_one_layer(net, params, state, key):
    assert shapes(fnet.init(net, key, (3,))) == params
    assert shapes(fnet.init_state(net, (3,))) == state


def test_forward_of_a_model_without_randomness_is_apply():
    net = fnet.sequential(fnet.dense(2), fnet.layer_norm(), fnet.residual(fnet.tanh))
    params = {"dense": weights(3, 2), "layer_norm": {"scale": numbers(2), "bias": numbers(2)}}
    y, state = fnet.forward(net, params, {}, numbers(4, 3))
    assert state == {} == fnet.init_state(net, (3,))
    equal(fnet.apply(net, params, numbers(4, 3)), y)


NORM = fnet.batch_norm()
NORMS = fnet.sequential(
    fnet.residual(NORM), fnet.parallel(fnet.relu, NORM, fnet.sequential(NORM)), NORM
)


def test_state_is_nested_like_the_layers(key):
    params, state = fnet.init(NORMS, key, (2,)), fnet.init_state(NORMS, (2,))
    moments = {"mean": (2,), "variance": (2,)}
    assert shapes(state) == {
        "residual": {"batch_norm": moments},
        "parallel": {"batch_norm": moments, "sequential": {"batch_norm": moments}},
        "batch_norm": {"mean": (6,), "variance": (6,)},
    }
    own, fresh = params["residual"]["batch_norm"], state["residual"]["batch_norm"]
    x = numbers(8, 2)
    y, moved = forward(NORM, own, fresh, x)
    _, moved_after = forward(NORM, own, fresh, x + y)
    _, state = forward(NORMS, params, state, x)
    close(state["residual"], {"batch_norm": moved})
    close(state["parallel"], {"batch_norm": moved_after, "sequential": {"batch_norm": moved_after}})


def test_state_threads_through_a_scan_and_into_apply(key):
    params, fresh = fnet.init(NORMS, key, (2,)), fnet.init_state(NORMS, (2,))
    xs = numbers(5, 8, 2)

    def step(state, x):
        return fnet.forward(NORMS, params, state, x)[::-1]

    scanned, _ = jax.jit(lambda state: jax.lax.scan(step, state, xs))(fresh)
    state = fresh
    for x in xs:
        _, state = forward(NORMS, params, state, x)
    close(scanned, state)
    before, after = (fnet.apply(NORMS, params, xs[0], state) for state in (fresh, state))
    assert jnp.abs(before - after).max() > 0.01


def test_layers_drop_different_entries(key):
    drop = fnet.dropout(0.5)
    net = fnet.parallel(drop, drop, fnet.sequential(drop), fnet.sequential(fnet.relu, drop))
    y, _ = fnet.forward(net, {}, {}, jnp.ones((1, 64)), key)
    assert len({mask.tobytes() for mask in np.asarray(y).reshape(4, 64)}) == 4
    equal(fnet.forward(net, {}, {}, jnp.ones((1, 64)), key)[0], y)


@pytest.mark.parametrize("kind", [list, np.float64, np.float32, np.int64, np.uint8])
def test_inputs_of_many_kinds(kind):
    values = [[1, 2], [3, 4], [250, 255]]
    x = values if kind is list else np.array(values, kind)
    scaled = fnet.sequential(fnet.rescale(1 / 255), fnet.dense(3))
    for net, params in [(scaled, {"dense": weights(2, 3)}), (fnet.dense(3), weights(2, 3))]:
        y = fnet.apply(net, params, x)
        assert y.dtype == jnp.float32
        equal(y, fnet.apply(net, params, jnp.array(values, jnp.float32)))


def test_samples_without_a_batch_axis_under_vmap():
    net = fnet.sequential(fnet.dense(3), fnet.relu, fnet.dense(2))
    params, x = {"dense": weights(4, 3), "dense_1": weights(3, 2)}, numbers(5, 4)
    close(jax.vmap(partial(fnet.apply, net, params))(x), fnet.apply(net, params, x))


def test_count_params():
    assert fnet.count_params({}) == 0
    assert fnet.count_params({"dense": weights(784, 512), "dense_1": weights(512, 10)}) == 407_050


SUMMARY = """
layer            output shape   parameters    bytes   FLOPs a sample
rescale          (28, 28, 1)             0        0                0
reshape          (28, 28)                0        0                0
dense            (28, 16)              464    1,856           25,088
residual         (28, 16)              304    1,216           14,336
  dense          (28, 16)              272    1,088           14,336
  parallel       (28, 16)               32      128                0
    relu         (28, 16)                0        0                0
    batch_norm   (28, 16)               32      128                0
flatten          (448,)                  0        0                0
dropout          (448,)                  0        0                0
dense_1          (10,)               4,490   17,960            8,960
total            (10,)               5,258   21,032           48,384
"""


def test_summary_of_a_nested_model():
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.reshape((28, -1)),
        fnet.dense(16),
        fnet.residual(fnet.dense(16), fnet.parallel(fnet.relu, fnet.batch_norm(), merge=sum)),
        fnet.flatten,
        fnet.dropout(0.5),
        fnet.dense(10),
    )
    assert fnet.summary(net, (28, 28, 1)) == SUMMARY.strip()


@pytest.mark.parametrize("in_shape", [(5,), (4, 5), (2, 3, 5)])
def test_flops_of_dense(in_shape):
    rows = int(np.prod(in_shape[:-1]))
    for net, flops in [
        (fnet.dense(3), rows * 2 * 5 * 3),
        (fnet.dense(3, use_bias=False), rows * 2 * 5 * 3),
        (fnet.sequential(fnet.dense(3), fnet.dense(1)), rows * (2 * 5 * 3 + 2 * 3)),
    ]:
        assert int(fnet.summary(net, in_shape).split()[-1]) == flops


# What is refused, in three sentences: what must hold, what came, how to fix it.

KEY, X = jax.random.key(0), numbers(2, 3)
REBUILD = "Use the parameters that fnet.init made for this model and this input shape."
THOSE = "Use those that fnet.init and fnet.init_state made for this model."


def refused(error, message):
    return pytest.raises(error, match="^" + re.escape(message))


@pytest.mark.parametrize(
    "value, received",
    [
        (3, "3. A dense layer of 512 units is fnet.dense(512)."),
        (None, "None. A dense layer of 512 units is fnet.dense(512)."),
        ("relu", "'relu'. Layers have no names here: write fnet.relu."),
        ([fnet.relu], "a list. Write fnet.sequential(*layers)."),
        ({"kernel": X}, "a dict. A dense layer of 512 units is fnet.dense(512)."),
        (fnet.dense, "the class dense. Call it: dense(...)."),
    ],
)
def test_what_is_no_layer(value, received):
    must = "must be a layer or a function x -> y, got"
    for combine in (fnet.sequential, fnet.residual, fnet.parallel):
        with refused(TypeError, f"`layers[1]` {must} {received}"):
            combine(fnet.relu, value)
    for call in (
        lambda: fnet.init(value, KEY, (3,)),
        lambda: fnet.init_state(value, (3,)),
        lambda: fnet.apply(value, {}, X),
        lambda: fnet.forward(value, {}, {}, X),
        lambda: fnet.output_shape(value, (3,)),
        lambda: fnet.summary(value, (3,)),
    ):
        with refused(TypeError, f"`net` {must} {received}"):
            call()


NAN = float("nan")


@pytest.mark.parametrize(
    "layer, name, values, must",
    [
        (
            fnet.dense,
            "units",
            [0, -1, True, 2.5, "3", None],
            "be an integer of at least 1, got {}. Pass the number of outputs, such as dense(512).",
        ),
        (
            fnet.dropout,
            "rate",
            [-0.1, 1, 20, NAN],
            "be in [0, 1), got {}. It is the fraction dropped: dropout(0.2) keeps 80 %.",
        ),
        (
            fnet.batch_norm,
            "momentum",
            [-0.1, 1, NAN],
            "be in [0, 1), got {}. 0.99 remembers about the last hundred batches.",
        ),
        *(
            (
                layer,
                "epsilon",
                [-1e-3, NAN],
                "be in [0, inf), got {}. The default of 1e-3 suits most data.",
            )
            for layer in (fnet.batch_norm, fnet.layer_norm)
        ),
    ],
)
def test_hyperparameters_out_of_range(layer, name, values, must):
    for value in values:
        message = f"`{name}` of {layer.__name__} must {must.format(repr(value))}"
        with refused(ValueError, message):
            layer(**{name: value})


@pytest.mark.parametrize("in_shape", [3, [3], (3.0,), (None, 3), None])
def test_in_shape_that_is_none(in_shape):
    for call in (
        lambda: fnet.init(fnet.dense(2), KEY, in_shape),
        lambda: fnet.init_state(fnet.dense(2), in_shape),
        lambda: fnet.output_shape(fnet.dense(2), in_shape),
        lambda: fnet.summary(fnet.dense(2), in_shape),
    ):
        with refused(
            TypeError,
            f"`in_shape` must be a tuple of integers, got {in_shape!r}. "
            "Write (784,) for vectors, (28, 28) for images, without the batch axis.",
        ):
            call()


@pytest.mark.parametrize("in_shape", [(0,), (3, -1)])
def test_in_shape_with_an_axis_that_is_none(in_shape):
    with refused(ValueError, f"`in_shape` must have no axis below 1, got {in_shape}. Write"):
        fnet.init(fnet.dense(2), KEY, in_shape)


@pytest.mark.parametrize(
    "key, received",
    [
        (0, "0"),
        ("0", "'0'"),
        (np.uint32([0, 1]), "an array of shape (2,)"),
        (jax.random.PRNGKey(0), "an array of shape (2,)"),
    ],
)
def test_key_that_is_none(key, received):
    message = f"`key` must be a typed random key, got {received}. Create one: jax.random.key(0)"
    with refused(TypeError, message):
        fnet.init(fnet.dense(2), key, (3,))
    with refused(TypeError, message):
        fnet.forward(fnet.dense(2), weights(3, 2), {}, X, key)


def test_many_keys():
    with refused(TypeError, "`key` must be one key, got keys of shape (3,). Use jax.vmap over"):
        fnet.init(fnet.dense(2), jax.random.split(KEY, 3), (3,))


@pytest.mark.parametrize("layer", [fnet.dense(2), fnet.batch_norm(), fnet.layer_norm()])
def test_samples_without_a_feature_axis(layer):
    with refused(
        ValueError,
        f"{layer.name}: expected an input with a feature axis, got in_shape=() for each sample. "
        "Give a single feature an axis of its own, in_shape=(1,), and a sample alone one of the "
        "batch, x[None].",
    ):
        fnet.init(layer, KEY, ())


def test_features_that_do_not_match_the_kernel():
    net = fnet.sequential(fnet.dense(500), fnet.dense(10))
    params = {"dense": weights(784, 500), "dense_1": weights(512, 10)}
    message = (
        "dense_1: expected input with 512 features in the last axis, got shape (128, 500). "
        "Build the parameters with in_shape=(500,), or flatten the input first."
    )
    for run in (fnet.apply, jax.jit(fnet.apply)):
        with refused(ValueError, message):
            run(net, params, numbers(128, 784))


def test_an_image_without_its_batch_axis_is_told_of_it():
    net = fnet.sequential(fnet.flatten, fnet.dense(3))
    for image in (numbers(16), numbers(4, 4)):
        with pytest.raises(ValueError, match=r"or give a sample alone the axis of the batch, x\[N"):
            fnet.predict(net, {"dense": weights(16, 3)}, image)


@pytest.mark.parametrize(
    "net, params, path",
    [
        (fnet.dense(2), weights(3, 2), "dense"),
        (
            fnet.sequential(fnet.relu, fnet.residual(fnet.dense(3))),
            {"residual": {"dense": weights(3, 3)}},
            "residual/dense",
        ),
        (
            fnet.parallel(fnet.sequential(), fnet.sequential(fnet.layer_norm())),
            {"sequential_1": {"layer_norm": {"scale": jnp.ones(3), "bias": jnp.ones(3)}}},
            "sequential_1/layer_norm",
        ),
    ],
)
def test_errors_name_the_way_to_the_layer(net, params, path):
    with refused(
        ValueError,
        f"{path}: expected input with 3 features in the last axis",
    ):
        fnet.apply(net, params, numbers(2, 28, 28))


@pytest.mark.parametrize(
    "params, error, message",
    [
        (
            {"dense": weights(3, 2)},
            TypeError,
            f"dense_1: expected parameters ['bias', 'kernel'], got []. {REBUILD}",
        ),
        (
            {"dense": weights(3, 2), "dense_1": {"kernel": numbers(2, 4)}},
            TypeError,
            f"dense_1: expected parameters ['bias', 'kernel'], got ['kernel']. {REBUILD}",
        ),
        (
            {"dense": weights(3, 2), "dense_1": weights(2, 4), "dense_2": weights(4, 4)},
            TypeError,
            "sequential: expected parameters of the layers ['dense', 'relu', 'dense_1'], got "
            f"['dense_2']. {THOSE}",
        ),
        (
            {"dense": weights(3, 2), "dense_1": weights(2, 5)},
            ValueError,
            f"dense_1: expected a kernel of shape (2, 4), got (2, 5). {REBUILD}",
        ),
        (
            {"dense": weights(3, 2), "dense_1": weights(2, 4) | {"bias": jnp.zeros(1)}},
            ValueError,
            f"dense_1: expected a bias of shape (4,), got (1,). {REBUILD}",
        ),
        (
            [weights(3, 2), weights(2, 4)],
            TypeError,
            "sequential: expected parameters of the layers ['dense', 'relu', 'dense_1'], got "
            f"a list. {THOSE}",
        ),
        (
            None,
            TypeError,
            "sequential: expected parameters of the layers ['dense', 'relu', 'dense_1'], got "
            f"None. {THOSE}",
        ),
    ],
    ids=["layer_missing", "bias_missing", "too_much", "other_units", "bias", "list", "none"],
)
def test_parameters_of_another_model(params, error, message):
    with refused(error, message):
        fnet.apply(fnet.sequential(fnet.dense(2), fnet.relu, fnet.dense(4)), params, X)


def test_parameters_of_a_bare_layer_that_are_no_dict():
    with refused(TypeError, f"dense: expected parameters ['bias', 'kernel'], got None. {REBUILD}"):
        fnet.apply(fnet.dense(2), None, X)


@pytest.mark.parametrize(
    "state, error, message",
    [
        (
            {},
            TypeError,
            "batch_norm: expected running statistics ['mean', 'variance'], got []. "
            "Make them with fnet.init_state(net, in_shape) and pass them as `state`.",
        ),
        (
            {"batch_norm_1": {}},
            TypeError,
            "sequential: expected model state of the layers ['batch_norm'], got "
            f"['batch_norm_1']. {THOSE}",
        ),
        (
            {"batch_norm": {"mean": jnp.zeros(4), "variance": jnp.ones(4)}},
            ValueError,
            "batch_norm: expected input with 4 features in the last axis, as `mean` has, got "
            "shape (2, 3). Build the parameters with in_shape=(3,).",
        ),
    ],
    ids=["missing", "other_names", "other_features"],
)
def test_state_of_another_model(state, error, message):
    net = fnet.sequential(fnet.batch_norm())
    params = {"batch_norm": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}
    with refused(error, message):
        fnet.apply(net, params, X, state)
    with refused(error, message):
        fnet.forward(net, params, state, X)


def test_stateful_model_without_its_state():
    with refused(TypeError, "batch_norm: expected running statistics ['mean', 'variance'], got []"):
        fnet.apply(fnet.batch_norm(), {"scale": jnp.ones(3), "bias": jnp.zeros(3)}, X)


def test_dropout_in_training_without_a_key():
    with refused(
        ValueError,
        "residual/dropout: expected a random key in training, got key=None. "
        "Pass one: fnet.forward(net, params, state, x, jax.random.key(0)).",
    ):
        fnet.forward(fnet.sequential(fnet.residual(fnet.dropout(0.5))), {}, {}, X)


@pytest.mark.parametrize("shape", [(4, 4), (4, -1), (-1, -1), (0, -1)])
def test_reshape_that_does_not_fit(shape):
    message = (
        f"reshape: expected samples that fit into {shape}, got shape (3,) with 3 entries. "
        "Pass a shape of the same size, with at most one -1."
    )
    with refused(ValueError, message):
        fnet.output_shape(fnet.reshape(shape), (3,))
    with refused(ValueError, message):
        fnet.apply(fnet.sequential(fnet.reshape(shape)), {}, X)


@pytest.mark.parametrize("reduced", [jnp.sum, jnp.ravel, jnp.transpose])
def test_function_that_drops_the_batch_axis(reduced):
    def drops(x):
        return reduced(x)

    with refused(
        ValueError,
        "drops: expected a function that keeps the batch axis, "
        f"got output shape {reduced(X).shape} for input shape (2, 3). Leave axis 0 as it is.",
    ):
        fnet.init(fnet.sequential(fnet.relu, drops), KEY, (3,))


def test_residual_that_changes_the_shape():
    net = fnet.sequential(fnet.residual(fnet.dense(4)))
    message = (
        "residual: expected layers that keep the shape (3,), got (4,). "
        "End them with dense(3), or use fnet.sequential."
    )
    with refused(ValueError, message):
        fnet.init(net, KEY, (3,))
    with refused(ValueError, message):
        fnet.apply(net, {"residual": {"dense": weights(3, 4)}}, X)


def broken(x):
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    "call, error, layers",
    [
        (
            lambda: fnet.apply(fnet.sequential(fnet.residual(broken)), {}, X),
            RuntimeError,
            ["broken", "residual"],
        ),
        (lambda: fnet.init(fnet.sequential(broken), KEY, (3,)), RuntimeError, ["broken"]),
        (lambda: fnet.output_shape(broken, (3,)), RuntimeError, ["broken"]),
        (
            lambda: fnet.init(fnet.layer(lambda key, in_shape: broken(key), max), KEY, (3,)),
            RuntimeError,
            ["layer"],
        ),
    ],
)
def test_errors_of_the_users_own_carry_the_layers_names(call, error, layers):
    with pytest.raises(error) as caught:
        call()
    notes = [note for note in caught.value.__notes__ if note.startswith("raised in layer")]
    assert notes == [f"raised in layer `{name}`" for name in layers]


def test_outputs_that_do_not_merge():
    net = fnet.sequential(fnet.parallel(fnet.dense(2), fnet.flatten))
    with refused(
        ValueError,
        "parallel: expected outputs that concatenate can merge, got shapes [(2, 2), (6,)].",
    ):
        fnet.init(net, KEY, (2, 3))


@pytest.mark.parametrize(
    "build",
    [
        lambda array: fnet.sequential(partial(jnp.add, array)),
        lambda array: fnet.dense(3, kernel_init=partial(initializers.normal, stddev=array)),
    ],
)
def test_arrays_are_no_part_of_a_model(build):
    with pytest.raises(TypeError, match="must be hashable, got .* with an array or a list in it"):
        build(jnp.ones(3))


@pytest.mark.parametrize(
    "build, argument",
    [
        (lambda: fnet.layer(3, 4), "init"),
        (lambda: fnet.dense(3, kernel_init="he_normal"), "kernel_init"),
        (lambda: fnet.parallel(fnet.relu, merge="sum"), "merge"),
    ],
)
def test_functions_that_are_none(build, argument):
    with refused(TypeError, f"`{argument}` must be a function, got "):
        build()


@pytest.mark.parametrize("value", ["0.5", None, True, jnp.ones(2)])
def test_numbers_that_are_none(value):
    for build in (fnet.dropout, fnet.rescale):
        with pytest.raises(TypeError, match=r"` of \w+ must be a number, got "):
            build(value)


@pytest.mark.parametrize("shape", [3, (2.0, 3), (-2, -3), "28"])
def test_reshape_to_what_is_no_shape(shape):
    with refused(ValueError, "`shape` of reshape must be a tuple of integers, one of which may"):
        fnet.reshape(shape)


def test_reshape_to_sizes_one_by_one():
    words = "`shape` of reshape must be a tuple of integers, one of which may be -1, got 28, 28. "
    with refused(ValueError, words + "Leave the batch axis out: reshape((28, 28))."):
        fnet.reshape(28, 28)


def test_batch_norm_of_one_sample():
    net = fnet.sequential(fnet.batch_norm())
    params, state = fnet.init(net, KEY, (3,)), fnet.init_state(net, (3,))
    with refused(ValueError, "batch_norm: expected a batch in training, (batch, ..., features)"):
        fnet.forward(net, params, state, X[0])
