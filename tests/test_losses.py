"""Losses and metrics: against the reference for any shape, exact where they are hard, strict."""

import dataclasses
import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings, strategies as st
from jax.test_util import check_grads

import fnet
from fnet.losses.reductions import weighted


def real(rng, shape):
    return rng.normal(size=shape).astype(np.float32)


def tied(rng, shape):
    return rng.integers(0, 3, shape).astype(np.float32)


def fraction(rng, shape):
    return rng.uniform(0.05, 0.95, shape).astype(np.float32)


def bits(rng, shape):
    return rng.integers(0, 2, shape)


def distribution(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)


def labels(rng, shape):
    return rng.integers(0, shape[-1], shape[:-1])


def one_hot(rng, shape):
    return np.eye(shape[-1])[labels(rng, shape)]


def padded(rng, shape):
    return rng.integers(-1, shape[-1], shape[:-1])


def signs(rng, shape):
    return 2 * rng.integers(0, 2, shape) - 1


class Case(NamedTuple):
    function: Callable[..., Any]
    oracle: Callable[..., Any]
    y_true: Callable[..., Any]
    y_pred: Callable[..., Any]


def pair(function, oracle, y_true, y_pred, **keywords):
    return Case(partial(function, **keywords), partial(oracle, **keywords), y_true, y_pred)


BINARY = fnet.binary_crossentropy, reference.binary_crossentropy
DENSE = fnet.categorical_crossentropy, reference.categorical_crossentropy
SPARSE = fnet.sparse_categorical_crossentropy, reference.sparse_categorical_crossentropy
FOCAL = fnet.binary_focal_crossentropy, reference.binary_focal_crossentropy
DENSE_FOCAL = fnet.categorical_focal_crossentropy, reference.categorical_focal_crossentropy
DIVERGENCE = fnet.kl_divergence, reference.kl_divergence
LOSSES = {
    "squared": Case(fnet.mean_squared_error, reference.mean_squared_error, real, real),
    "absolute": Case(fnet.mean_absolute_error, reference.mean_absolute_error, real, real),
    "huber": Case(fnet.huber, reference.huber, real, real),
    "huber, delta": pair(fnet.huber, reference.huber, real, real, delta=0.25),
    "binary": pair(*BINARY, bits, fraction),
    "binary, soft": pair(*BINARY, fraction, fraction),
    "binary, logits": pair(*BINARY, bits, real, from_logits=True),
    "dense": pair(*DENSE, one_hot, distribution),
    "dense, soft": pair(*DENSE, distribution, distribution),
    "dense, logits": pair(*DENSE, one_hot, real, from_logits=True),
    "sparse": pair(*SPARSE, labels, distribution),
    "sparse, logits": pair(*SPARSE, labels, real, from_logits=True),
    "binary, smooth": pair(*BINARY, bits, fraction, label_smoothing=0.2),
    "dense, smooth": pair(*DENSE, one_hot, distribution, label_smoothing=0.2),
    "dense, smooth, logits": pair(*DENSE, one_hot, real, label_smoothing=0.2, from_logits=True),
    "sparse, smooth": pair(*SPARSE, labels, distribution, label_smoothing=0.2),
    "sparse, smooth, logits": pair(*SPARSE, labels, real, label_smoothing=1, from_logits=True),
    "sparse, ignored": pair(*SPARSE, labels, distribution, ignore_class=1),
    "sparse, ignored, logits": pair(
        *SPARSE, padded, real, ignore_class=-1, from_logits=True, label_smoothing=0.2
    ),
    "cosine": Case(fnet.cosine_similarity, reference.cosine_similarity, real, real),
    "hinge": Case(fnet.hinge, reference.hinge, bits, real),
    "hinge, signs": Case(fnet.hinge, reference.hinge, signs, real),
    "poisson": Case(fnet.poisson, reference.poisson, tied, fraction),
    "log-cosh": Case(fnet.log_cosh, reference.log_cosh, real, real),
    "focal": pair(*FOCAL, bits, fraction),
    "focal, logits": pair(*FOCAL, bits, real, from_logits=True, gamma=0.5, alpha=0.25),
    "focal, classes": pair(*DENSE_FOCAL, one_hot, distribution),
    "focal, classes, logits": pair(
        *DENSE_FOCAL, distribution, real, from_logits=True, gamma=3.0, alpha=0.5
    ),
    "dice": Case(fnet.dice, reference.dice, bits, fraction),
    "divergence": pair(*DIVERGENCE, distribution, distribution),
    "divergence, one-hot": pair(*DIVERGENCE, one_hot, distribution),
    "divergence, logits": pair(*DIVERGENCE, distribution, real, from_logits=True),
}
METRICS = {
    "accuracy": Case(fnet.accuracy, reference.accuracy, labels, tied),
    "accuracy, one-hot": Case(fnet.accuracy, reference.accuracy, one_hot, real),
    "top 2": Case(fnet.top_k_accuracy(2), partial(reference.top_k_accuracy, k=2), labels, tied),
    "top 2, one-hot": Case(
        fnet.top_k_accuracy(2), partial(reference.top_k_accuracy, k=2), one_hot, real
    ),
    "binary accuracy": Case(fnet.binary_accuracy, reference.binary_accuracy, bits, fraction),
    "binary accuracy, threshold": pair(
        fnet.binary_accuracy, reference.binary_accuracy, bits, fraction, threshold=0.25
    ),
}
CASES = LOSSES | METRICS
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_loss = pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)

