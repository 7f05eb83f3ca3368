"""The same seed gives the same bits in every process."""

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
