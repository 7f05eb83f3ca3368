"""Runs that are saved on their way, and go on where another process stopped."""

import dataclasses
import os
import signal
import subprocess
import sys

import chex
import pytest
from problems import METRICS, bits, images, start, task

import fnet

pytestmark = pytest.mark.bits

DATA = images(50)  # 7 steps an epoch
RUN = {
    "epochs": 3, "batch_size": 8, "progress": False,
    "record": ["loss", "grad_norm"], "record_every": 2, "validation": images(20, seed=1),
}  # fmt: skip


def begun() -> fnet.TrainState:
    return start(optimizer=fnet.adam(fnet.cosine(0.01, 20)))


def data(form):
    return DATA if form == "arrays" else list(fnet.batches(DATA, 8))


@pytest.fixture(scope="module")
def whole():
    """The runs that nothing interrupts."""
    return {form: fnet.fit(task(), begun(), data(form), **RUN) for form in FORMS}


FORMS = ["arrays", "batches"]


@dataclasses.dataclass
class Signalling:
    """Sends this process a signal as soon as the given step is saved."""

    step: int
    number: int = signal.SIGINT

    def into(self, directory, kind=fnet.Checkpoints, **options) -> fnet.Checkpoints:
        outer = self

        class Checkpoints(kind):
            def write(self, state, extra):
                super().write(state, extra)
                if int(state.step) == outer.step:
                    os.kill(os.getpid(), outer.number)

        return Checkpoints(directory, **options)


def equal(a, b):
    chex.assert_trees_all_equal(bits(a), bits(b))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("every", "step"), [(None, 7), (1, 1), (3, 3), (3, 9), (5, 10), (7, 7)])
