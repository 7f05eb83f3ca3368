"""What a run tells of its single steps: the recorded series, and where it stopped being finite."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import LOSS, METRICS, bits, classifier, images, start, task

import fnet

DATA = images(50)
RECORD = ["loss", "accuracy", "grad_norm", "param_norm", "update_norm", "learning_rate"]
RUN = {"epochs": 2, "batch_size": 8}


def schedule_start():
    return start(optimizer=fnet.momentum(fnet.cosine(0.1, 20), beta=0.0))


def norm(tree) -> float:
    return float(
        np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in jax.tree.leaves(tree)))
    )


@pytest.fixture(scope="module")
def by_hand():
    """The series of steps taken from Python; without momentum the update is lr times gradient."""
    step = jax.jit(fnet.train_step(fnet.supervised(classifier(), LOSS, METRICS)))
    state, series = schedule_start(), []
    for epoch in range(2):
        for batch in fnet.batches(DATA, 8, key=state.key, epoch=epoch):
            new, logs = step(state, batch)
            rate = float(fnet.cosine(0.1, 20)(state.step))
            moved = norm(jax.tree.map(jnp.subtract, new.params, state.params))
            row = {"step": int(state.step), "learning_rate": rate, "update_norm": moved}
            row |= {"grad_norm": moved / rate, "param_norm": norm(state.params), **logs}
            series.append(row)
            state = new
    return {name: np.array([row[name] for row in series]) for name in ("step", *RECORD)}


@pytest.mark.parametrize("every", [1, 3])
def test_train_records_what_steps_from_python_see(every, by_hand):
    _, history = fnet.train(
        task(), schedule_start(), DATA, record=RECORD, record_every=every, **RUN
    )
    assert list(history) == ["loss", "accuracy", "record"]
    assert list(history["record"]) == ["step", *RECORD]
    kept = np.concatenate([np.arange(0, 7, every), np.arange(7, 14, every)])
    for name, series in history["record"].items():
        np.testing.assert_allclose(series, by_hand[name][kept], rtol=2e-3, err_msg=name)


def test_recording_changes_nothing_else():
    plain = fnet.train(task(), start(), DATA, **RUN)
    recorded = fnet.train(task(), start(), DATA, record=["loss"], **RUN)
    recorded[1].pop("record")
    chex.assert_trees_all_close(bits(recorded), bits(plain), rtol=1e-5, atol=1e-6)


def test_fit_records_the_same_from_arrays_and_from_batches():
    options = RUN | {"record": RECORD, "record_every": 3}
    _, trained = fnet.train(task(), start(), DATA, shuffle=False, **options)
    for data in (DATA, list(fnet.batches(DATA, 8))):
        _, history = fnet.fit(task(), start(), data, shuffle=False, progress=False, **options)
        assert list(history["record"]) == ["step", *RECORD]
        chex.assert_trees_all_close(history, trained, rtol=1e-5)
        chex.assert_type(history["record"]["step"], int)


def test_a_history_with_a_record_has_a_panel_a_series():
    record = {"step": [0, 2], "loss": [1.0, 0.5], "grad_norm": [3.0, 2.0]}
    figure = fnet.plot_history({"loss": [0.7], "val_loss": [0.8], "record": record})
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [
        ("epoch", "loss"),
        ("step", "loss of a step"),
        ("step", "grad norm of a step"),
    ]
    assert figure.axes[2].lines[0].get_xdata().tolist() == [0, 2]


def squared(x):
    return x * x


NET = fnet.sequential(
    fnet.dense(4), fnet.residual(fnet.dense(4), squared), fnet.batch_norm(), fnet.dense(1)
)
X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
X[41] = 1e25  # its square is infinite
FIT = {"batch_size": 4, "shuffle": False, "progress": False}
WORDS = (
    r"fit stopped in epoch 1 with the state from before step 10, which is not finite: "
    r"residual/squared: gives what is not finite from an input of up to \d\.?\d*e\+2\d\. Lower the"
)


def regression_start(optimizer=None):
    return fnet.train_state(NET, optimizer or fnet.sgd(1e-3), jax.random.key(0), (3,))


@pytest.mark.parametrize("form", ["arrays", "batches"])
def test_a_loss_that_is_not_finite_is_reported_by_step_and_layer(form):
    data = X, X[:, :1]
    begun, clean = regression_start(), tuple(a[:40] for a in data)
    source = data if form == "arrays" else list(fnet.batches(data, 4))
    with pytest.warns(RuntimeWarning, match=WORDS):
        state, history = fnet.fit(
            fnet.supervised(NET, "mean_squared_error"), begun, source, epochs=3, **FIT
        )
    expected, _ = fnet.train(
        fnet.supervised(NET, "mean_squared_error"),
        begun,
        clean,
        epochs=1,
        batch_size=4,
        shuffle=False,
    )
    chex.assert_trees_all_equal(bits(state), bits(expected))
    chex.assert_shape(history["loss"], (0,))


def test_the_epochs_before_it_are_kept():
    """The batch is fine until the update of the first epoch's end makes it overflow."""
    data = X[:40], X[:40, :1]
    state = regression_start(fnet.sgd(fnet.piecewise((9,), (1e-3, 1e30))))
    with pytest.warns(RuntimeWarning, match=r"stopped in epoch 2 .* before step 10, .*: "):
        state, history = fnet.fit(
            fnet.supervised(NET, "mean_squared_error"), state, data, epochs=3, **FIT
        )
    chex.assert_shape(history["loss"], (1,))
    assert state.step == 10


