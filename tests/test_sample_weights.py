"""Weights of samples and classes: the losses are multiplied, the mean is over the samples."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import LOSS, bits, images, start, task

import fnet

NET = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(3), fnet.softmax)
X, Y = images(50)
WEIGHTS = np.random.default_rng(0).uniform(0, 3, 50).astype(np.float32)
CLASSES = {0: 0.5, 2: 4.0}
BY_CLASS = np.array([0.5, 1.0, 4.0], np.float32)[Y]
RUN = {"epochs": 2, "batch_size": 8}
VALIDATION = images(20, seed=1)


def fit(data=(X, Y), loss=LOSS, **options):
    return fnet.fit(task(NET, loss), start(NET), data, progress=False, **RUN | options)


def equal(a, b) -> None:
    chex.assert_trees_all_equal(bits(a), bits(b))


@pytest.fixture(scope="module")
def weighted():
    return fnet.train(task(NET), start(NET), (X, Y, WEIGHTS), **RUN)


def test_a_step_descends_on_the_sum_of_weighted_losses_over_the_batch():
    """As Keras has it: over the number of samples, not over the sum of the weights."""
    params = np.array([[0.5], [-1.0]], np.float32)
    x = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    y, w = x[:, :1] * 3, np.float32([0, 1, 2, 5])
    net = fnet.dense(1, use_bias=False)
    state = fnet.train_state(net, fnet.sgd(0.1), jax.random.key(0), (2,))
    state = dataclasses.replace(state, params={"kernel": jnp.asarray(params)})
    step = fnet.train_step(fnet.supervised(net, "mean_squared_error", ["mean_absolute_error"]))
    new, logs = jax.jit(step)(state, (x, y, w))
    error = np.float64(x @ params - y)
    np.testing.assert_allclose(logs["loss"], (w * error[:, 0] ** 2).sum() / 4, rtol=1e-5)
    np.testing.assert_allclose(logs["mean_absolute_error"], abs(error).mean(), rtol=1e-5)
    slope = (2 * w[:, None] * error * x).sum(0, keepdims=True).T / 4
    np.testing.assert_allclose(new.params["kernel"], params - 0.1 * slope, rtol=1e-4, atol=1e-6)


def test_fit_with_sample_weights_is_train_with_them_bit_for_bit(weighted):
    equal(fit((X, Y, WEIGHTS)), weighted)
    equal(fit((X, Y, WEIGHTS.tolist())), weighted)


def test_batches_carry_their_weights(weighted):
    state = start(NET)
    for epoch in range(2):
        batches = fnet.batches((X, Y, WEIGHTS), 8, key=state.key, epoch=epoch)
        state, _ = fnet.fit(task(NET), state, batches, progress=False, **RUN | {"epochs": 1})
    equal(state, weighted[0])


def test_weights_of_one_are_no_weights():
    equal(fit((X, Y, np.ones(50, int))), fit())


def test_a_weight_of_zero_leaves_a_sample_out():
    """Of the gradient: the mean is still over all of them, so twice the weight makes up for it."""
    keep = np.arange(50) % 2 == 0
    options = {"batch_size": None, "epochs": 3, "shuffle": False}
    half, _ = fit((X, Y, 2.0 * keep), **options)
    alone, _ = fit((X[keep], Y[keep]), **options)
    chex.assert_trees_all_close(half.params, alone.params, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", ["integers", "one-hot"])
def test_class_weights_are_weights_of_their_samples(labels):
    y, loss = Y, LOSS
    if labels == "one-hot":
        y, loss = np.eye(3, dtype=np.float32)[Y], "categorical_crossentropy"
    chex.assert_trees_all_equal(fnet.class_weights(y, CLASSES), BY_CLASS)
    weighted, by_hand = (fit((X, y, w), loss) for w in (fnet.class_weights(y, CLASSES), BY_CLASS))
    equal(weighted, by_hand)


def test_a_column_of_labels_has_two_classes():
    y = (Y == 2).astype(np.float32)[:, None]
    chex.assert_trees_all_equal(fnet.class_weights(y, {1: 2.0}), 1 + y[:, 0])
    chex.assert_trees_all_equal(
        fnet.class_weights(y[y[:, 0] == 0], {1: 2.0}), np.ones((Y != 2).sum())
    )


def test_a_split_takes_the_weights_along():
    parts = [(X[rows], Y[rows], WEIGHTS[rows]) for rows in (slice(40), slice(40, 50))]
    given = fit(parts[0], validation=parts[1])
    equal(fit((X, Y, WEIGHTS), validation_split=0.2), given)
    logs = fnet.evaluate(
        fnet.supervised(NET, LOSS),
        given[0],
        parts[1],
    )
    np.testing.assert_allclose(logs["loss"], given[1]["val_loss"][-1], rtol=1e-6)


def weights(w):
    return lambda: fit((X, Y, w))


BAD = {
    "another length": (
        ValueError, r"^`data` must hold as many samples in every leaf, got `x` of shape "
        r"\(50, 4, 4\) and `weights` of shape \(49,\)", weights(WEIGHTS[1:]),
    ),
    "a column": (
        ValueError, r"^`weights` must be one a sample, .* or one a step, .* got \(8, 1\)",
        weights(WEIGHTS[:, None]),
    ),
    "words": (
        TypeError, r"^`weights` of `data` must hold numbers, got dtype <U1", weights(["a"] * 50),
    ),
    "below zero": (
        ValueError, r"^`weights` of `data` must not be negative, got -3\.0",
        weights(np.full(50, -3)),
    ),
    "not finite": (
        ValueError, r"^`weights` of `data` must be finite, got nan at index \(0,\)",
        weights(np.full(50, np.nan)),
    ),
    "an unknown class": (
        ValueError, r"^`weights` must name classes of `y`, in \[0, 3\), got \[3, 'a'\]\. Use the",
        lambda: fnet.class_weights(Y, {0: 1.0, 3: 2.0, "a": 1.0}),
    ),
    "not a dict": (
        TypeError, r"^`weights` must be a dict from class to weight, got a list\. Write \{0: ",
        lambda: fnet.class_weights(Y, [1.0, 2.0, 3.0]),
    ),
    "a class of negative weight": (
        ValueError, r"^`weights` must not be negative, got -1\.0",
        lambda: fnet.class_weights(Y, {0: -1.0}),
    ),
    "no classes": (
        ValueError, r"^`y` must hold one class for each sample, got shape \(50, 1\) and dtype "
        r"float32\. Weight the samples themselves",
        lambda: fnet.class_weights(WEIGHTS[:, None], {0: 2.0}),
    ),
    "classes below zero": (
        ValueError, r"^`y` must hold classes from 0 on, got -1",
        lambda: fnet.class_weights(Y - 1, {}),
    ),
    "rows that are not one-hot": (
        ValueError, r"^`y` must be one-hot where it has 3 columns",
        lambda: fnet.class_weights(np.ones((4, 3)), {}),
    ),
    "a batch's weights": (
        ValueError, r"^batch 2 of `data` must hold as many samples in every leaf",
        lambda: fit([(X, Y, WEIGHTS), (X, Y, WEIGHTS[1:])], epochs=1),
    ),
    "a loss of the batch": (
        ValueError, r"^`loss` must give one value a sample",
        lambda: fit((X, Y, WEIGHTS), loss=lambda y, p: p.mean()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    error, message, call = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_weights_of_steps_weight_each_step_of_a_sequence():
    """The masked mean of a loss a letter: as many steps as there are, not as have a weight."""
    y, logits = np.arange(12).reshape(4, 3) % 5, np.random.default_rng(0).normal(size=(4, 3, 5))
    weights = (np.arange(12).reshape(4, 3) % 3 > 0).astype(np.float32)
    net = fnet.sequential(fnet.dense(5), fnet.softmax)
    params = {"dense": {"kernel": jnp.eye(5), "bias": jnp.zeros(5)}}
    data = logits.astype(np.float32), y.astype(np.int32), weights
    evaluated = fnet.evaluate(fnet.supervised(net, LOSS), params, data)
    costs = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, y[..., None], -1)[..., 0]
    assert evaluated["loss"] == pytest.approx((costs * weights).mean(), rel=1e-5)
