"""Files that fnet wrote before there were tasks still open, and their runs still resume.

`tests/data/version_0` holds a run stopped within its second epoch, its end, and the weights there.
"""

import pathlib
import shutil

import chex
import jax
import numpy as np
import pytest

import fnet
from fnet.core.trees import by_path

FILES = pathlib.Path(__file__).parent / "data" / "version_0"
NET = fnet.sequential(
    fnet.dense(4), fnet.batch_norm(), fnet.relu, fnet.dropout(0.2), fnet.dense(3), fnet.softmax
)
X = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
Y = (np.arange(20) % 3).astype(np.int32)


@pytest.fixture
def begun():
    optimizer = fnet.clipped(fnet.adam(fnet.cosine(0.01, 40)))
    return fnet.train_state(NET, optimizer, jax.random.key(0), (5,))


@pytest.fixture
def values():
    return dict(np.load(FILES / "values.npz"))


def test_a_run_opens(begun, values):
    state = fnet.load(FILES / "state.safetensors", like=begun)
    assert int(state.step) == 6
    values.pop("loss")
    chex.assert_trees_all_equal(by_path(state.params), values)


def test_weights_open(begun, values):
    values.pop("loss")
    params = fnet.load_weights(FILES / "weights.safetensors", like=begun.params)
    chex.assert_trees_all_equal(by_path(params), values)


def test_a_checkpoint_within_an_epoch_is_resumed(begun, values, tmp_path):
    folder = shutil.copytree(FILES / "run", tmp_path / "run")
    task = fnet.supervised(NET, "sparse_categorical_crossentropy", ["accuracy"])
    checkpoints = fnet.Checkpoints(folder, keep=9, every=2)
    assert checkpoints.steps() == [4]
    state, history = fnet.fit(
        task, begun, (X, Y), epochs=2, batch_size=8, progress=False, record=["loss"],
        callbacks=[checkpoints], resume="auto",
    )  # fmt: skip
    np.testing.assert_allclose(history["loss"], values.pop("loss"), rtol=1e-5)
    values.pop("dense/bias")  # batch_norm takes it away: its gradient is rounding alone
    found = {name: leaf for name, leaf in by_path(state.params).items() if name in values}
    chex.assert_trees_all_close(found, values, rtol=1e-3, atol=1e-5)