def test_an_interrupted_run_ends_with_the_bits_of_the_whole_one(form, every, step, tmp_path, whole):
    first = Signalling(step).into(tmp_path, every=every)
    stopped, history = fnet.fit(task(), begun(), data(form), callbacks=[first], **RUN)
    assert step <= stopped.step < 21
    chex.assert_shape(history["loss"], (int(stopped.step) // 7,))
    second = fnet.Checkpoints(tmp_path, every=every)
    assert second.steps()[-1] == stopped.step
    equal(second.latest(begun()), stopped)
    again = fnet.fit(task(), begun(), data(form), callbacks=[second], resume="auto", **RUN)
    equal(again, whole[form])
    assert list(again[1]) == list(whole[form][1])


def test_a_finished_run_is_only_read(tmp_path, whole, compilations):
    options = dict(callbacks=[fnet.Checkpoints(tmp_path)], resume="auto")
    equal(fnet.fit(task(), begun(), DATA, **options, **RUN), whole["arrays"])
    compilations.clear()
    equal(fnet.fit(task(), begun(), DATA, **options, **RUN), whole["arrays"])
    assert not any("step" in name for name in compilations)


def test_more_epochs_than_before(tmp_path, whole):
    options = dict(callbacks=[fnet.Checkpoints(tmp_path)], resume="auto")
    fnet.fit(task(), begun(), DATA, **options, **RUN | {"epochs": 2})
    equal(fnet.fit(task(), begun(), DATA, **options, **RUN), whole["arrays"])


def test_early_stopping_goes_on_and_stays_stopped(tmp_path):
    def run(directory, epochs, **options):
        stop = fnet.early_stopping("val_accuracy", patience=1)
        callbacks = [fnet.Checkpoints(directory), stop]
        return fnet.fit(
            task(), begun(), DATA, callbacks=callbacks, **RUN | {"epochs": epochs}, **options
        )

    expected = run(tmp_path / "whole", 30)
    assert len(expected[1]["loss"]) < 30
    run(tmp_path / "parts", 2)
    for _ in range(2):
        equal(run(tmp_path / "parts", 30, resume="auto"), expected)


CHILD = """
import sys; sys.path.insert(0, {tests!r})
from test_resuming import *
checkpoints = Signalling({step}, signal.{number}).into({directory!r}, every=3)
fnet.fit(task(), begun(), DATA, callbacks=[checkpoints], **RUN)
"""


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_killed_process_is_resumed_by_another(number, status, request, tmp_path, whole):
    code = CHILD.format(
        tests=str(request.path.parent), step=9, number=number, directory=str(tmp_path)
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == status
    checkpoints = fnet.Checkpoints(tmp_path, every=3)
    steps = checkpoints.steps()
    assert steps[-1] >= 9
    if number == "SIGTERM":
        said = f"fit: SIGTERM after step {steps[-1]}; saved until step {steps[-1]} in {tmp_path}"
        assert child.stderr == f"{said}\n"
    again = fnet.fit(task(), begun(), DATA, callbacks=[checkpoints], resume="auto", **RUN)
    equal(again, whole["arrays"])


def test_old_files_go_when_the_new_one_is_safe(tmp_path):
    checkpoints = fnet.Checkpoints(tmp_path, keep=2, every=4)
    fnet.fit(task(), begun(), DATA, callbacks=[checkpoints], **RUN)
    assert checkpoints.steps() == [20, 21]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock", "step-20.safetensors", "step-21.safetensors",
    ]  # fmt: skip


def test_a_damaged_file_is_named_and_the_one_before_it_taken(tmp_path, whole):
    checkpoints = fnet.Checkpoints(tmp_path, every=4)
    fnet.fit(task(), begun(), DATA, callbacks=[checkpoints], **RUN | {"epochs": 2})
    newest = checkpoints.path(checkpoints.steps()[-1])
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=f"a checkpoint is skipped, .*{newest.name}"):
        again = fnet.fit(task(), begun(), DATA, callbacks=[checkpoints], resume="auto", **RUN)
    equal(again, whole["arrays"])


def test_a_folder_has_one_writer(tmp_path):
    refused = rf"`directory` of Checkpoints must have one writer, got .*process {os.getpid()} is"

    def second(epoch, state, logs):
        with pytest.raises(ValueError, match=refused):
            fnet.fit(
                task(), begun(), DATA, callbacks=[fnet.Checkpoints(tmp_path)],
                resume="auto", **RUN,
            )  # fmt: skip
        with pytest.raises(ValueError, match=refused):
            fnet.Checkpoints(tmp_path)(epoch, state)
        return fnet.STOP

    fnet.fit(task(), begun(), DATA, callbacks=[fnet.Checkpoints(tmp_path), second], **RUN)


def test_what_was_trained_before_an_error_is_saved(tmp_path):
    def raising():
        yield from list(fnet.batches(DATA, 8))[:4]
        raise OSError("the network is gone")

    checkpoints = fnet.Checkpoints(tmp_path)
    with pytest.raises(OSError, match="the network is gone") as caught:
        fnet.fit(task(), begun(), raising(), callbacks=[checkpoints], **RUN | {"epochs": 1})
    assert caught.value.__notes__ == ["raised by `data` in place of batch 5 of the epoch"]
    assert checkpoints.steps() == [4]


def test_a_loop_of_ones_own(tmp_path):
    checkpoints, state = fnet.Checkpoints(tmp_path, keep=2), begun()
    assert checkpoints.latest(state) is None
    for epoch in range(3):
        state, _ = fnet.fit(task(), state, DATA, **RUN | {"epochs": 1})
        checkpoints(epoch, state)
    assert checkpoints.steps() == [14, 21]
    equal(checkpoints.latest(begun()), state)


def test_a_disk_that_fails_ends_nothing(tmp_path):
    """A folder in the place of the file stands for it: the rename fails as on a full disk."""

    def obstruct(epoch, state, logs):
        (tmp_path / "step-14.safetensors" / "in the way").mkdir(parents=True, exist_ok=True)

    checkpoints = fnet.Checkpoints(tmp_path)
    words = r"could not be written, and training goes on: .*step-14.*newest is that of step 7\."
    with pytest.warns(RuntimeWarning, match=words):
        state, _ = fnet.fit(task(), begun(), DATA, callbacks=[checkpoints, obstruct], **RUN)
    assert state.step == 21
    assert checkpoints.steps() == [7, 21]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 16}, "batch_size 8 there, 16 here"),
        ({"shuffle": False}, "shuffle True there, False here"),
        ({"metrics": ()}, r"history \[.*'accuracy'.*\] there, \[.*\] here"),
        ({"seed": 1}, r"key \[.*\] there, \[.*\] here"),
        ({"size": 40}, "samples 50 there, 40 here"),
    ],
)
def test_another_run_is_not_resumed(change, message, tmp_path):
    fnet.fit(task(), begun(), DATA, callbacks=[fnet.Checkpoints(tmp_path)], **RUN)
    state = start(optimizer=begun().optimizer, seed=change.pop("seed", 0))
    size, metrics = change.pop("size", 50), change.pop("metrics", METRICS)
    with pytest.raises(ValueError, match=f"`resume` must continue the same run, .*{message}"):
        fnet.fit(
            task(metrics=metrics), state, tuple(a[:size] for a in DATA),
            callbacks=[fnet.Checkpoints(tmp_path)], resume="auto", **RUN | change,
        )  # fmt: skip


def test_a_new_run_does_not_write_over_an_old_one(tmp_path):
    fnet.fit(task(), begun(), DATA, callbacks=[fnet.Checkpoints(tmp_path)], **RUN)
    with pytest.raises(ValueError, match="must save a new run in a new folder, got .*step 21"):
        fnet.fit(task(), begun(), DATA, callbacks=[fnet.Checkpoints(tmp_path)], **RUN)


def test_resume_needs_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="`resume` must be None, or .*no Checkpoints"):
        fnet.fit(task(), begun(), DATA, resume="auto", **RUN)
    two = [fnet.Checkpoints(tmp_path)] * 2
    with pytest.raises(ValueError, match="`callbacks` must hold one Checkpoints, got 2"):
        fnet.fit(task(), begun(), DATA, callbacks=two, **RUN)