SHAPE = (4, 2, 3)  # samples, time, classes


def arrays(case, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return case.y_true(rng, shape), case.y_pred(rng, shape)


@every_case
@settings(deadline=None, derandomize=True, max_examples=4)
@given(
    batch=st.integers(1, 4),
    inner=st.lists(st.integers(1, 3), max_size=2),
    classes=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_agrees_with_the_reference(case, batch, inner, classes, seed):
    y_true, y_pred = arrays(case, (batch, *inner, classes), seed)
    values = jax.jit(case.function)(y_true, y_pred)
    chex.assert_shape(values, (batch,))
    np.testing.assert_allclose(
        values, case.oracle(y_true, np.float64(y_pred)), rtol=1e-5, atol=1e-6
    )


P = np.float32([[[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]], [[0.1, 0.1, 0.8], [0.3, 0.4, 0.3]]])
Z = np.float32([[[2, -1, 0.5], [0, 3, -2]], [[1, 1, -0.5], [-4, 0.25, 0.125]]])
MANY = np.float32([[[0, 1, 0], [1, 0, 0]], [[1, 1, 0], [0, 0, 1]]])
ONE = np.float32([[[0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 1, 0]]])
NUMBERS = np.array([[1, -1], [2, 0]])
STEP_WEIGHTS = np.float32([[1, 0.5], [0, 2]])
BALANCED = partial(fnet.binary_focal_crossentropy, from_logits=True, gamma=1.5, alpha=0.3)
UNEQUAL = partial(
    fnet.categorical_focal_crossentropy, from_logits=True, gamma=1.0, alpha=(0.2, 0.3, 0.5)
)
KERAS = {  # a loss, its arguments, and what keras.losses 3.15 gives for each sample
    "cosine": (fnet.cosine_similarity, Z, P, [0.001171, 0.309278]),
    "hinge": (fnet.hinge, MANY, Z, [1.916667, 0.4375]),
    "hinge, signs": (fnet.hinge, 2 * MANY - 1, Z, [1.916667, 0.4375]),
    "poisson": (fnet.poisson, MANY, P, [0.508304, 1.301524]),
    "log-cosh": (fnet.log_cosh, MANY, Z, [1.139705, 0.633385]),
    "focal": (fnet.binary_focal_crossentropy, MANY, P, [0.042732, 0.910668]),
    "focal, balanced": (BALANCED, MANY, Z, [0.645508, 0.067974]),
    "focal, classes": (fnet.categorical_focal_crossentropy, ONE, P, [0.025673, 0.042349]),
    "focal, weights": (UNEQUAL, ONE, Z, [0.758283, 0.562443]),
    "dice": (fnet.dice, MANY, P, [0.4, 0.8]),
}


@pytest.mark.parametrize(("loss", "y_true", "y_pred", "desired"), KERAS.values(), ids=KERAS)
def test_equals_keras(loss, y_true, y_pred, desired):
    np.testing.assert_allclose(jax.jit(loss)(y_true, y_pred), desired, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("y_pred", "from_logits", "desired"), [(P, False, 0.7067545), (Z, True, 3.4767919)]
)
def test_an_ignored_class_gives_the_mean_of_keras(y_pred, from_logits, desired):
    loss = partial(fnet.sparse_categorical_crossentropy, from_logits=from_logits, ignore_class=-1)
    np.testing.assert_allclose(jax.jit(loss)(NUMBERS, y_pred).mean(), desired, rtol=1e-5)
    np.testing.assert_array_equal(jax.jit(loss)(np.full((2, 2), -1), y_pred), 0)


def test_an_ignored_class_may_be_no_class_of_the_model():
    net = fnet.sequential(fnet.dense(3), fnet.softmax)
    state = fnet.train_state(net, "sgd", jax.random.key(0), (2,))
    loss = partial(fnet.sparse_categorical_crossentropy, ignore_class=-1)
    x, y = real(np.random.default_rng(0), (4, 2)), np.array([-1, 0, 2, -1])
    task = fnet.supervised(net, loss)
    desired = fnet.sparse_categorical_crossentropy(y[1:3], fnet.predict(net, state, x)[1:3])
    cost = fnet.evaluate(task, state, (x, y))["loss"]
    np.testing.assert_allclose(cost, desired.mean(), rtol=1e-5)
    ragged = fnet.evaluate(task, state, (x[:3], y[:3]), batch_size=2)["loss"]
    first, second = desired  # of the batches (-1, 0) and (2,), by their samples
    np.testing.assert_allclose(ragged, (2 * first + second) / 3, rtol=1e-5)
    with pytest.raises(ValueError, match=r"^`y` must hold labels in \[0, 3\), got 0 to 7\."):
        fnet.evaluate(task, state, (x, np.array([-1, 0, 7, -1])))


@pytest.mark.parametrize(
    ("last", "loss", "y"),
    [
        (fnet.sigmoid, "binary_focal_crossentropy", [[1.0, 0, 1]]),
        (fnet.softmax, "categorical_focal_crossentropy", [[0.0, 1, 0]]),
    ],
)
def test_focal_crossentropies_are_exact_behind_their_activation(last, loss, y):
    """A confident mistake keeps its gradient."""
    net = fnet.sequential(fnet.dense(3), last)
    state = fnet.train_state(net, fnet.sgd(1.0), jax.random.key(0), (3,))
    params = {"dense": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}}
    state = dataclasses.replace(state, params=params)
    step = jax.jit(fnet.train_step(fnet.supervised(net, loss)))
    new, logs = step(state, (np.float32([[-200, -200, 200]]), np.float32(y)))
    assert logs["loss"] > 60 and abs(new.params["dense"]["bias"]).max() > 0.2


MASKED = partial(fnet.sparse_categorical_crossentropy, ignore_class=-1)
LOGITS_OF_CLASSES = partial(fnet.sparse_categorical_crossentropy, from_logits=True)


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "desired"),  # from keras.losses 3.15
    [
        (fnet.mean_squared_error, MANY, Z, 4.0755210),
        (LOGITS_OF_CLASSES, abs(NUMBERS), Z, 3.2622747),
        (fnet.binary_crossentropy, MANY, P, 0.4798752),
        (fnet.cosine_similarity, Z, P, 0.2230854),
        (MASKED, NUMBERS, P, 1.0336977),
    ],
)
def test_weights_of_steps_give_the_mean_of_keras(loss, y_true, y_pred, desired):
    values = jax.jit(partial(weighted, loss))(y_true, y_pred, STEP_WEIGHTS)
    chex.assert_shape(values, (2,))
    np.testing.assert_allclose(values.mean(), desired, rtol=1e-5)


