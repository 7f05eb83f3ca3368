"""Meshes: eight virtual devices in a process of their own, and what is refused in this one."""

import os
import pathlib
import subprocess
import sys

import chex
import jax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from problems import LOSS, bits, classifier, images, start, task

import fnet

DATA = images(50)
RUN = {"epochs": 2, "batch_size": 8}
MESH = jax.sharding.Mesh(jax.devices()[:1], ("data",))


def test_on_eight_devices():
    """One process for all, since the number of devices is fixed when the first is asked for."""
    path = pathlib.Path(__file__).parent / "eight_devices.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    child = subprocess.run([*command, path], capture_output=True, text=True, env=environment)
    assert child.returncode == 0, child.stdout + child.stderr


def test_a_mesh_of_one_device_changes_no_bit():
    without, on_it = (
        fnet.train(task(metrics=()), start(), DATA, mesh=mesh, **RUN) for mesh in (None, MESH)
    )
    chex.assert_trees_all_equal(bits(without), bits(on_it))


def layout():
    return fnet.shardings(classifier(), start().params, MESH)


CASES = {
    "no mesh": ({"mesh": 8}, TypeError, r"`mesh` must be a jax\.sharding\.Mesh, got 8\. Make one"),
    "no data axis": (
        {"mesh": jax.sharding.Mesh(jax.devices()[:1], ("batch",))}, ValueError,
        r"`mesh` must have an axis 'data', over which batches lie, got axes \('batch',\)\.",
    ),
    "shardings alone": (
        {"shardings": layout()}, ValueError, "`shardings` must come with `mesh`",
    ),
    "another tree": (
        {"mesh": MESH, "shardings": {"dense": layout()["dense"]}}, TypeError,
        r"must be a tree like the parameters, .* got unknown \[\], missing \['batch_norm/bias'",
    ),
    "a function of another tree": (
        {"mesh": MESH, "shardings": lambda params, mesh: {"dense_9": layout()["dense"]}}, TypeError,
        r"or a function \(params, mesh\) that gives one, got unknown \['dense_9/bias', ",
    ),
    "no sharding": (
        {"mesh": MESH, "shardings": jax.tree.map(lambda s: s.spec, layout())}, TypeError,
        "must hold a NamedSharding of `mesh` for each parameter, got .* for 'batch_norm/bias'",
    ),
    "too many axes": (
        {"mesh": MESH, "shardings": jax.tree.map(
            lambda leaf: NamedSharding(MESH, PartitionSpec(None, "data")), layout())}, ValueError,
        r"must cut each parameter into even parts, got .* for 'batch_norm/bias' of shape \(16,\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "words"), CASES.values(), ids=CASES)
def test_refused_before_anything_is_compiled(arguments, error, words, compilations):
    state = start()
    x, _ = DATA
    compilations.clear()
    for call in (
        lambda: fnet.train(task(metrics=()), state, DATA, **RUN, **arguments),
        lambda: fnet.fit(task(metrics=()), state, DATA, progress=False, **RUN, **arguments),
        lambda: fnet.evaluate(fnet.supervised(classifier(), LOSS), state, DATA, **arguments),
        lambda: fnet.predict(classifier(), state, x, **arguments),
    ):
        with pytest.raises(error, match=words):
            call()
    assert not compilations


def test_parameters_of_another_model_have_no_shardings():
    with pytest.raises(TypeError, match="expected parameters of the layers"):
        fnet.shardings(fnet.sequential(fnet.dense(3)), start().params, MESH)
