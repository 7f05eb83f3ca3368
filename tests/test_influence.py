"""The influence of samples: by hand, against retraining without each, and where it is noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet

RATE, PENALTY = 0.1, 0.3


def squared(params, batch, key):
    x, y = batch
    return jnp.square(params["w/kernel"] * x - y)


def mean_squared(params, batch, key):
    return squared(params, batch, key).mean()


def chaotic(params, batch, key):
    """Each step of descent with rate 1 is the logistic map, w -> 4 w (1 - w)."""
    w = params["w/kernel"]
    return batch * (4 * w**3 / 3 - 3 * w**2 / 2)


def start(w=0.5, rate=RATE):
    return fnet.TrainState.create({"w/kernel": w}, fnet.sgd(rate), jax.random.key(0))


def line(seed, size):
    random = np.random.default_rng(seed)
    x = random.normal(size=size).astype(np.float32)
    return x, (2 * x + random.normal(size=size)).astype(np.float32)


@pytest.mark.parametrize("penalty", [0, PENALTY])
def test_one_step_by_hand(penalty):
    """w1 = w0 - rate (mean(2 x (w0 x - y) weight) + 2 penalty w0)."""
    train, validation = line(0, 5), line(1, 4)
    task = fnet.task(squared)
    if penalty:
        task = fnet.penalized(task, fnet.l2(penalty))
    came = fnet.influence(task, start(), train, validation, epochs=1, batch_size=None)

    x, y, x_valid, y_valid = (array.astype(np.float64) for array in (*train, *validation))
    slopes = 2 * x * (0.5 * x - y)
    w = 0.5 - RATE * (slopes.mean() + 2 * penalty * 0.5)
    slope = (2 * x_valid * (w * x_valid - y_valid)).mean() + 2 * penalty * w
    np.testing.assert_allclose(came, slope * -RATE * slopes / 5, rtol=1e-4, atol=1e-6)


def ranks(values):
    return np.argsort(np.argsort(values))


def test_it_ranks_as_retraining_without_each_of_200_samples_does():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 5)).astype(np.float32)
    y = (x @ random.normal(size=5) + random.normal(size=400) > 0).astype(np.int32)
    train, validation = (x[:200], y[:200]), (x[200:], y[200:])
    net = fnet.sequential(fnet.dense(8), fnet.tanh, fnet.dense(2), fnet.softmax)
    task = fnet.supervised(net, "sparse_categorical_crossentropy", ["accuracy"])
    state = fnet.train_state(net, fnet.momentum(0.1), jax.random.key(0), (5,))
    came = fnet.influence(task, state, train, validation, epochs=20, batch_size=50)

    @jax.jit
    def losses(weights):
        def loss(weights):
            end, _ = fnet.train(task, state, (*train, weights), epochs=20, batch_size=50)
            return fnet.evaluate(task, end, validation)["loss"]

        return jax.vmap(loss)(weights)

    whole, *without = np.asarray(losses(np.vstack([np.ones(200), 1 - np.eye(200)])))
    assert np.corrcoef(ranks(whole - np.array(without)), ranks(came))[0, 1] > 0.9


def test_where_the_derivative_is_noise_a_warning_says_so():
    task = fnet.task(chaotic)
    data, validation = np.ones(5, np.float32), np.ones(2, np.float32)
    fnet.influence(task, start(0.2, 1.0), data, validation, epochs=1, batch_size=None)
    with pytest.warns(RuntimeWarning, match="must agree with central differences .* are noise"):
        fnet.influence(task, start(0.2, 1.0), data, validation, epochs=30, batch_size=None)


DATA = line(0, 6)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"task": fnet.task(mean_squared)}, ValueError, r"one number a sample, shape \(4,\)"),
        ({"task": squared}, TypeError, "`task` must be a task"),
        ({"state": {}}, TypeError, "`state` must be a TrainState"),
        ({"data": None}, TypeError, "`data` of `influence` must hold samples, got None"),
        ({"validation": None}, TypeError, "`validation` of `influence` must hold samples"),
        ({"validation": DATA[0][:0]}, ValueError, "`validation` must hold at least one sample"),
        ({"epochs": 0}, ValueError, "`epochs` must be an integer of at least 1"),
        ({"memory": 0}, ValueError, "`memory` must be a number of bytes"),
        ({"memory": 10}, ValueError, "must fit into 10 bytes of memory, got a run that needs"),
    ],
)
def test_errors(change, error, words):
    arguments = {"task": fnet.task(squared), "state": start(), "data": DATA, "validation": DATA}
    with pytest.raises(error, match=words):
        fnet.influence(**{**arguments, "epochs": 3, "batch_size": 4, **change})


def test_it_is_called_outside_of_transformations():
    def traced(w):
        return fnet.influence(fnet.task(squared), start(w), DATA, DATA, epochs=1)

    with pytest.raises(TypeError, match=r"got one that JAX traces. Call it outside of jax.jit"):
        jax.jit(traced)(0.5)
