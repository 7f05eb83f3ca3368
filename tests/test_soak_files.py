"""Files under many faults in a row."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saver

import fnet

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("writer", [0, 1])
def test_a_process_killed_while_it_saves(writer, tmp_path, figures):
    """Half of the kills in each of two processes, so that two cores share them."""
    path, kills, random, step = tmp_path / "state", 40, np.random.default_rng(writer), 0
    fnet.save(path, saver.state(0))
    command = [sys.executable, saver.__file__, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(kills):
            print(step, file=process.stdin, flush=True)
            child = int(process.stdout.readline())
            time.sleep(random.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            saved = [step, *map(int, iter(lambda: process.stdout.readline().strip(), "dead"))]
            step = step_of(path, at_least=saved[-1])
        process.stdin.close()
    cut = len(list(tmp_path.glob(".fnet-*.tmp")))
    assert step and cut  # it did save, and was killed within that too
    figures(
        f"SIGKILL at any instant of endless saving, writer {writer + 1} of 2",
        f"{kills} of {kills} files whole, right, and not older than the last that was reported",
    )


def step_of(path: pathlib.Path, at_least: int) -> int:
    """That of the state in the file, of which every number is as it has to be."""
    tensors = fnet.files.tensor_file.read_tensors(path)[0]
    step = int(tensors["step"])
    expected = saver.state(step)
    loaded = fnet.load(path, like=expected)
    assert jax.tree.structure(loaded) == jax.tree.structure(expected)
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, expected))
    assert step >= at_least
    return step


WEIGHTS = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3, jnp.bfloat16)}}


def small_state() -> fnet.TrainState:
    return fnet.train_state(fnet.dense(1), "sgd", jax.random.key(0), (2,))


@pytest.fixture(params=["weights", "state"])
def kept(request, tmp_path):
    """The kind of a file, where it is, what is in it, and how to load it."""
    path = tmp_path / request.param
    if request.param == "weights":
        fnet.save_weights(path, WEIGHTS)
        return request.param, path, lambda: fnet.load_weights(path)
    state = small_state()
    fnet.save(path, state)
    return request.param, path, lambda: fnet.load(path, like=state)


def test_every_bit_flipped(kept, figures):
    """Of weights every bit, of a state every ninth: each bit of a byte has its turn."""
    kind, path, load = kept
    content = path.read_bytes()
    numbers = range(0, 8 * len(content), {"weights": 1, "state": 9}[kind])
    for bit in numbers:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(fnet.CorruptFileError):
            load()
    each = {"weights": "every bit", "state": "every ninth bit"}[kind]
    figures(f"{each} of a file of {kind} flipped", f"{len(numbers):,} of {len(numbers):,} refused")


def test_every_length_cut(kept, figures):
    kind, path, load = kept
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(fnet.CorruptFileError):
            load()
    lengths = f"{len(content):,}"
    figures(f"a file of {kind} cut at every length", f"{lengths} of {lengths} refused")


@pytest.mark.parametrize("fault", ["flipped", "cut"])
def test_a_large_file_damaged(fault, tmp_path, figures):
    path = tmp_path / "weights"
    fnet.save_weights(path, {"kernel": jnp.ones(250_000)})
    size, random = path.stat().st_size, np.random.default_rng(0)
    if fault == "cut":
        count = -(-size // 1024)
        for kilobytes in reversed(range(count)):
            os.truncate(path, 1024 * kilobytes)
            with pytest.raises(fnet.CorruptFileError):
                fnet.load_weights(path)
    else:
        count = 400
        with open(path, "r+b", buffering=0) as file:
            for bit in random.integers(0, 8 * size, count).tolist():
                flip(file, bit)
                with pytest.raises(fnet.CorruptFileError):
                    fnet.load_weights(path)
                flip(file, bit)
        fnet.load_weights(path)
    done = {"cut": "cut at every KiB", "flipped": "with one bit flipped, anywhere"}[fault]
    figures(f"a file of {size / 1e6:.0f} MB {done}", f"{count:,} of {count:,} refused")


def flip(file, bit: int) -> None:
    file.seek(bit // 8)
    byte = file.read(1)[0]
    file.seek(bit // 8)
    file.write(bytes([byte ^ 1 << bit % 8]))
