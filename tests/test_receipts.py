"""What identifies a run, as digests, and the run checked by them."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors
from own_tasks import OWN
from problems import images, start, task

import fnet

X, Y = DATA = images(50)
RUN = {"epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def result():
    return fnet.fit(task(), start(), DATA, progress=False, **RUN)


@pytest.fixture(scope="module")
def receipt(result):
    return fnet.receipt(task(), start(), DATA, result=result, **RUN)


def memmap(folder):
    """Rows on the disk, the labels in another byte order and width than in memory."""
    x = np.memmap(folder / "x", np.uint8, "w+", shape=X.shape)
    x[:] = X
    y = np.memmap(folder / "y", ">i8", "w+", shape=Y.shape)
    y[:] = Y
    return x, y


class Rows:
    def __len__(self):
        return len(X)

    def __getitem__(self, rows):
        return X[rows], Y[rows]


def test_a_receipt_is_json_and_says_what_the_leaves_are(receipt, tmp_path):
    assert json.loads(json.dumps(receipt)) == receipt
    assert list(receipt["data"]) == ["0", "1"]
    assert receipt["data"]["0"].startswith("uint8[50,4,4] ")
    assert receipt["start"].keys() == receipt["end"].keys()
    assert "params/dense/kernel" in receipt["end"]
    assert list(receipt["history"]) == ["loss", "accuracy"]
    begun = fnet.receipt(task(), start(), DATA, path=tmp_path / "receipt.json", **RUN)
    assert begun == {name: receipt[name] for name in begun}
    assert json.loads((tmp_path / "receipt.json").read_text()) == begun
    fnet.verify(tmp_path / "receipt.json", task(), start(), DATA)  # without an end


def test_data_has_the_same_digests_wherever_it_lies(receipt, tmp_path, monkeypatch):
    monkeypatch.setattr("fnet.fitting.receipts.READ_ROWS", 7)
    for data in (memmap(tmp_path), Rows(), tuple(map(jax.numpy.asarray, DATA))):
        assert fnet.receipt(task(), start(), data, **RUN)["data"] == receipt["data"]
        assert fnet.receipt(task(), start(), data, **RUN)["program"] == receipt["program"]


@pytest.mark.bits
def test_a_run_is_verified_by_running_it_again(receipt, result, tmp_path):
    fnet.save(tmp_path / "run", result[0], receipt=receipt)
    fnet.verify(tmp_path / "run", task(), start(), DATA)
    fnet.verify(receipt, task(), start(), memmap(tmp_path))
    trained = fnet.train(task(), start(), DATA, **RUN)
    assert fnet.receipt(task(), start(), DATA, result=trained, **RUN) == receipt


@pytest.mark.bits
@pytest.mark.parametrize("name", ["stateful", "without data", "three inputs"])
def test_a_run_of_any_task_is_verified(name):
    own, data, begun = OWN[name].task, OWN[name].data, OWN[name].start()
    run = OWN[name].options | {"epochs": 2}
    result = fnet.train(own, begun, data, **run)
    fnet.verify(fnet.receipt(own, begun, data, result=result, **run), own, begun, data)


def changed(index):
    y = Y.copy()
    y[index] = (y[index] + 1) % 3
    return X, y


STEPPED = dataclasses.replace(start(), step=jax.numpy.asarray(7, jax.numpy.int32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": changed(49)}, "got other values in `data` at '1'. Pass"),
        ({"data": images(49)}, r"got uint8\[49,4,4\] for uint8\[50,4,4\] in `data` at '0'; int32"),
        ({"data": (X, Y, np.ones(50, np.float32))}, r"got leaves \['0', '1', '2'\] for \['0', '1'"),
        ({"state": start(seed=1)}, "other values in `state` at .*'params/dense/kernel'.*'key"),
        ({"state": STEPPED}, "other values in `state` at 'step'"),
        ({"state": start(optimizer="sgd")}, r"got leaves .* in `state`"),
        ({"task": task(metrics=[])}, "got another program of the same shapes"),
        ({"task": fnet.penalized(task(), fnet.l2(1e-3))}, "got another program"),
    ],
)
def test_what_differs_is_named(change, words, receipt):
    with pytest.raises(ValueError, match=words):
        fnet.verify(receipt, **{"task": task(), "state": start(), "data": DATA} | change)


def test_an_end_of_other_bits_is_named(receipt):
    end = receipt["end"] | {"params/dense/bias": receipt["start"]["params/dense/bias"]}
    with pytest.raises(ValueError, match="at 'params/dense/bias'.* The environment is the same"):
        fnet.verify(receipt | {"end": end}, task(), start(), DATA)
    elsewhere = receipt["environment"] | {"jax": "0.1", "processor": "an abacus"}
    other = receipt | {"end": end, "environment": elsewhere, "program": "of another text"}
    with pytest.raises(
        ValueError, match=r"Bits may differ .*: jax 0\.1 there, .* here; processor an abacus there"
    ):
        fnet.verify(other, task(), start(), DATA)
    history = {"loss": receipt["history"]["loss"]}
    with pytest.raises(ValueError, match=r"leaves \['accuracy', 'loss'\] .* in the history"):
        fnet.verify(receipt | {"history": history}, task(), start(), DATA)


def test_a_saved_file_holds_the_receipt_of_its_state(receipt, result, tmp_path):
    path = tmp_path / "run.safetensors"
    fnet.save(path, result[0], receipt=receipt)
    assert int(fnet.load(path, like=start()).step) == 14
    with safetensors.safe_open(path, "np") as file:  # any reader finds it
        assert json.loads(file.metadata()["receipt"]) == receipt
    with pytest.raises(ValueError, match="got other values in `data` at '1'"):
        fnet.verify(path, task(), start(), changed(3))
    content = path.read_bytes()
    for number in (content.index(b"batch_size") + 14, len(content) - 1):
        flipped = content[:number] + bytes([content[number] ^ 1]) + content[number + 1 :]
        path.write_bytes(flipped)
        with pytest.raises(fnet.CorruptFileError, match="changed bits"):
            fnet.verify(path, task(), start(), DATA)


def test_a_file_takes_no_receipt_of_another_state(receipt, tmp_path):
    with pytest.raises(ValueError, match="the run that ended in `state`, got other values in the"):
        fnet.save(tmp_path / "run", start(), receipt=receipt)
    with pytest.raises(ValueError, match="must be what fnet.receipt returned, .* got a dict"):
        fnet.save(tmp_path / "run", start(), receipt={"end": {}})
    assert not list(tmp_path.iterdir())
    begun = {name: receipt[name] for name in receipt.keys() - {"end", "history"}}
    fnet.save(tmp_path / "run", start(), receipt=begun)  # of a run that is still to come
    fnet.verify(tmp_path / "run", task(), start(), DATA)


def test_what_is_no_receipt_is_refused(tmp_path):
    (tmp_path / "receipt.json").write_text("{")
    fnet.save(tmp_path / "without", start())
    for given, words in (
        (tmp_path / "without", "must be what fnet.receipt returned, .* or a file of it, got"),
        (tmp_path / "receipt.json", "must be a file of JSON or of fnet.save"),
        ({"program": ""}, "must be what fnet.receipt returned"),
        (None, "must be what fnet.receipt returned, .* got None"),
    ):
        with pytest.raises(ValueError, match=words):
            fnet.verify(given, task(), start(), DATA)
    with pytest.raises(TypeError, match="`result` must be what `fit` or `train` returned"):
        fnet.receipt(task(), start(), DATA, result=start())
    with pytest.raises(ValueError, match="must have rows with numbers"):
        fnet.receipt(task(), start(), list(fnet.batches(DATA, 8)))


PROGRAM = """
import json
import os