def test_shuffled_batches_are_found_again():
    data = X, X[:, :1]
    state = regression_start()
    batches = fnet.batches(data, 4, key=state.key, epoch=0)
    number = next(i for i, (x, _) in enumerate(batches) if np.abs(x).max() > 1e20)
    with pytest.warns(RuntimeWarning, match=f"before step {number}, .*residual/squared"):
        fnet.fit(
            fnet.supervised(NET, "mean_squared_error"),
            state,
            data,
            epochs=1,
            **FIT | {"shuffle": True},
        )


def test_parameters_and_losses_are_blamed_too():
    state = regression_start()
    bad = jax.tree.map(lambda p: jnp.full_like(p, np.nan), state.params["dense_1"])
    broken = dataclasses.replace(state, params=state.params | {"dense_1": bad})
    data = X[:8], X[:8, :1]
    with pytest.warns(RuntimeWarning, match="dense_1: has parameters that are not finite"):
        fnet.fit(fnet.supervised(NET, "mean_squared_error"), broken, data, epochs=1, **FIT)
    with pytest.warns(RuntimeWarning, match="the loss gives what is not finite from outputs"):
        fnet.fit(
            fnet.supervised(NET, lambda y, p: jnp.log(-jnp.abs(p[:, 0]))),
            state,
            data,
            epochs=1,
            **FIT,
        )
    with pytest.warns(RuntimeWarning, match="the batch holds inputs that are not finite"):
        fnet.fit(
            fnet.supervised(NET, "mean_squared_error"),
            state,
            [(jnp.full((4, 3), jnp.inf), jnp.ones((4, 1)))],
            epochs=1,
            **FIT,
        )


@pytest.mark.parametrize("form", ["arrays", "batches"])
def test_raise_says_the_same(form):
    data = X, X[:, :1]
    source = data if form == "arrays" else list(fnet.batches(data, 4))
    with pytest.raises(FloatingPointError, match=WORDS):
        fnet.fit(
            fnet.supervised(NET, "mean_squared_error"),
            regression_start(),
            source,
            epochs=3,
            on_nonfinite="raise",
            **FIT,
        )


