"""`fit`: what the host adds to the run of `train`."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading

import chex
import grain
import jax
import numpy as np
import pytest
from problems import LOSS, METRICS, bits, classifier, images, start, task

import fnet
from fnet.core.trees import on_device

RUN = {"batch_size": 8, "progress": False}
DATA = images(50)


def equal(a, b) -> None:
    chex.assert_trees_all_equal(bits(a), bits(b))


def test_learns():
    state, history = fnet.fit(task(), start(), DATA, epochs=30, **RUN)
    assert history["accuracy"][-1] > 0.9
    logs = fnet.evaluate(
        fnet.supervised(classifier(), LOSS, METRICS),
        state,
        images(100, seed=1),
    )
    assert logs["accuracy"] > 0.9


def test_validation_split_is_the_last_fraction_before_shuffling():
    x, y = DATA
    split = fnet.fit(task(), start(), DATA, epochs=2, validation_split=0.2, **RUN)
    given = fnet.fit(
        task(), start(), (x[:40], y[:40]), epochs=2, validation=(x[40:], y[40:]), **RUN
    )
    equal(split, given)
    assert list(split[1]) == ["loss", "accuracy", "val_loss", "val_accuracy"]


@pytest.mark.parametrize(
    "batches",
    [
        list(fnet.batches(DATA, 8)),
        grain.MapDataset.range(50).map(lambda row: (DATA[0][row], DATA[1][row])).batch(8),
    ],
    ids=["list", "grain"],
)
def test_an_iterable_of_batches_is_the_same_run_as_arrays_in_order(batches):
    equal(
        fnet.fit(task(), start(), batches, epochs=2, **RUN),
        fnet.fit(task(), start(), DATA, epochs=2, shuffle=False, **RUN),
    )


def test_a_generator_of_batches_is_one_epoch():
    state, history = fnet.fit(task(), start(), fnet.batches(DATA, 8), epochs=1, **RUN)
    assert state.step == 7
    chex.assert_shape(history["loss"], (1,))


def test_callbacks_see_every_epoch_and_may_keep_the_state():
    seen = []
    state, history = fnet.fit(
        task(), start(), DATA, epochs=3, callbacks=[lambda *args: seen.append(args)], **RUN
    )
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2]
    assert [int(kept.step) for _, kept, _ in seen] == [7, 14, 21]
    assert [logs["loss"] for _, _, logs in seen] == history["loss"].tolist()
    equal(seen[-1][1], state)
    equal(seen[0][1], fnet.fit(task(), start(), DATA, epochs=1, **RUN)[0])


def test_stop_ends_the_run_after_every_callback_was_called():
    called = []

    def stop(epoch, state, logs):
        return fnet.STOP if epoch == 1 else None

    _, history = fnet.fit(
        task(), start(), DATA, epochs=5,
        callbacks=[stop, lambda epoch, state, logs: called.append(epoch)], **RUN,
    )  # fmt: skip
    chex.assert_shape(history["loss"], (2,))
    assert called == [0, 1]


def test_a_plain_line_an_epoch_where_there_is_no_terminal(capsys):
    fnet.fit(task(), start(), DATA, epochs=2, **RUN | {"progress": True})
    lines = capsys.readouterr().out.splitlines()
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rf"epoch {number}/2: \d+\.\d s, loss \d\.\d{{4}}, accuracy .*", line)
    assert len(lines) == 2


def test_nothing_is_shown_without_progress(capfd):
    fnet.fit(task(), start(), DATA, epochs=1, **RUN)
    assert capfd.readouterr() == ("", "")


ON_A_TERMINAL = """
import sys; sys.path.insert(0, {tests!r})
from problems import *
fnet.fit(task(), start(), images(), epochs=2, batch_size=8)
"""


def test_a_bar_an_epoch_on_a_terminal(request):
    main, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))
    code = ON_A_TERMINAL.format(tests=str(request.path.parent))
    subprocess.run([sys.executable, "-c", code], stdout=end, stderr=end, check=True)
    shown = os.read(main, 100_000).decode()
    os.close(end)
    os.close(main)
    lines = [line.split("\r")[-1] for line in shown.strip().split("\r\n")]
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rf"epoch {number}/2 █+ 7/7 \d+:\d+, loss \d.*, accuracy 0\.\d+ *", line)


def interrupt_at(step):
    """Batches that press Ctrl-C before the given one."""
    for number, batch in enumerate(fnet.batches(DATA, 8), 1):
        if number == step:
            signal.raise_signal(signal.SIGINT)
        yield batch


def test_ctrl_c_within_an_epoch_keeps_the_steps_done(capsys):
    state, history = fnet.fit(
        task(), start(), interrupt_at(3), epochs=1, **RUN | {"progress": True}
    )
    expected, step = start(), jax.jit(fnet.train_step(fnet.supervised(classifier(), LOSS, METRICS)))
    for _, batch in zip(range(3), fnet.batches(DATA, 8), strict=False):
        expected, _ = step(expected, batch)
    equal(state, expected)
    chex.assert_shape(history["loss"], (0,))
    assert (
        capsys.readouterr().out
        == "epoch 1/1: interrupted after 3 steps; what was trained is kept\n"
    )


def test_ctrl_c_between_epochs_keeps_the_epochs_done():
    def interrupt(epoch, state, logs):
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)

    state, history = fnet.fit(task(), start(), DATA, epochs=5, callbacks=[interrupt], **RUN)
    equal((state, history), fnet.fit(task(), start(), DATA, epochs=2, **RUN))


def test_a_second_ctrl_c_raises():
    def interrupt(epoch, state, logs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fnet.fit(task(), start(), DATA, epochs=5, callbacks=[interrupt], **RUN)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_runs_outside_of_the_main_thread():
    done = []
    thread = threading.Thread(
        target=lambda: done.append(fnet.fit(task(), start(), DATA, epochs=1, **RUN))
    )
    thread.start()
    thread.join()
    equal(done[0], fnet.fit(task(), start(), DATA, epochs=1, **RUN))


def test_true_sgd_and_full_batch_are_batch_sizes():
    sgd, _ = fnet.fit(task(), start(), DATA, epochs=1, **RUN | {"batch_size": 1})
    full, _ = fnet.fit(task(), start(), DATA, epochs=1, **RUN | {"batch_size": None})
    larger, _ = fnet.fit(task(), start(), DATA, epochs=1, **RUN | {"batch_size": 999})
    assert sgd.step == 50
    assert full.step == 1
    equal(full, larger)


def test_dense_labels_and_lists_are_taken_too():
    x, y = images(8)
    one_hot = np.eye(3, dtype=np.float32)[y]
    begun = start(optimizer="sgd")
    dense, _ = fnet.fit(
        task(loss="categorical_crossentropy", metrics=()), begun, (x, one_hot), epochs=1,
        batch_size=8, progress=False,
    )  # fmt: skip
    sparse, _ = fnet.fit(
        task(metrics=()), begun, (x.tolist(), y.tolist()), epochs=1, batch_size=8, progress=False,
    )  # fmt: skip
    chex.assert_trees_all_close(bits(dense), bits(sparse), rtol=1e-5, atol=1e-6)


def test_evaluate_is_the_program_that_validates(compilations):
    """And nothing else is compiled for a few numbers on their way to the device."""
    net = fnet.sequential(fnet.dense(3), fnet.tanh, fnet.dense(2))
    task = fnet.supervised(net, "mean_squared_error")
    state = fnet.train_state(net, "sgd", jax.random.key(0), (5,))
    random = np.random.default_rng(0)
    data, test = ((random.normal(size=(n, 5)), random.normal(size=(n, 2))) for n in (23, 9))
    del compilations[:]
    fnet.fit(task, state, data, batch_size=10, validation=test, progress=False)
    fnet.evaluate(task, state, test)
    # The order of the epoch, the steps, the smaller last one, and what was asked for.
    assert len(compilations) == 4


def test_arrays_go_to_the_device_as_copies_and_without_a_program(compilations):
    memory = np.zeros(1040, np.float32)
    x = memory[-memory.ctypes.data % 64 // 4 :][:1024]  # at an address where JAX would share it
    there = on_device(x)
    x[:] = 1
    assert not np.asarray(there).any()
    assert not compilations
