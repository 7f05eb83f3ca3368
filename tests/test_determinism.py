"""The same seed gives the same bits in every process that has as many threads.

With another number of them XLA may divide a product in another way, and round in another one.
"""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib

import jax
import numpy as np

import fnet

random = np.random.default_rng(0)
x, y = random.normal(size=(24, 5)).astype(np.float32), random.integers(0, 3, 24).astype(np.int32)
net = fnet.sequential(
    fnet.dense(8), fnet.batch_norm(), fnet.relu, fnet.dropout(0.5), fnet.dense(3), fnet.softmax
)
optimizer = fnet.adam(fnet.warmup_cosine(1e-2, 2, 9))
state = fnet.train_state(net, optimizer, jax.random.key(7), (5,))
task = fnet.supervised(net, "sparse_categorical_crossentropy")
state, history = fnet.train(task, state, (x, y), epochs=2, batch_size=8)
digest = hashlib.sha256(np.asarray(history["loss"]).tobytes())
for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
print(int(state.step), digest.hexdigest())
"""


@pytest.mark.soak
def test_three_processes_have_the_same_bits(figures):
    command = [sys.executable, "-c", PROGRAM]
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}  # each compiles for itself
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert outputs[0].startswith("6 ") and len(outputs[0].split()[1]) == 64
    assert outputs == [outputs[0]] * 3
    figures("one seed in three processes", "3 of 3 with the same bits")


# Large enough that XLA divides its products among the threads.
REPEATED = """
import hashlib
import os
import sys
import tempfile

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
step = jax.jit(fnet.train_step(task))
options = {"batch_size": 64, "progress": False}

def by_steps():
    state = start
    for epoch in range(2):
        for batch in fnet.batches(data, 64, key=start.key, epoch=epoch):
            state, _ = step(state, batch)
    return state

def resumed():
    with tempfile.TemporaryDirectory() as folder:
        saved = {"callbacks": [fnet.Checkpoints(folder)], "resume": "auto"}
        fnet.fit(task, start, data, epochs=1, **options, **saved)
        return fnet.fit(task, start, data, epochs=2, **options, **saved)[0]

ways = {
    "train": lambda: fnet.train(task, start, data, epochs=2, batch_size=64)[0],
    "fit": lambda: fnet.fit(task, start, data, epochs=2, **options)[0],
    "steps": by_steps,
    "resumed": resumed,
}
for way, run in ways.items():
    for _ in range(int(sys.argv[1])):
        state = run()
        leaves = jax.tree.leaves((state.params, state.model_state, state.opt_state))
        bits = b"".join(np.asarray(leaf).tobytes() for leaf in leaves)
        print(way, hashlib.sha256(bits).hexdigest())
print("threads", len(os.listdir("/proc/self/task")))
"""


@pytest.mark.soak
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads as Linux does")
def test_the_laws_hold_with_one_four_and_eight_threads(figures):
    repetitions = 17

    def begin(threads):
        environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        environment["NPROC"] = str(threads)  # by which XLA sizes its pools of threads
        command = [sys.executable, "-c", REPEATED, str(repetitions)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    children = [begin(threads) for threads in (1, 4, 8)]
    outputs = [child.communicate()[0].splitlines() for child in children]
    threads = [int(lines[-1].removeprefix("threads ")) for lines in outputs]
    assert threads == sorted(set(threads))  # each has more than the one before
    runs = 0
    for lines in outputs:
        digests = [line.split()[1] for line in lines[:-1]]
        assert len(set(digests)) == 1
        runs += len(digests)
    assert runs == 12 * repetitions
    what = "steps, `train`, `fit` and a resumed `fit` with 1, 4 and 8 threads of XLA, 17 times each"
    figures(what, f"{runs} of {runs} with the bits of that number of threads")