import jax
import numpy as np

import fnet

random = np.random.default_rng(0)
x, y = random.normal(size=(300, 196)).astype(np.float32), random.integers(0, 10, 300)
data = x, y.astype(np.int32)
net = fnet.sequential(
    fnet.dense(256), fnet.batch_norm(), fnet.relu, fnet.dropout(0.5), fnet.dense(10), fnet.softmax
)
task = fnet.supervised(net, "sparse_categorical_crossentropy")
start = fnet.train_state(net, "adam", jax.random.key(7), (196,))
result = fnet.fit(task, start, data, epochs=2, batch_size=64, progress=False)
receipt = fnet.receipt(task, start, data, epochs=2, batch_size=64, result=result)
fnet.verify(receipt, task, start, data)
print(json.dumps(receipt))
"""


@pytest.mark.soak
def test_processes_have_the_same_receipt_and_other_threads_are_named(figures):
    """With other threads the bits of the end may differ: XLA sums in other parts."""
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"NPROC": threads, "PYTHONHASHSEED": str(seed)},
        )
        for seed, threads in enumerate("1244")
    ]
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    one, two, four, again = map(json.loads, outputs)
    assert four["end"] and four == again
    for name in ("program", "data", "start", "options"):
        assert one[name] == two[name] == four[name]
    threads = [receipt["environment"]["threads"] for receipt in (one, two, four)]
    assert threads == ["1", "2", "4"]
    figures("what a run is made of, with 1, 2, 4 and 4 threads of XLA", "4 of 4 equal")
    figures("receipts of two processes with 4 threads of XLA", "2 of 2 equal, the end too")
