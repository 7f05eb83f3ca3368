"""Processes that train one model together, each with its own rows."""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import pytest
from problems import images, start, task
from test_resuming import DATA, RUN, begun, equal

import fnet
from fnet.distributed.processes import noting_lost_peers

PROGRAM = pathlib.Path(__file__).parent.parent / "examples" / "distributed.py"


def simple() -> fnet.TrainState:
    """With an optimizer that does not blow up the rounding of a gradient which is zero."""
    return start(optimizer=fnet.momentum(0.01))


def together(*command: str) -> list[subprocess.Popen]:
    """Two processes of a program that takes its coordinator as the example does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    where = ["--coordinator", address, "--processes", "2", "--process"]
    return [
        subprocess.Popen(
            [sys.executable, *command, *where, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]


def ended(processes: list[subprocess.Popen], seconds: float = 120) -> list[tuple[int, str, str]]:
    """Status, output and errors of each."""
    try:
        outputs = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *output) for p, output in zip(processes, outputs, strict=True)]


WORKER = """
import sys; sys.path.insert(0, {tests!r})
from test_distributed import *
coordinator, _, processes, _, process = sys.argv[2:]
jax.distributed.initialize(coordinator, int(processes), int(process))
mesh = jax.make_mesh((2,), ("data",))

class Rows:
    "An array that notes which of its rows are read."
    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, set()
    def __len__(self):
        return len(self.array)
    def __getitem__(self, rows):
        self.read |= set(rows.tolist())
        return self.array[rows]

x = Rows(DATA[0])
batches = fnet.host_batches((x, DATA[1]), 8, mesh, key=simple().key)
checkpoints = fnet.OrbaxCheckpoints({directory!r})
list(batches.epoch(0))
print("rows", *sorted(x.read))
options = RUN | {{"validation": None, "mesh": mesh, "callbacks": [checkpoints]}}
state, history = fnet.fit(task(), simple(), batches, **options)
assert not checkpoints.latest(state).params["dense"]["kernel"].is_fully_addressable
"""


def test_two_processes_train_what_one_does(request, tmp_path):
    code = WORKER.format(tests=str(request.path.parent), directory=str(tmp_path))
    results = ended(together("-c", code))
    assert [status for status, _, _ in results] == [0, 0], results
    rows = [
        set(map(int, re.search(r"rows ([\d ]+)\n", output)[1].split())) for _, output, _ in results
    ]
    assert rows[0] | rows[1] == set(range(50)) and not rows[0] & rows[1]
    expected, _ = fnet.fit(task(), simple(), DATA, **RUN | {"validation": None})
    found, history = fnet.OrbaxCheckpoints(tmp_path).read_latest(simple())
    chex.assert_trees_all_close(found.params, expected.params, rtol=0, atol=1e-5)
    chex.assert_shape(history["history"]["loss"], (3,))


@pytest.mark.parametrize("size", [50, 3])
def test_batches_of_one_process_are_those_of_batches(size):
    x, y = images(size)
    mesh = jax.make_mesh((1,), ("data",))
    key = jax.random.key(1)
    for epoch in range(2):
        found = list(fnet.host_batches((x, y), 8, mesh, key=key).epoch(epoch))
        expected = list(fnet.batches((x, y), 8, key=key, epoch=epoch))
        chex.assert_trees_all_equal(found, expected)


def test_a_run_over_host_batches_goes_on_in_its_order(tmp_path):
    mesh, key = jax.make_mesh((1,), ("data",)), begun().key
    batches = fnet.host_batches(DATA, 8, mesh, key=key)
    whole = fnet.fit(task(), begun(), batches, **RUN)
    options = {"callbacks": [fnet.Checkpoints(tmp_path)], "resume": "auto"}
    fnet.fit(task(), begun(), batches, **options, **RUN | {"epochs": 1})
    equal(fnet.fit(task(), begun(), batches, **options, **RUN), whole)


def test_bad_arguments():
    mesh = jax.make_mesh((1,), ("model",))
    with pytest.raises(ValueError, match="`mesh` must have an axis 'data', over which"):
        fnet.host_batches(DATA, 8, mesh)
    x = np.array([[1.0], [np.nan]])
    batches = fnet.host_batches((x, x), 1, jax.make_mesh((1,), ("data",)))
    with pytest.raises(ValueError, match="`data` of host_batches"):
        list(batches)


def test_labels_that_are_no_class_are_refused():
    x, y = DATA
    bad = np.where(np.arange(len(y)) == 20, 3, y)
    batches = fnet.host_batches((x, bad), 8, jax.make_mesh((1,), ("data",)))
    with pytest.raises(ValueError, match=r"`y` must hold labels in \[0, 3\), got \d to 3"):
        fnet.fit(task(), begun(), batches, **RUN)


def test_a_lost_process_is_explained(monkeypatch):
    """What JAX raises at the first call of a program is a ValueError."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    words = "UNKNOWN: Gloo AllGather failed: Connection reset by peer"
    for kind in (ValueError, jax.errors.JaxRuntimeError):
        with pytest.raises(jax.errors.JaxRuntimeError, match=words) as found:
            with noting_lost_peers():
                raise kind(words)
        assert "one of the 2 processes is gone" in found.value.__notes__[0]
    with pytest.raises(ValueError, match="`epochs`"):
        with noting_lost_peers():
            raise ValueError("`epochs` must be at least 1, got 0.")


@pytest.mark.soak
def test_a_run_that_loses_processes_ends_with_the_bits_of_the_whole(tmp_path, monkeypatch, figures):
    monkeypatch.setenv("FNET_DATA_DIR", str(tmp_path / "none"))

    def begin(name, *arguments):
        folder = fnet.OrbaxCheckpoints(tmp_path / name)
        command = [str(PROGRAM), "--epochs", "3", "--checkpoints", str(folder.directory)]
        return folder, together(*command, *arguments)

    whole, processes = begin("whole")  # which is saved after each epoch of 32 steps
    assert [status for status, _, _ in ended(processes)] == [0, 0]
    for number, kill in enumerate([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, None]):
        folder, processes = begin("parts", "--every", "8")
        before = max(folder.steps(), default=0)
        while kill and max(folder.steps(), default=0) < before + 8:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.05)
        victim = number % 2
        if kill:
            processes[victim].send_signal(kill)
        results = ended(processes)
        step = max(folder.steps())
        if kill is signal.SIGTERM:
            assert [status for status, _, _ in results] == [143, 143], results
            for _, _, errors in results:
                assert f"fit: SIGTERM after step {step}; saved until step {step} in" in errors
        elif kill:
            status, _, errors = results[1 - victim]
            assert status not in (0, None), results
            if victim:  # without the first process, JAX itself ends the others
                assert "process 0 stops: " in errors and "one of the 2 processes" in errors, errors
        else:
            assert [status for status, _, _ in results] == [0, 0], results
    like = fnet.train_state(network(), "rmsprop", jax.random.key(0), (28, 28))
    found = folder.latest(like)
    assert found.step == whole.steps()[-1]
    equal(found, whole.latest(like))
    figures("two processes, one ended by SIGTERM, each once by SIGKILL", "the bits of the whole")


def network() -> fnet.sequential:
    return fnet.sequential(
        fnet.rescale(1 / 255), fnet.flatten, fnet.dense(512), fnet.relu, fnet.dense(10),
        fnet.softmax,
    )  # fmt: skip