def test_weights_of_samples_multiply_the_loss():
    desired = fnet.mean_squared_error(MANY, Z) * np.float32([2, 3])
    values = weighted(fnet.mean_squared_error, MANY, Z, np.float32([2, 3]))
    np.testing.assert_allclose(values, desired, rtol=1e-6)


def test_log_cosh_keeps_small_errors_and_bounds_large_ones():
    costs, slopes = jax.vmap(jax.value_and_grad(lambda e: fnet.log_cosh(jnp.zeros(1), e[None])[0]))(
        np.float32([0, 1e-4, -1e-4, 100, -1e30])
    )
    np.testing.assert_allclose(costs, [0, 5e-9, 5e-9, 99.306853, 1e30], rtol=1e-4)
    np.testing.assert_allclose(slopes, [0, 1e-4, -1e-4, 1, -1], rtol=1e-4)


def test_a_vector_of_zeros_has_no_direction():
    slope = jax.grad(lambda p: fnet.cosine_similarity(jnp.ones((1, 3)), p).sum())(jnp.zeros((1, 3)))
    chex.assert_tree_all_finite(slope)


@every_case
def test_jit_equals_eager(case):
    y_true, y_pred = arrays(case)
    eager = case.function(y_true, jnp.asarray(y_pred))
    np.testing.assert_allclose(eager, jax.jit(case.function)(y_true, y_pred), rtol=1e-6)