@pytest.mark.parametrize("form", ["arrays", "batches"])
def test_skipped_steps_are_left_out_and_counted(form):
    data, begun = (X, X[:, :1]), regression_start("adam")
    source = data if form == "arrays" else list(fnet.batches(data, 4))
    options = FIT | {"record": ["loss"], "on_nonfinite": "skip"}
    state, history = fnet.fit(
        fnet.supervised(NET, "mean_squared_error"), begun, source, epochs=2, **options
    )

    step = jax.jit(fnet.train_step(fnet.supervised(NET, "mean_squared_error")))
    expected, losses = begun, []
    for batch in 2 * list(fnet.batches(data, 4)):
        after, logs = step(expected, batch)
        if np.isfinite(logs["loss"]):
            expected = after
        else:
            expected = dataclasses.replace(expected, step=expected.step + 1)
        losses.append(float(logs["loss"]))
    chex.assert_trees_all_equal(bits(state), bits(expected))
    np.testing.assert_array_equal(history["skipped"], [1, 1])
    np.testing.assert_array_equal(history["record"]["loss"], losses)
    means = [np.mean([x for x in part if np.isfinite(x)]) for part in (losses[:15], losses[15:])]
    np.testing.assert_allclose(history["loss"], means, rtol=1e-5)


def test_the_mean_is_over_the_steps_that_were_not_left_out():
    """The calls after the one with such a step count only their own samples."""
    x = X[:40].copy()
    x[5] = 1e25
    options = FIT | {"record": ["loss"], "on_nonfinite": "skip"}
    _, history = fnet.fit(
        fnet.supervised(NET, "mean_squared_error"),
        regression_start(),
        (x, x[:, :1]),
        epochs=1,
        **options,
    )
    losses = history["record"]["loss"]
    chex.assert_shape(losses, (10,))
    np.testing.assert_allclose(history["loss"], [losses[jnp.isfinite(losses)].mean()], rtol=1e-5)


def root(x):
    return jnp.sqrt(jnp.maximum(x, 0.0))


def test_a_gradient_that_is_not_finite_is_blamed_on_its_layer():
    """The slope of the root at 0 is infinite, and 0 times that is NaN."""
    net = fnet.sequential(fnet.dense(2), fnet.residual(fnet.dense(2), root), fnet.dense(1))
    state = fnet.train_state(net, "sgd", jax.random.key(0), (3,))
    data = np.zeros((8, 3), np.float32), np.ones((8, 1), np.float32)
    words = "before step 0, .*: residual/root: gives a gradient that is not finite from one that is"
    with pytest.warns(RuntimeWarning, match=words):
        stopped, _ = fnet.fit(
            fnet.supervised(net, "mean_squared_error"), state, data, epochs=1, **FIT
        )
    chex.assert_trees_all_equal(bits(stopped), bits(state))


def test_the_gradient_of_the_loss_is_blamed_too():
    net = fnet.dense(1)
    state = fnet.train_state(net, "sgd", jax.random.key(0), (3,))
    data = np.zeros((8, 3), np.float32), np.zeros((8, 1), np.float32)
    task = fnet.supervised(net, lambda y, p: jnp.sqrt(jnp.abs(y - p))[:, 0])
    with pytest.warns(RuntimeWarning, match="the loss gives a gradient that is not finite"):
        fnet.fit(task, state, data, epochs=1, **FIT)


def test_an_update_that_is_not_finite_is_found_after_the_last_step():
    net = fnet.dense(1)
    state = fnet.train_state(net, fnet.sgd(1e38), jax.random.key(0), (3,))
    data = np.full((4, 3), 100, np.float32), np.zeros((4, 1), np.float32)
    with pytest.warns(RuntimeWarning, match="the update gives what is not finite from gradients"):
        stopped, _ = fnet.fit(
            fnet.supervised(net, "mean_squared_error"), state, data, epochs=1, **FIT
        )
    chex.assert_trees_all_equal(bits(stopped), bits(state))


def test_an_optimizer_may_start_at_infinity():
    class Transformation(NamedTuple):
        init: Callable
        update: Callable

    best = Transformation(
        lambda params: jnp.array(jnp.inf), lambda grads, best, params: (grads, best)
    )
    state = fnet.train_state(NET, fnet.from_optax(best), jax.random.key(0), (3,))
    state, _ = fnet.fit(
        fnet.supervised(NET, "mean_squared_error"),
        state,
        (X[:8] * 0, X[:8, :1] * 0),
        epochs=1,
        **FIT,
    )
    assert state.step == 2


def test_a_finite_run_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fnet.fit(task(), start(), DATA, progress=False, **RUN)
