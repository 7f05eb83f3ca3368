"""The state before any step of a saved run, and the rows of that step."""

import chex
import jax
import numpy as np
import pytest
from own_tasks import OWN
from problems import bits, images, start, task

import fnet

DATA = images(50)  # 7 steps an epoch, the last one of 2 samples
RUN = {"epochs": 3, "batch_size": 8, "progress": False}


def saved(folder, minimised=None, data=DATA, run=RUN, begun=None, **options):
    """A run in a folder, and its checkpoints."""
    checkpoints = fnet.Checkpoints(folder, **options)
    begun = begun or start()
    _, history = fnet.fit(minimised or task(), begun, data, callbacks=[checkpoints], **run)
    return checkpoints, history


def at(checkpoints, step):
    return checkpoints.read(checkpoints.path(step), start())[0]


def equal(a, b):
    chex.assert_trees_all_equal(bits(a), bits(b))


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """The run with the state of each step."""
    return saved(tmp_path_factory.mktemp("every"), every=1, keep=100)[0]


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    """The same run with the states of its last two epochs, at steps 14 and 21."""
    return saved(tmp_path_factory.mktemp("epochs"), keep=2)[0]


def on_disk(folder):
    x = np.memmap(folder / "x", np.uint8, "w+", shape=DATA[0].shape)
    x[:] = DATA[0]
    return x, DATA[1]


@pytest.mark.bits
@pytest.mark.parametrize("step", [0, 1, 6, 7, 8, 13, 14, 17, 21])
def test_it_is_the_state_of_the_run(step, every, epochs):
    state = fnet.replay(task(), epochs, DATA, step, start=start())
    equal(state, at(every, step) if step else start())


@pytest.mark.bits
@pytest.mark.parametrize("step", [4, 5, 9])
def test_it_goes_on_from_a_checkpoint_within_an_epoch(step, every, tmp_path):
    checkpoints, _ = saved(tmp_path, every=3, keep=100)
    for other in checkpoints.steps():
        if other > 3:
            checkpoints.path(other).rename(tmp_path / f"kept-{other}")
    (tmp_path / "kept-21").rename(checkpoints.path(21))
    equal(fnet.replay(task(), checkpoints, DATA, step, start=start()), at(every, step))


@pytest.mark.bits
def test_rows_from_the_disk_and_a_split_have_the_same_states(every, epochs, tmp_path):
    data = on_disk(tmp_path)
    equal(fnet.replay(task(), epochs, data, 10, start=start()), at(every, 10))
    x, y = (np.concatenate([array, array[:13]]) for array in DATA)  # 50 of 63 are trained on
    split = fnet.replay(task(), epochs, (x, y), 10, start=start(), validation_split=0.2)
    equal(split, at(every, 10))


@pytest.mark.bits
@pytest.mark.parametrize("name", OWN)
def test_it_takes_any_task(name, tmp_path):
    own, data, begun = OWN[name].task, OWN[name].data, OWN[name].start()
    run = OWN[name].options | {"epochs": 2, "progress": False}
    all_steps, _ = saved(tmp_path / "all", own, data, run, begun, every=1, keep=99)
    few, _ = saved(tmp_path / "few", own, data, run, begun)
    for step in (2, 5):
        theirs = all_steps.read(all_steps.path(step), begun)[0]
        equal(fnet.replay(own, few, data, step, start=begun), theirs)


@pytest.mark.bits
def test_a_step_that_was_skipped_is_skipped_again(tmp_path):
    x, _ = DATA
    blown = fnet.task(explodes)
    begun = fnet.TrainState.create({"w": np.ones(16, np.float32)}, "sgd", jax.random.key(0))
    run = RUN | {"on_nonfinite": "skip"}
    all_steps, history = saved(tmp_path / "all", blown, x, run, begun, every=1, keep=99)
    assert history["skipped"].tolist() == [1, 1, 1]
    few, _ = saved(tmp_path / "few", blown, x, run, begun)
    for step in (6, 13, 20):
        theirs = all_steps.read(all_steps.path(step), begun)[0]
        equal(fnet.replay(blown, few, x, step, start=begun), theirs)


def explodes(params, x, key):
    """Not finite for the batch that holds the first image."""
    x = x.reshape(len(x), -1).astype(np.float32)
    first = (x == DATA[0][0].reshape(1, -1).astype(np.float32)).all(-1).any()
    return (x @ params["w"]) * 1e-3 + jax.numpy.where(first, np.inf, 0.0)


@pytest.mark.bits
def test_the_step_from_there_is_that_of_the_run(tmp_path):
    checkpoints, history = saved(tmp_path, run=RUN | {"record": ["loss"]})
    step = jax.jit(fnet.train_step(task()))
    for number in (3, 13):
        state = fnet.replay(task(), checkpoints, DATA, number, start=start())
        _, logs = step(state, fnet.batch_of(state, DATA, 8)[1])
        assert logs["loss"] == history["record"]["loss"][number]