@every_case
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_the_dtype_of_the_predictions(case, dtype):
    y_true, y_pred = arrays(case)
    y_pred = jnp.asarray(y_pred, dtype)
    values = jax.jit(case.function)(y_true, y_pred)
    assert values.dtype == dtype
    tolerance = 8 * jnp.finfo(dtype).eps
    desired = case.oracle(y_true, np.float64(y_pred))
    np.testing.assert_allclose(np.float64(values), desired, rtol=tolerance, atol=tolerance)


@every_loss
def test_gradient_is_the_finite_difference(case):
    y_true, y_pred = arrays(case)
    loss = jax.jit(partial(case.function, y_true))
    check_grads(loss, (y_pred,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("loss", "y_pred", "slope"),
    [
        (fnet.mean_squared_error, [-2.0, 0.0, 2.0], [-4, 0, 4]),
        (fnet.huber, [-2.0, -1.0, 0.0, 1.0, 2.0], [-1, -1, 0, 1, 1]),
        (fnet.binary_crossentropy, [0.0, 0.5, 1.0], [1, 2, 0]),
    ],
)
def test_gradient_at_the_edges(loss, y_pred, slope):
    gradient = jax.jit(jax.grad(lambda y_pred: loss(np.zeros(len(slope)), y_pred).sum()))
    np.testing.assert_allclose(gradient(np.float32(y_pred)), slope)


@pytest.mark.parametrize(
    "loss", [fnet.mean_squared_error, fnet.binary_crossentropy, fnet.binary_accuracy, fnet.huber]
)
def test_predictions_may_be_one_number_a_sample(loss):
    y_true, y_pred, loss = np.array([0, 1]), np.float32([0.25, 0.25]), jax.jit(loss)
    np.testing.assert_array_equal(loss(y_true, y_pred), loss(y_true[:, None], y_pred[:, None]))


@pytest.mark.parametrize("name", ["squared", "binary", "dense", "binary accuracy"])
def test_targets_of_any_dtype(name):
    y_true, y_pred = np.array([[0, 1], [1, 0]]), np.float32([[0.25, 0.75], [0.25, 0.75]])
    function = jax.jit(CASES[name].function)
    desired = function(np.float32(y_true), y_pred)
    for dtype in (np.uint8, np.int64, bool):
        np.testing.assert_array_equal(function(y_true.astype(dtype), y_pred), desired)


def test_a_confident_mistake_costs_16_1():
    for loss, right in (
        (fnet.categorical_crossentropy, [[1, 0]]),
        (fnet.sparse_categorical_crossentropy, [0]),
        (fnet.binary_crossentropy, [[1, 0]]),
    ):
        cost = jax.jit(loss)(np.array(right), np.float32([[0, 1]]))
        np.testing.assert_allclose(cost, [-np.log(1e-7)], rtol=1e-6)


@pytest.mark.parametrize("from_logits", [False, True])
def test_sparse_equals_dense_on_one_hot(from_logits):
    y_true, y_pred = arrays(LOSSES["sparse"])
    rows = reference.one_hot(y_true, SHAPE[-1])
    sparse, dense = (
        jax.jit(LOSSES[name + ", logits" * from_logits].function) for name in ("sparse", "dense")
    )
    np.testing.assert_array_equal(sparse(y_true, y_pred), dense(rows, y_pred))


FAR = 1e4
LOGITS = np.float32([[FAR, -FAR, 0], [-FAR, FAR, FAR], [FAR, FAR, FAR], [1, 2, 3], [0, -20, 20]])
TARGETS = np.tile(np.arange(3), 5)
X = LOGITS.repeat(3, axis=0)  # every logits with every target
ONE_HOT = np.eye(3)[TARGETS]


@cache
def gradients(net, name, **keywords):
    """Loss and gradient of the bias for each row of X, from a step of `fnet.train_step`."""
    loss = partial(getattr(fnet, name), **keywords) if keywords else name

    def one_row(x, y):
        params = {"dense": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}}
        state = fnet.train_state(net, fnet.momentum(), jax.random.key(0), (3,))
        state, logs = fnet.train_step(fnet.supervised(net, loss))(
            dataclasses.replace(state, params=params), (x[None], y[None])
        )
        return logs["loss"], state.opt_state.velocity["dense"]["bias"]

    return jax.jit(jax.vmap(one_row))


