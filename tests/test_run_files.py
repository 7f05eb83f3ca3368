"""A run as a file takes the steps of `train`, and needs nothing but JAX."""

import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from own_tasks import OWN
from problems import images, task

import fnet
from fnet.files.tensor_file import CorruptFileError

NET = fnet.sequential(
    fnet.rescale(1 / 255),
    fnet.flatten,
    fnet.dense(8),
    fnet.dropout(0.2),
    fnet.dense(3),
    fnet.softmax,
)
TASK = task(NET)


def start():
    return fnet.train_state(NET, "adam", jax.random.key(0), (4, 4))


DATA, VALIDATION = images(22), images(10, seed=1)
BLOB = fnet.export_run(
    TASK, jax.eval_shape(start), DATA, epochs=2, batch_size=11, validation=VALIDATION
)

WITHOUT_FNET = """
import pathlib, sys
sys.modules["fnet"] = None
import jax, numpy as np, safetensors.numpy
run = jax.export.deserialize(bytearray(pathlib.Path("run.bin").read_bytes()[48:]))
arrays, data = (safetensors.numpy.load_file(name) for name in ("start.safetensors", "data"))
pairs = (data["x"], data["y"]), (data["x_valid"], data["y_valid"])
arrays, history = run.call(arrays, *pairs)
print(*np.asarray(history["val_loss"]).tolist())
print(*[float(np.abs(arrays[name]).sum()) for name in sorted(arrays) if "params/" in name])
"""


def test_a_run_from_a_file_is_that_of_train():
    run = fnet.load_run(BLOB)
    end, history = run(start(), DATA, VALIDATION)
    options = {"epochs": 2, "batch_size": 11, "validation": VALIDATION}
    expected, logs = fnet.train(TASK, start(), DATA, **options)
    assert int(end.step) == 4
    assert (end.key == expected.key).all()
    assert jax.tree.structure(end) == jax.tree.structure(expected)
    for one, other in zip(
        jax.tree.leaves(end.params), jax.tree.leaves(expected.params), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(history["val_loss"], logs["val_loss"], rtol=1e-4)
    assert int(run(end, DATA, VALIDATION)[0].step) == 8
    assert "a state of" in repr(run)


def test_it_runs_without_fnet(tmp_path):
    (tmp_path / "run.bin").write_bytes(BLOB)
    fnet.save(tmp_path / "start.safetensors", start())
    (x, y), (x_valid, y_valid) = DATA, VALIDATION
    safetensors.numpy.save_file(
        {"x": x, "y": y, "x_valid": x_valid, "y_valid": y_valid}, tmp_path / "data"
    )
    command = [sys.executable, "-c", WITHOUT_FNET]
    came = subprocess.run(command, cwd=tmp_path, check=True, text=True, capture_output=True).stdout
    losses, _ = ([float(number) for number in line.split()] for line in came.splitlines())
    _, history = fnet.load_run(BLOB)(start(), DATA, VALIDATION)
    np.testing.assert_allclose(losses, history["val_loss"], rtol=1e-4)


def symbolic(text):
    (size,) = jax.export.symbolic_shape(text)
    return tuple(jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype) for a in DATA)


SIMPLE = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(3), fnet.softmax)


def test_one_file_serves_any_number_of_whole_batches():
    one, begun = task(SIMPLE), fnet.train_state(SIMPLE, "sgd", jax.random.key(0), (4, 4))
    options = {"epochs": 2, "batch_size": 16, "validation": VALIDATION}
    data, platforms = symbolic("16*k + 6"), ["cpu"]
    run = fnet.load_run(fnet.export_run(one, begun, data, platforms=platforms, **options))
    end, history = run(begun, images(70), VALIDATION)
    expected, logs = fnet.train(one, begun, images(70), **options)
    assert int(end.step) == int(expected.step) == 10
    for name in ("loss", "accuracy", "val_loss"):
        np.testing.assert_allclose(history[name], logs[name], rtol=1e-5)
    assert int(run(begun, images(22), VALIDATION)[0].step) == 4
    with pytest.raises(
        TypeError, match=r"exported for, .* uint8\[16\*k \+ 6, 4, 4\], .*got .*\[21"
    ):
        run(begun, images(21), VALIDATION)
    for data, options in (
        (symbolic("n"), {"batch_size": 16}),
        (symbolic("16*k"), {"batch_size": None}),
    ):
        with pytest.raises(
            ValueError, match="must be a multiple of `batch_size` plus a fixed rest"
        ):
            fnet.export_run(one, begun, data, epochs=1, **options)
    with pytest.raises(ValueError, match="`validation` must have a fixed number of samples"):
        fnet.export_run(one, begun, DATA, epochs=1, validation=symbolic("n"))


def test_a_task_may_draw_its_own_data():
    own = OWN["without data"]
    options = own.options | {"epochs": 2}
    blob = fnet.export_run(own.task, own.start(), own.data, platforms=["cpu"], **options)
    run = fnet.load_run(blob)
    end, history = run(own.start())
    expected, logs = fnet.train(own.task, own.start(), own.data, **options)
    assert int(end.step) == int(expected.step) > 0
    np.testing.assert_allclose(history["loss"], logs["loss"], rtol=1e-5)


def test_other_arguments_are_refused():
    run = fnet.load_run(BLOB)
    with pytest.raises(TypeError, match=r"exported for, a state of .* uint8\[22, 4, 4\]"):
        run(start(), images(21), VALIDATION)
    with pytest.raises(TypeError, match="arguments must be those that the run was exported for"):
        run(start(), DATA)
    for platforms in ("cpu", ["abacus"], []):
        with pytest.raises(ValueError, match="`platforms` must be a list of some of"):
            fnet.export_run(TASK, start(), DATA, epochs=1, platforms=platforms)


def test_damage_is_found():
    for damaged in (BLOB[:-1], BLOB[:-1] + b"?", b"", fnet.export(fnet.relu, {}, ())):
        with pytest.raises(CorruptFileError):
            fnet.load_run(damaged)
    with pytest.raises(CorruptFileError):
        fnet.load_exported(BLOB)
    with pytest.raises(TypeError, match="must be bytes from fnet.export_run"):
        fnet.load_run("run.bin")