def test_each_batch_is_that_of_the_run(tmp_path):
    x, y = DATA
    for data in (DATA, on_disk(tmp_path)):
        for epoch in range(2):
            for index, batch in enumerate(fnet.batches(DATA, 8, key=start().key, epoch=epoch)):
                rows, values = fnet.batch_of(start(), data, 8, 7 * epoch + index)
                chex.assert_trees_all_equal(values, batch)
                chex.assert_trees_all_equal(values, (x[rows], y[rows]))
    rows, _ = fnet.batch_of(start(), DATA, 8, 8, shuffle=False)
    assert rows.tolist() == list(range(8, 16))
    rows, _ = fnet.batch_of(start(), DATA, 8, 0, shuffle=False, validation_split=0.9)
    assert rows.tolist() == [0, 1, 2, 3]


@pytest.mark.bits
def test_a_run_that_starts_within_an_epoch(tmp_path):
    """Its first epoch is a whole one, from the step where it starts."""
    begun, _ = fnet.fit(task(), start(), DATA, batch_size=16, progress=False)  # 4 steps
    checkpoints, history = saved(tmp_path, run=RUN | {"record": ["loss"]}, begun=begun)
    state = fnet.replay(task(), checkpoints, DATA, 13, start=begun)
    _, batch = fnet.batch_of(state, DATA, 8, first_step=4)
    _, logs = jax.jit(fnet.train_step(task()))(state, batch)
    np.testing.assert_allclose(logs["loss"], history["record"]["loss"][13 - 4], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"step": 22}, ValueError, "from 0 to 21, the last one that is saved, got 22"),
        ({"step": -1}, ValueError, "from 0 to 21"),
        ({"step": 1.5}, ValueError, r"got 1\.5"),
        ({"data": images(49)}, ValueError, "that of the run, 50 samples, got 49"),
        ({"data": list(fnet.batches(DATA, 8))}, ValueError, "rows with numbers, got"),
        ({"start": start(seed=1)}, ValueError, r"at step 0 with key \[.*\], got step 0 and"),
        ({"checkpoints": "run"}, TypeError, "the Checkpoints of a run"),
        ({"start": start(optimizer="sgd")}, TypeError, "optimizer is adam"),
    ],
)
def test_what_is_not_of_the_run_is_refused(change, error, words, epochs):
    arguments = {"checkpoints": epochs, "data": DATA, "step": 3, "start": start()} | change
    with pytest.raises(error, match=words):
        fnet.replay(task(), **arguments)


def test_a_folder_without_a_run_of_fit_is_refused(tmp_path):
    checkpoints = fnet.Checkpoints(tmp_path)
    with pytest.raises(ValueError, match="must hold a run, got .*, where there is none"):
        fnet.replay(task(), checkpoints, DATA, 0, start=start())
    checkpoints(0, start())
    with pytest.raises(ValueError, match="got no run of `fit`"):
        fnet.replay(task(), checkpoints, DATA, 0, start=start())
    batches = list(fnet.batches(DATA, 8))
    other, _ = saved(tmp_path / "other", data=batches, run={"progress": False})
    with pytest.raises(ValueError, match="batches of an iterable"):
        fnet.replay(task(), other, DATA, 0, start=start())
    other.path(7).write_bytes(b"")
    with (
        pytest.warns(RuntimeWarning, match="a checkpoint is skipped"),
        pytest.raises(ValueError, match="an intact file, got only damaged ones"),
    ):
        fnet.replay(task(), other, DATA, 7, start=start())


def test_an_optimizer_that_a_callback_changed_is_refused_where_it_is_not_saved(tmp_path):
    slower = fnet.reduce_on_plateau("loss", patience=1, min_delta=100.0)
    for keep, refused in ((1, True), (3, False)):
        checkpoints = fnet.Checkpoints(tmp_path / str(keep), keep=keep)
        fnet.fit(task(), start(), DATA, callbacks=[slower, checkpoints], **RUN)
        if refused:
            with pytest.raises(ValueError, match="each state that a callback changed"):
                fnet.replay(task(), checkpoints, DATA, 16, start=start())
        else:
            assert fnet.replay(task(), checkpoints, DATA, 16, start=start()).step == 16


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": None}, "must have rows, got None"),
        ({"data": list(fnet.batches(DATA, 8))}, "rows with numbers"),
        ({"step": -1}, "from `first_step`, 0, on, got -1"),
        ({"batch_size": 0}, "`batch_size`"),
    ],
)
def test_a_batch_that_is_not_of_the_run_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        fnet.batch_of(**{"state": start(), "data": DATA, "batch_size": 8, "step": 0} | change)