SOFTMAX_SLOPE = np.exp(reference.log_softmax(np.float64(X))) - ONE_HOT
SIGMOID_SLOPE = (np.exp(reference.log_sigmoid(np.float64(X))) - ONE_HOT) / 3


@pytest.mark.parametrize(
    ("activation", "name", "y_true", "slope"),
    [
        (fnet.softmax, "categorical_crossentropy", ONE_HOT, SOFTMAX_SLOPE),
        (fnet.softmax, "sparse_categorical_crossentropy", TARGETS, SOFTMAX_SLOPE),
        (jax.nn.softmax, "sparse_categorical_crossentropy", TARGETS, SOFTMAX_SLOPE),
        (fnet.sequential(fnet.softmax), "categorical_crossentropy", ONE_HOT, SOFTMAX_SLOPE),
        (fnet.sigmoid, "binary_crossentropy", ONE_HOT, SIGMOID_SLOPE),
        (jax.nn.sigmoid, "binary_crossentropy", ONE_HOT, SIGMOID_SLOPE),
    ],
)
def test_training_behind_an_activation_is_exact(activation, name, y_true, slope):
    loss, gradient = gradients(fnet.sequential(fnet.dense(3), activation), name)(X, y_true)
    exact = getattr(reference, name)(y_true, np.float64(X), from_logits=True)
    np.testing.assert_allclose(loss, exact, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-7)

    from_logits = gradients(fnet.sequential(fnet.dense(3)), name, from_logits=True)
    chex.assert_trees_all_equal((loss, gradient), from_logits(X, y_true))


