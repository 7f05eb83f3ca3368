"""Runs written to tables and trackers: whole, once, and as if nothing had interrupted them."""

import csv
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet

X = (np.linspace(-1, 1, 20, dtype=np.float32),)
RUN = {
    "epochs": 3, "batch_size": 5, "validation": X, "record": ["loss", "grad_norm"],
    "record_every": 2, "progress": False,
}  # fmt: skip
RECORDED = [1, 3, 5, 7, 9, 11]  # steps of which an epoch has 4, after each


def squares(params, batch, key):
    (x,) = batch
    return (params["w"] * x - 3 * x) ** 2


TASK = fnet.task(squares)


def start(learning_rate=0.1):
    optimizer = fnet.clipped(fnet.adam(learning_rate), 1.0)
    return fnet.TrainState.create({"w": jnp.ones(())}, optimizer, jax.random.key(0))


def fit(*callbacks, state=None, data=X, **options):
    return fnet.fit(TASK, state or start(), data, callbacks=callbacks, **RUN | options)


def table(path) -> dict[str, list[float]]:
    with open(path, newline="") as file:
        head, *rows = csv.reader(file)
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(head)}


def texts(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(pathlib.Path(folder).glob("*.csv"))}


class Memory:
    """A tracker as they are: `log(values, step=)` and `config`."""

    def __init__(self):
        self.lines, self.config = [], {}

    def log(self, values, step):
        self.lines.append((step, values))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a run that nothing interrupts, and its checkpoints, one an epoch."""
    folder = tmp_path_factory.mktemp("whole")
    log = fnet.log_to(fnet.CSVWriter(folder / "log.csv"), hyperparameters={"batch_size": 5})
    _, history = fit(fnet.Checkpoints(folder / "run"), log)
    return folder, history


def test_a_table_holds_the_epochs_the_steps_and_the_hyperparameters(whole):
    folder, history = whole
    epochs = table(folder / "log.csv")
    assert list(epochs) == ["step", "epoch", "loss", "val_loss"]
    assert (epochs["step"], epochs["epoch"]) == ([4, 8, 12], [1, 2, 3])
    for name in ("loss", "val_loss"):
        np.testing.assert_array_equal(np.float32(epochs[name]), history[name])
    steps = table(folder / "log.steps.csv")
    assert steps.pop("step") == RECORDED == (history["record"]["step"] + 1).tolist()
    for name, series in steps.items():
        np.testing.assert_array_equal(np.float32(series), history["record"][name])
    assert texts(folder)["log.hyperparameters.csv"].split() == [
        "name,value", "optimizer,clipped(adam)", "learning_rate,0.1", "beta1,0.9", "beta2,0.999",
        "epsilon,1e-08", "max_norm,1.0", "batch_size,5",
    ]  # fmt: skip


@pytest.mark.parametrize("last", [0, 4, 8, 12])
def test_a_run_killed_between_the_log_and_the_checkpoint_is_logged_as_the_whole_one(
    last, whole, tmp_path
):
    folder, _ = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "run").glob("step-*"):
        if int(path.stem.removeprefix("step-")) > last:
            path.unlink()
    callbacks = (
        fnet.Checkpoints(tmp_path / "run"),
        fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv")),
    )
    fit(*callbacks, resume="auto")
    expected = texts(folder)
    if last == 0:  # from its start again, with the hyperparameters of these callbacks
        expected["log.hyperparameters.csv"] = expected["log.hyperparameters.csv"].replace(
            "batch_size,5\n", ""
        )
    assert texts(tmp_path) == expected


@pytest.mark.parametrize("name", ["log.csv", "log.steps.csv"])
def test_lines_that_a_machine_lost_are_written_again(name, whole, tmp_path):
    """A file may end at any byte: the whole is there after the run is resumed."""
    folder, _ = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    content = (tmp_path / name).read_bytes()
    run = fnet.Checkpoints(tmp_path / "run")
    for size in range(0, len(content), 7):
        (tmp_path / name).write_bytes(content[:size])
        fit(run, fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv")), resume="auto")
        assert texts(tmp_path) == texts(folder)


CHILD = """
import os, signal, sys; sys.path.insert(0, {tests!r})
from test_tracking import *
def kill(epoch, state, logs):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
fit(fnet.Checkpoints("run", every=3), fnet.log_to(fnet.CSVWriter("log.csv")), kill)
"""


def test_a_killed_process_is_logged_as_the_whole_run(request, whole, tmp_path):
    code = CHILD.format(tests=str(request.path.parent))
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == -signal.SIGKILL
    assert table(tmp_path / "log.csv")["step"] == [4, 8]
    run = fnet.Checkpoints(tmp_path / "run", every=3)
    assert 0 < run.steps()[-1] < 8
    fit(run, fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv")), resume="auto")
    for name in ("log.csv", "log.steps.csv"):
        assert texts(tmp_path)[name] == texts(whole[0])[name]


def test_an_epoch_that_another_callback_broke_is_logged_when_the_run_is_resumed(whole, tmp_path):
    def fail(epoch, state, logs):
        if epoch == 1 and not (tmp_path / "repaired").exists():
            raise RuntimeError("a mistake of the user")

    def run(**options):
        log = fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv"))
        return fit(fnet.Checkpoints(tmp_path / "run"), fail, log, **options)

    with pytest.raises(RuntimeError, match="a mistake of the user"):
        run()
    assert table(tmp_path / "log.csv")["step"] == [4]
    (tmp_path / "repaired").touch()
    run(resume="auto")
    for name in ("log.csv", "log.steps.csv"):
        assert texts(tmp_path)[name] == texts(whole[0])[name]


def test_a_log_that_cannot_be_written_waits_and_the_run_goes_on(whole, tmp_path, monkeypatch):
    writes, write = [], os.write

    def full_at_first(descriptor, content):
        writes.append(content)
        full = bytes(content).startswith((b"1,", b"4,1,")) and writes.count(content) < 2
        return write(descriptor, content[:5] if full else content)

    monkeypatch.setattr("fnet.tracking.csv_writer.os.write", full_at_first)
    log = fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv"))
    with pytest.warns(RuntimeWarning, match="could not be written, and training goes on"):
        fit(log)
    monkeypatch.undo()
    for name in ("log.csv", "log.steps.csv"):
        assert texts(tmp_path)[name] == texts(whole[0])[name]


def test_a_tracker_gets_what_its_log_takes():
    tracker = Memory()
    _, history = fit(fnet.log_to(tracker, hyperparameters={"seed": np.int64(3)}))
    assert tracker.config["optimizer"] == "clipped(adam)"
    assert tracker.config["seed"] == 3
    steps = [step for step, _ in tracker.lines]
    assert steps == sorted(steps) == [1, 3, 4, 5, 7, 8, 9, 11, 12]
    assert tracker.lines[1][1].keys() == {"step/loss", "step/grad_norm"}
    last = {name: float(history[name][-1]) for name in ("loss", "val_loss")}
    assert tracker.lines[-1] == (12, {"epoch": 3, **last})


def test_a_tracker_like_mlflow():
    class Metrics:
        def log_metrics(self, values, step):
            logged.append((step, values["loss"]))

        def log_params(self, values):
            logged.append(values["learning_rate"])

    logged = []
    _, history = fit(fnet.log_to(Metrics()), epochs=1, record=())
    assert logged == [0.1, (4, float(history["loss"][0]))]


def test_a_run_in_parts_goes_on_in_the_same_table(tmp_path):
    log = fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv"))
    state, _ = fit(log, epochs=1)
    fit(log, state=state, epochs=2)
    assert table(tmp_path / "log.csv")["step"] == [4, 8, 12]
    assert table(tmp_path / "log.steps.csv")["step"] == RECORDED


def test_batches_of_any_number_are_logged_at_their_steps(tmp_path):
    batches = [(X[0][:8],), (X[0][8:16],), (X[0][16:],)]
    fit(fnet.log_to(fnet.CSVWriter(tmp_path / "log.csv")), data=batches)
    assert table(tmp_path / "log.csv")["step"] == [3, 6, 9]
    assert table(tmp_path / "log.steps.csv")["step"] == [1, 3, 4, 6, 7, 9]


def test_a_table_in_a_loop_of_ones_own(tmp_path):
    for step in range(2):  # by two processes
        writer = fnet.CSVWriter(tmp_path / "new" / "log.csv")
        writer.log({"loss": jnp.float32(0.1) + step, "big, rare": 1e300}, step=step)
    assert (tmp_path / "new" / "log.csv").read_text() == (
        'step,loss,"big, rare"\n0,0.1,1e+300\n1,1.1,1e+300\n'
    )


def test_a_run_of_train_is_written_after_its_end(whole, tmp_path):
    options = {name: value for name, value in RUN.items() if name != "progress"}
    state, history = fnet.train(TASK, start(), X, **options)
    tracker = Memory()
    fnet.log_history(tracker, state, history)
    assert [step for step, _ in tracker.lines] == [1, 3, 4, 5, 7, 8, 9, 11, 12]
    fnet.log_history(fnet.CSVWriter(tmp_path / "log.csv"), state, history)
    assert texts(tmp_path)["log.csv"].splitlines()[0] == "step,epoch,loss,val_loss"
    np.testing.assert_allclose(
        list(table(tmp_path / "log.csv").values()), list(table(whole[0] / "log.csv").values()), 1e-5
    )
    with pytest.raises(
        ValueError, match="`steps` must be the length of an epoch, of which 3 ended"
    ):
        fnet.log_history(tracker, state, history, steps=5)


def test_members_of_a_sweep_are_runs_of_their_own(tmp_path):
    grid = fnet.grid(learning_rate=[0.1, 0.2], seed=[3])
    states = grid.states(lambda key: start())
    options = {"epochs": 2, "batch_size": 5, "record": ["loss"]}
    states, history = fnet.train_many(TASK, states, X, **options)
    trackers = {}
    fnet.log_many(lambda name: trackers.setdefault(name, Memory()), states, history, grid)
    assert list(trackers) == ["learning_rate=0.1,seed=3", "learning_rate=0.2,seed=3"]
    for i, tracker in enumerate(trackers.values()):
        assert (tracker.config["seed"], tracker.config["learning_rate"]) == (3, [0.1, 0.2][i])
        assert tracker.config["max_norm"] == 1.0
        losses = [values["loss"] for _, values in tracker.lines if "loss" in values]
        np.testing.assert_array_equal(losses, history["loss"][i])
        assert len(tracker.lines) == 2 + 8
    fnet.log_many(lambda name: fnet.CSVWriter(tmp_path / name / "log.csv"), states, history)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    with pytest.raises(ValueError, match="must have as many members in front, got .*grid"):
        fnet.log_many(Memory, states, history, fnet.grid(seed=range(3)))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fnet.log_to(print), TypeError, r"`writer` must have a method `log\(values, step"),
        (
            lambda: fnet.log_to(Memory(), histograms_every=1),
            TypeError,
            "`histograms_every` must be left out for a writer without histograms, got 1",
        ),
        (
            lambda: fnet.log_to(Memory(), hyperparameters={"a": [1]}),
            TypeError,
            "`hyperparameters` must be numbers and texts by name, got .* for 'a'",
        ),
        (
            lambda: fnet.log_history(Memory(), start(), {"loss": []}),
            ValueError,
            "at least one epoch",
        ),
        (lambda: fnet.log_many(Memory(), start(), {}), TypeError, "`writer_of` must be a function"),
    ],
)
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_files_that_are_not_of_this_run(whole, tmp_path, compilations):
    path = tmp_path / "log.csv"

    def refused(content, words, error=ValueError):
        path.write_text(content)
        with pytest.raises(error, match=words):
            fit(fnet.log_to(fnet.CSVWriter(path)))
        assert path.read_text() == content

    compilations.clear()
    refused(
        "step,epoch,loss\n",
        "with the columns step, epoch, loss, val_loss, got .*'step,epoch,loss'. A file",
    )
    refused("a text", "with the columns step, epoch, loss, val_loss, got .*'a text'. A file")
    refused("step,epoch,loss,val_loss\nx,1,1,1\n", "whose lines begin with a step, got .*'x,1,1,1'")
    refused(texts(whole[0])["log.csv"], "which holds steps of another run up to 12. Give")
    assert not any("step" in name for name in compilations)
    folder = tmp_path / "other"
    shutil.copytree(whole[0], folder)
    other = (folder / "log.csv").read_text().replace("4,1,", "4,1,7")
    (folder / "log.csv").write_text(other)
    with pytest.raises(ValueError, match="which holds steps of another run up to 12"):
        log = fnet.log_to(fnet.CSVWriter(folder / "log.csv"))
        fit(fnet.Checkpoints(folder / "run"), log, resume="auto")
    assert (folder / "log.csv").read_text() == other


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(tmp_path, compilations):
    (tmp_path / "file").touch()
    compilations.clear()
    with pytest.raises(OSError, match="`writer` must be able to write, got .*elsewhere than.*file"):
        fit(fnet.log_to(fnet.CSVWriter(tmp_path / "file" / "log.csv")))
    assert not any("step" in name for name in compilations)
