"""A model with several outputs: losses, metrics and weights as trees; Keras is the oracle."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet
from fnet.training.logits import LogitsFinder


def wiring(layers, x):
    h = layers.h(x)
    return {"kind": layers.kind(h), "size": layers.size(h)}


NET = fnet.graph(
    wiring,
    h=fnet.sequential(fnet.dense(2), fnet.tanh),
    kind=fnet.sequential(fnet.dense(3), fnet.softmax),
    size=fnet.dense(1),
)
LOSSES = {"kind": "sparse_categorical_crossentropy", "size": "mean_squared_error"}
TASK = fnet.supervised(
    NET,
    LOSSES,
    metrics={"kind": ["accuracy"], "size": ["mean_absolute_error"]},
    loss_weights={"kind": 0.5, "size": 2.0},
)
NAMES = ["loss", "kind_loss", "size_loss", "kind_accuracy", "size_mean_absolute_error"]
WEIGHTS = np.array([1, 2, 0, 1, 0.5, 3], np.float32)

# Model.evaluate of Keras 3.15 without and with the weights, and a second epoch of its SGD(0.1)
EVALUATED = [1.870465636, 1.149856925, 0.647768557, 0.5, 0.730590045]
WEIGHTED = [2.356436968, 1.831652522, 0.720305264, 0.5, 0.730590045]
SECOND_EPOCH = [1.287208557, 1.149342895, 0.356268495, 0.5, 0.540612876]
TRAINED_SIZE = [[0.442782551], [-0.912002146]]


def problem():
    random = np.random.default_rng(0)
    x = random.normal(size=(6, 3)).astype(np.float32)
    shapes = [(3, 2), (2,), (2, 3), (3,), (2, 1), (1,)]
    arrays = iter([np.round(random.normal(size=s), 2).astype(np.float32) for s in shapes])
    dense = [{"kernel": next(arrays), "bias": next(arrays)} for _ in range(3)]
    params = {"h": {"dense": dense[0]}, "kind": {"dense": dense[1]}, "size": dense[2]}
    size = np.round(random.normal(size=(6, 1)), 2).astype(np.float32)
    return params, (x, {"kind": np.array([0, 1, 2, 2, 1, 0]), "size": size})


def test_the_loss_is_that_of_keras():
    params, data = problem()
    evaluated = fnet.evaluate(TASK, params, data)
    assert list(evaluated) == NAMES
    np.testing.assert_allclose([*evaluated.values()], EVALUATED, rtol=1e-5)


@pytest.mark.parametrize("weights", [WEIGHTS, {"kind": WEIGHTS, "size": WEIGHTS}])
def test_weights_of_samples_are_one_array_or_one_for_each_output(weights):
    params, data = problem()
    evaluated = fnet.evaluate(TASK, params, (*data, weights))
    np.testing.assert_allclose([*evaluated.values()], WEIGHTED, rtol=1e-5)


def test_a_run_is_that_of_keras():
    params, data = problem()
    state = fnet.TrainState.create(params, fnet.sgd(0.1), jax.random.key(0))
    options = {"epochs": 2, "batch_size": 6, "validation": data}
    state, history = fnet.train(TASK, state, data, **options)
    assert list(history) == [*NAMES, *(f"val_{name}" for name in NAMES)]
    losses = np.array([history[name] for name in NAMES])
    np.testing.assert_allclose(losses.T, [EVALUATED, SECOND_EPOCH], rtol=1e-5)
    np.testing.assert_allclose(state.params["size"]["kernel"], TRAINED_SIZE, rtol=1e-5)


def test_a_crossentropy_of_any_output_is_exact():
    """Behind a softmax that rounds the right class to 0, loss and gradient are those of logits."""
    params, (x, y) = problem()
    params["kind"]["dense"]["bias"] = np.array([200.0, 0, 0], np.float32)
    wrong = {"kind": np.full(6, 2), "size": y["size"]}
    values = fnet.evaluate(TASK, params, (x, wrong))
    assert 190 < values["kind_loss"] < 210
    task = fnet.supervised(NET, LOSSES)
    state = fnet.TrainState.create(params, fnet.sgd(1.0), jax.random.key(0))
    new, _ = fnet.train_step(task)(state, (x, wrong))
    change = new.params["kind"]["dense"]["bias"] - params["kind"]["dense"]["bias"]
    np.testing.assert_allclose(change, [-1, 0, 1], atol=1e-4)


def test_the_logits_are_found_in_any_wiring_and_only_behind_a_last_activation():
    params, (x, _) = problem()
    finder = LogitsFinder(NET)
    y = fnet.apply(finder.net, params, x)
    logits = finder.logits(y["kind"])
    chex.assert_trees_all_close(jax.nn.softmax(logits.array), y["kind"])
    assert finder.logits(y["size"]) is None and finder.logits(y["kind"] * 1) is None


def test_outputs_may_be_a_tuple_and_lower_precision_computes_them_all():
    def pair(layers, x):
        return layers.a(x), layers.b(x)

    net = fnet.graph(pair, a=fnet.dense(1), b=fnet.sequential(fnet.dense(1), fnet.sigmoid))
    losses = "mean_squared_error", "binary_crossentropy"
    state = fnet.train_state(net, "sgd", jax.random.key(0), (3,))
    x = jnp.ones((4, 3))
    data = x, (jnp.ones((4, 1)), jnp.zeros((4, 1)))
    _, full = fnet.train_step(fnet.supervised(net, losses))(state, data)
    _, half = fnet.train_step(fnet.supervised(net, losses, compute_dtype="bfloat16"))(state, data)
    assert full.keys() == {"loss", "0_loss", "1_loss"}
    chex.assert_trees_all_close(full, half, rtol=0.05, atol=0.01)
    assert all(value.dtype == jnp.float32 for value in half.values())


def test_a_loss_of_ones_own_may_take_all_outputs():
    def total(y_true, y_pred):
        return jnp.square(y_pred["size"] - y_true)[:, 0] + y_pred["kind"][:, 0]

    params, (x, y) = problem()
    outputs = fnet.apply(NET, params, x)
    evaluated = fnet.evaluate(fnet.supervised(NET, total), params, (x, y["size"]))
    expected = np.square(outputs["size"] - y["size"]).mean() + outputs["kind"][:, 0].mean()
    assert evaluated["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_labels_of_an_output_are_checked_by_its_name():
    params, (x, y) = problem()
    with pytest.raises(ValueError, match=r"^`kind_y` must hold labels in \[0, 3\), got 3 to 3"):
        fnet.evaluate(TASK, params, (x, y | {"kind": np.full(6, 3)}))
    with pytest.raises(TypeError, match=r"^`y` must be a tree with the leaves \['kind', 'size'\]"):
        fnet.evaluate(TASK, params, (x, y["size"]))