SMOOTH_SLOPE = SOFTMAX_SLOPE + 0.1 * (ONE_HOT - 1 / 3)


@pytest.mark.parametrize(
    ("loss", "y_true", "slope"),
    [
        (fnet.categorical_crossentropy, ONE_HOT, SMOOTH_SLOPE),
        (fnet.sparse_categorical_crossentropy, TARGETS, SMOOTH_SLOPE),
        (fnet.kl_divergence, ONE_HOT, SOFTMAX_SLOPE),
    ],
)
def test_training_with_smooth_labels_and_divergences_is_exact_too(loss, y_true, slope):
    options = {} if loss is fnet.kl_divergence else {"label_smoothing": 0.1}
    net = fnet.sequential(fnet.dense(3), fnet.softmax)
    value, gradient = gradients(net, loss.__name__, **options)(X, y_true)
    oracle = getattr(reference, loss.__name__)
    exact = oracle(y_true, np.float64(X), from_logits=True, **options)
    np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-6)


def test_confusion_matrix():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 4, (2, 5, 20))
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (y_true, y_pred), 1)
    np.testing.assert_array_equal(fnet.confusion_matrix(y_true, y_pred.astype(np.uint8)), counts)
    compiled = jax.jit(fnet.confusion_matrix, static_argnames="num_classes")
    wider = compiled(y_true, y_pred, num_classes=6)
    np.testing.assert_array_equal(wider, np.pad(counts, (0, 2)))
    assert fnet.confusion_matrix(y_true[:0], y_pred[:0], 2).sum() == 0


def test_metrics_see_what_the_activation_gives(key):
    net = fnet.sequential(fnet.dense(1, use_bias=False), fnet.sigmoid)
    state = fnet.train_state(net, "sgd", key, (1,))
    state = dataclasses.replace(state, params={"dense": {"kernel": jnp.ones((1, 1))}})
    step = fnet.train_step(
        fnet.supervised(net, "binary_crossentropy", ["binary_accuracy", "mean_absolute_error"])
    )
    _, logs = jax.jit(step)(state, (jnp.full((2, 1), 0.1), jnp.ones((2, 1))))
    assert logs["binary_accuracy"] == 1  # a logit of 0.1 is a probability of 0.525
    np.testing.assert_allclose(logs["mean_absolute_error"], 1 - 0.52498, rtol=1e-4)


def test_accuracy_by_hand():
    y_pred = np.float32([[0.1, 0.7, 0.2], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4]])
    for y_true in ([1, 1, 2], [[0, 1, 0], [0, 1, 0], [0, 0, 1]]):
        np.testing.assert_array_equal(jax.jit(fnet.accuracy)(np.array(y_true), y_pred), [1, 0, 1])


def test_top_k_of_equals_takes_the_lowest_first():
    y_true, y_pred = np.arange(4), np.full((4, 4), np.float32(0.25))
    for k in (1, 3, 4, 9):
        hits = jax.jit(fnet.top_k_accuracy(k))(y_true, y_pred)
        np.testing.assert_array_equal(hits, y_true < k, err_msg=f"{k=}")


def test_top_k_is_a_value_with_the_name_of_its_k():
    assert fnet.top_k_accuracy(3) == fnet.top_k_accuracy(np.int64(3)) != fnet.top_k_accuracy(5)
    assert fnet.top_k_accuracy(3).__name__ == "top_3_accuracy"


@pytest.mark.parametrize(
    "metric", [fnet.accuracy, fnet.top_k_accuracy(1), fnet.sparse_categorical_crossentropy]
)
def test_a_diverged_model_is_never_right(metric):
    value = jax.jit(metric)(np.array([2]), np.full((1, 3), np.float32(np.nan)))
    assert np.isnan(value) or value == 0


