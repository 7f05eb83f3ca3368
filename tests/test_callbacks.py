"""Callbacks that remember, and callbacks that change the state."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import bits

import fnet

X = np.linspace(-1, 1, 20, dtype=np.float32)
OPTIONS = {"batch_size": 5, "progress": False}


def passing(params, batch, key):
    """w grows by the learning rate in each step; the loss falls until w passes 2, and rises."""
    fixed = jax.lax.stop_gradient(params["w"])
    return jnp.abs(fixed - 2) - (params["w"] - fixed) + 0 * batch


def constant(params, batch, key):
    return 0 * batch * params["w"] + 1


TASK = fnet.task(passing)


def start(learning_rate=0.1):
    return fnet.TrainState.create({"w": jnp.ones(())}, fnet.sgd(learning_rate), jax.random.key(0))


def equal(a, b) -> None:
    chex.assert_trees_all_equal(bits(a), bits(b))


@pytest.mark.parametrize(
    ("monitor", "values", "patience", "epochs"),
    [
        ("val_loss", [3, 2, 2.5, 1, 0], 0, 3),
        ("val_loss", [3, 2, 2.5, 1, 0], 1, 3),
        ("val_loss", [3, 2, 2.5, 1, 0], 2, 5),
        ("val_loss", [3, 4, 4, 4, 4], 3, 4),
        ("val_huber", [3, 2, 1, 0.5, 0.4], 1, 5),
        ("val_kl_divergence", [3, 2, 1, 0.5, 0.4], 1, 5),
        ("val_binary_crossentropy", [3, 2, 1, 0.5, 0.4], 1, 5),
        ("val_top_3_accuracy", [0.1, 0.2, 0.3, 0.4, 0.4], 1, 5),
        ("val_accuracy", [0.1, 0.2, 0.2, 0.3, 0.4], 0, 3),
        ("mean_absolute_error", [3, 2, 1, 1, 0], 0, 4),
        ("loss", [float("nan"), float("nan"), 1, 1, 1], 1, 2),
    ],
)
def test_early_stopping(monitor, values, patience, epochs):
    stop = fnet.early_stopping(monitor, patience)
    for _ in range(2):  # a second run starts anew
        done = [epoch for epoch, value in enumerate(values) if stop(epoch, None, {monitor: value})]
        assert (done[0] + 1 if done else len(values)) == epochs


def test_early_stopping_in_a_direction_of_the_users():
    losses = [3.0, 2.0, 1.0]
    for mode, stopped in {"min": [], "max": [1]}.items():
        stop = fnet.early_stopping("val_energy", patience=1, mode=mode)
        calls = [stop(epoch, None, {"val_energy": loss}) for epoch, loss in enumerate(losses)]
        assert [i for i, call in enumerate(calls[:2]) if call is fnet.STOP] == stopped
    with pytest.raises(ValueError, match="`mode` must say whether 'val_energy' improves downw"):
        fnet.early_stopping("val_energy")(0, None, {"val_energy": 1.0})


def test_early_stopping_names_what_it_can_monitor():
    with pytest.raises(ValueError, match="`monitor` must be one of 'loss', got 'val_loss'"):
        fnet.early_stopping()(0, None, {"loss": 1.0})


def test_early_stopping_ignores_what_is_within_min_delta():
    losses = [3.0, 2.95, 2.9, 2.85, 2.0]
    stop = fnet.early_stopping("loss", patience=3, min_delta=0.2)
    calls = [stop(epoch, None, {"loss": loss}) for epoch, loss in enumerate(losses)]
    assert [call is fnet.STOP for call in calls] == [False, False, False, True, False]


def best_of_two():
    return fnet.early_stopping("loss", patience=2, restore_best=True)


def test_restore_best_gives_the_parameters_of_the_best_epoch_and_keeps_the_step():
    states = []
    callbacks = [best_of_two(), lambda epoch, state, logs: states.append(state)]
    state, history = fnet.fit(TASK, start(), X, epochs=9, callbacks=callbacks, **OPTIONS)
    best = int(history["loss"].argmin())
    assert len(history["loss"]) == best + 3 < 9
    equal(state.params, states[best].params)
    assert state.step == states[-1].step and state.params["w"] < states[-1].params["w"]


@pytest.mark.parametrize("kill", [2, 3])
def test_restore_best_survives_a_kill(kill, tmp_path):
    class Killed(Exception):
        pass

    def killer(epoch, state, logs):
        if epoch == kill:
            raise Killed

    def go(directory, *more, **options):
        callbacks = [best_of_two(), *more, fnet.Checkpoints(tmp_path / directory)]
        return fnet.fit(TASK, start(), X, epochs=9, callbacks=callbacks, **options, **OPTIONS)

    def go_on():
        return go("killed", resume="auto")

    with pytest.raises(Killed):
        go("killed", killer)
    whole = go("whole")
    equal(go_on(), whole)
    equal(go_on(), whole)  # of a run that has ended


def test_a_state_from_a_callback_is_gone_on_from():
    def reset(epoch, state, logs):
        if epoch == 1:
            return dataclasses.replace(state, params={"w": jnp.zeros(())}, step=state.step * 0)

    seen = []
    state, _ = fnet.fit(
        TASK, start(), X, epochs=3, callbacks=[reset, lambda *a: seen.append(a[1])], **OPTIONS
    )
    assert seen[1].params["w"] == 0  # the next callback sees it
    assert [int(kept.step) for kept in seen] == [4, 8, 12]  # the step is the run's
    equal(state, fnet.fit(TASK, seen[1], X, epochs=1, **OPTIONS)[0])


def test_a_state_of_another_form_is_refused():
    def other(epoch, state, logs):
        return dataclasses.replace(state, params={"w": jnp.zeros(2)})

    words = r"a callback must return a state of the form .* shape \(2,\) .* 'params/w'"
    with pytest.raises(TypeError, match=words):
        fnet.fit(TASK, start(), X, callbacks=[other], **OPTIONS)


@pytest.mark.parametrize(
    ("losses", "options", "rates"),  # rates as of Keras 3.15's ReduceLROnPlateau
    [
        ([3, 2, 2, 2, 2], {"patience": 2}, [1, 1, 1, 0.1, 0.1]),
        ([3, 3, 3, 3, 3], {"patience": 1, "factor": 0.5}, [1, 0.5, 0.25, 0.125, 0.0625]),
        ([3, 2.99999, 2.9, 2.9, 2.9], {"patience": 1}, [1, 0.1, 0.1, 0.01, 0.001]),
        ([3, 3, 3, 3], {"patience": 1, "min_learning_rate": 0.05}, [1, 0.1, 0.05, 0.05]),
        ([1, 2, 3, 3], {"patience": 1, "mode": "max"}, [1, 1, 1, 0.1]),
    ],
)
def test_reduce_on_plateau(losses, options, rates):
    callback = fnet.reduce_on_plateau("loss", **options)
    for _ in range(2):  # a second run starts anew
        state, seen = start(1.0), []
        for epoch, loss in enumerate(losses):
            state = callback(epoch, state, {"loss": loss}) or state
            seen.append(float(state.optimizer.learning_rate))
        np.testing.assert_allclose(seen, rates, rtol=1e-5)


def test_reduce_on_plateau_compiles_nothing_and_resumes(tmp_path, compilations):
    task = fnet.task(constant)

    def go(directory, epochs, **options):
        callbacks = [
            fnet.reduce_on_plateau("loss", factor=0.5, patience=2),
            fnet.Checkpoints(tmp_path / directory),
        ]
        return fnet.fit(task, start(), X, epochs=epochs, callbacks=callbacks, **options, **OPTIONS)

    go("first", 2)
    compilations.clear()
    whole = go("whole", 6)
    assert not [name for name in compilations if "segment_steps" in name]
    assert whole[0].optimizer.learning_rate == pytest.approx(0.1 / 4)
    go("cut", 4)
    equal(go("cut", 6, resume="auto"), whole)


def test_reduce_on_plateau_finds_the_rate_within_wrappers_and_refuses_a_schedule():
    callback = fnet.reduce_on_plateau("loss", patience=0)
    for optimizer, refused in (
        (fnet.clipped(fnet.adam(1.0), 1.0), False),
        (fnet.adam(fnet.cosine(1.0, 10)), True),
    ):
        state = fnet.TrainState.create({"w": 1.0}, optimizer, jax.random.key(0))
        callback(0, state, {"loss": 1.0})
        if refused:
            with pytest.raises(TypeError, match="must have a `learning_rate` that is a number"):
                callback(1, state, {"loss": 1.0})
        else:
            slower = callback(1, state, {"loss": 1.0})
            assert slower.optimizer.optimizer.learning_rate == pytest.approx(0.1)


@pytest.mark.parametrize("make", [fnet.Checkpoints, fnet.OrbaxCheckpoints])
def test_checkpoints_keep_the_best_epoch_beside_the_newest(make, tmp_path):
    states = []
    keep = make(tmp_path, keep=1, best="loss")
    callbacks = [keep, lambda epoch, state, logs: states.append(state)]
    state, history = fnet.fit(TASK, start(), X, epochs=6, callbacks=callbacks, **OPTIONS)
    best = int(history["loss"].argmin())
    assert 0 < best < 5
    equal(keep.best(start()), states[best])
    equal(keep.latest(start()), state)
    assert make(tmp_path / "empty", best="loss").best(start()) is None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fnet.reduce_on_plateau(factor=1), ValueError, r"`factor` must be in \(0, 1\)"),
        (lambda: fnet.early_stopping(min_delta="no"), TypeError, "`min_delta` must be a number"),
        (lambda: fnet.early_stopping(mode="up"), ValueError, "`mode` must be 'min', 'max' or None"),
        (lambda: fnet.Checkpoints("x", best="loss", mode="up"), ValueError, "`mode` must be 'min'"),
    ],
)
def test_refuses(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_callback_is_told_where_the_run_starts_and_what_its_steps_recorded(tmp_path):
    told = []

    class Listener:
        memory = {"of": np.array(7)}  # an earlier run

        def begin(self, state, history, resume):
            told.append((int(state.step), len(history["loss"]), resume, dict(self.memory)))
            assert history["record"]["step"].tolist() == list(range(int(state.step)))

        def recorded(self, series):
            told.append(series["step"].tolist())

        def __call__(self, epoch, state, logs):
            self.memory = {"of": np.array(epoch)}

    def run(**options):
        callbacks = [fnet.Checkpoints(tmp_path), Listener()]
        fnet.fit(TASK, start(), X, callbacks=callbacks, record=["loss"], **OPTIONS, **options)

    run(epochs=1, resume="auto")
    run(epochs=2, resume="auto")
    fnet.fit(TASK, start(), X, callbacks=[Listener()], record=["loss"], **OPTIONS)
    new, resumed, apart = told[0:2], told[2:4], told[4:6]
    assert new == [(0, 0, True, {}), [0, 1, 2, 3]]
    assert resumed == [(4, 1, True, {"of": np.array(0)}), [4, 5, 6, 7]]
    assert apart == [(0, 0, False, {}), [0, 1, 2, 3]]