def test_binary_accuracy_is_strictly_above_the_threshold():
    hits = jax.jit(fnet.binary_accuracy)(
        np.array([[0], [1], [1]]), np.float32([[0.5], [0.5], [0.6]])
    )
    np.testing.assert_array_equal(hits, [1, 0, 1])


@pytest.mark.parametrize(
    "function",
    [
        fnet.sparse_categorical_crossentropy,
        fnet.accuracy,
        fnet.top_k_accuracy(150),
        lambda y_true, y_pred: fnet.one_hot(y_true, y_pred.shape[-1]),
    ],
)
def test_labels_may_be_bytes(function):
    """Also where a byte cannot count the classes."""
    y_true, y_pred = np.array([0, 44, 200]), fraction(np.random.default_rng(0), (3, 300))
    chex.assert_trees_all_equal(
        jax.jit(function)(y_true.astype(np.uint8), y_pred), jax.jit(function)(y_true, y_pred)
    )


@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,), ()])
def test_one_hot(shape):
    numbers = np.random.default_rng(0).integers(0, 5, shape)
    rows = fnet.one_hot(numbers, 5)
    assert rows.dtype == jnp.float32
    np.testing.assert_array_equal(rows, reference.one_hot(numbers, 5))
    assert fnet.to_categorical is fnet.one_hot


NET = fnet.sequential(fnet.dense(3), fnet.softmax)
COLUMN, ROWS, INTEGERS = jnp.ones((4, 1)), jnp.ones((4, 3)), jnp.arange(4) % 3
ERRORS = [
    *[
        (
            lambda function=function: function(jnp.ones(4), COLUMN),
            ValueError,
            "`y_true` must have the shape of `y_pred`, (4, 1), got (4,). Reshape the targets",
        )
        for function in (
            fnet.mean_squared_error,
            fnet.mean_absolute_error,
            fnet.huber,
            fnet.binary_crossentropy,
            fnet.binary_accuracy,
        )
    ],
    (
        lambda: fnet.categorical_crossentropy(jnp.ones((4, 2)), ROWS),
        ValueError,
        "`y_true` must have the shape of `y_pred`, (4, 3), got (4, 2).",
    ),
    (
        lambda: fnet.categorical_crossentropy(INTEGERS, ROWS),
        ValueError,
        "categorical_crossentropy: `y_true` must be one-hot, of shape (4, 3), got shape (4,). "
        "For integer labels use sparse_categorical_crossentropy, or make them one-hot: "
        "fnet.one_hot(y_true, 3).",
    ),
    (
        lambda: fnet.sparse_categorical_crossentropy(ROWS, ROWS),
        ValueError,
        "sparse_categorical_crossentropy: `y_true` must be integer labels of shape (4,), "
        "got shape (4, 3). For one-hot labels use categorical_crossentropy, or take",
    ),
    (
        lambda: fnet.sparse_categorical_crossentropy(INTEGERS[:, None], ROWS),
        ValueError,
        "sparse_categorical_crossentropy: `y_true` must be integer labels of shape (4,), got s",
    ),
    (
        lambda: fnet.sparse_categorical_crossentropy(jnp.ones(4), ROWS),
        TypeError,
        "sparse_categorical_crossentropy: `y_true` must be integer labels, got dtype float32. "
        "Convert them: y_true.astype('int32').",
    ),
    *[
        (
            lambda metric=metric: metric(jnp.ones(4, int), COLUMN),
            ValueError,
            "accuracy: `y_pred` must have one column per class, got shape (4, 1). "
            "For a single probability use binary_accuracy.",
        )
        for metric in (fnet.accuracy, fnet.top_k_accuracy(2))
    ],
    (
        lambda: fnet.accuracy(jnp.ones((4, 2), int), ROWS),
        ValueError,
        "accuracy: `y_true` must be integers of shape (4,) or one-hot of shape (4, 3), "
        "got shape (4, 2). For labels in a column use y_true[..., 0].",
    ),
    *[
        (
            lambda k=k: fnet.top_k_accuracy(k),
            ValueError,
            f"`k` of top_k_accuracy must be an integer of at least 1, got {k}. Write",
        )
        for k in (0, -1, 2.5)
    ],
    (
        lambda: weighted(fnet.mean_squared_error, ROWS, ROWS, jnp.ones((4, 2))),
        ValueError,
        "`weights` must be one a sample, (4,), or one a step, the first axes of `y_true`, (4, 3); "
        "got (4, 2).",
    ),
    (
        lambda: fnet.categorical_focal_crossentropy(ROWS, ROWS, alpha=(0.5, 0.5)),
        ValueError,
        "categorical_focal_crossentropy: `alpha` must be a number or one for each of the 3 classes",
    ),
    (
        lambda: fnet.one_hot(jnp.array([0.0]), 3),
        TypeError,
        "`labels` must be integers, got dtype float32. Convert them: labels.astype('int32').",
    ),
    (
        lambda: fnet.one_hot(jnp.array([0, 3]), 3),
        ValueError,
        "`labels` must hold labels in [0, 3), got 0 to 3. Correct the labels, or give the last",
    ),
    (
        lambda: fnet.one_hot(jnp.array([-1, 2]), 3),
        ValueError,
        "`labels` must hold labels in [0, 3), got -1 to 2.",
    ),
    *[
        (
            lambda loss=loss: loss(ROWS, ROWS, label_smoothing=1.5),
            ValueError,
            f"{loss.__name__}: `label_smoothing` must be in [0, 1], got 1.5. 0.1 spreads a tenth",
        )
        for loss in (
            fnet.binary_crossentropy,
            fnet.categorical_crossentropy,
            fnet.sparse_categorical_crossentropy,
        )
    ],
    (
        lambda: fnet.confusion_matrix(INTEGERS, ROWS),
        TypeError,
        "confusion_matrix: `y_pred` must be integer labels, got dtype float32. For one-hot labels "
        "or probabilities use y_pred.argmax(-1).",
    ),
    (
        lambda: fnet.confusion_matrix(INTEGERS, INTEGERS[:3]),
        ValueError,
        "confusion_matrix: `y_pred` must have the shape of `y_true`, (4,), got (3,).",
    ),
    (
        lambda: fnet.confusion_matrix(INTEGERS, INTEGERS, 2),
        ValueError,
        "`y_true` must hold labels in [0, 2), got 0 to 2.",
    ),
    (
        lambda: fnet.confusion_matrix(INTEGERS, -INTEGERS),
        ValueError,
        "`y_pred` must hold labels in [0, 3), got -2 to 0.",
    ),
    (
        lambda: jax.jit(fnet.confusion_matrix)(INTEGERS, INTEGERS),
        ValueError,
        "confusion_matrix: `num_classes` must be given under jit, got None. Pass",
    ),
    (
        lambda: fnet.train_step(fnet.supervised(NET, "mse")),
        ValueError,
        "`loss` must be a function or one of 'binary_crossentropy', "
        "'binary_focal_crossentropy', 'categorical_crossentropy', "
        "'categorical_focal_crossentropy', 'cosine_similarity', 'dice', 'hinge', 'huber', "
        "'kl_divergence', 'log_cosh', 'mean_absolute_error', 'mean_squared_error', 'poisson', "
        "'sparse_categorical_crossentropy', got 'mse'. Check the spelling",
    ),
    (
        lambda: fnet.train_step(fnet.supervised(NET, "huber", ["acc"])),
        ValueError,
        "`metrics` must be a function or one of 'accuracy', 'auc', 'binary_accuracy', 'f1', "
        "'mean_absolute_error', 'mean_squared_error', 'precision', 'recall', got 'acc'. Check the",
    ),
    (
        lambda: fnet.train_step(fnet.supervised(NET, None)),
        TypeError,
        "`loss` must be a function or one of 'binary_crossentropy', ",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_refuses(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        call()
