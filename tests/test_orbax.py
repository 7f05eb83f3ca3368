"""Runs that orbax saves, with every bit checked."""

import dataclasses
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import bits, classifier, enable_x64, start, task
from test_resuming import DATA, RUN, Signalling, begun, equal

import fnet

# orbax closes its event loop while other reads of a damaged checkpoint are on their way.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def whole():
    return fnet.fit(task(), begun(), DATA, **RUN)


def fit(checkpoints, data=DATA, **options):
    return fnet.fit(task(), begun(), data, callbacks=[checkpoints], **RUN | options)


@pytest.mark.parametrize("form", ["arrays", "batches"])
@pytest.mark.parametrize(("every", "step"), [(None, 7), (3, 9)])
def test_an_interrupted_run_ends_with_the_bits_of_the_whole_one(form, every, step, tmp_path, whole):
    data = DATA if form == "arrays" else list(fnet.batches(DATA, 8))
    stopped, _ = fit(Signalling(step).into(tmp_path, fnet.OrbaxCheckpoints, every=every), data)
    checkpoints = fnet.OrbaxCheckpoints(tmp_path, every=every)
    assert checkpoints.steps()[-1] == stopped.step < 21
    equal(checkpoints.latest(begun()), stopped)
    again, history = fit(checkpoints, data, resume="auto")
    if form == "arrays":
        equal((again, history), whole)
    else:
        equal((again, history), fnet.fit(task(), begun(), data, **RUN))
    assert checkpoints.steps()[-1] == 21


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A state with an array that is large enough to have a file of its own."""
    checkpoints = fnet.OrbaxCheckpoints(tmp_path_factory.mktemp("saved"))
    state = start(classifier(64), "rmsprop")
    checkpoints(0, state)
    return checkpoints, state


def files_of(checkpoints):
    return [path for path in sorted(checkpoints.path(0).rglob("*")) if path.is_file()]


def intact(checkpoints, state) -> bool:
    """Whether the checkpoint is restored bit for bit; if not, a warning must name it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = checkpoints.latest(state)
    if found is None:
        (warning,) = caught
        assert "a checkpoint is skipped" in str(warning.message)
        assert str(checkpoints.path(0)) in str(warning.message)
        return False
    equal(found, state)
    return True


def test_flipped_bits_are_found(saved):
    checkpoints, state = saved
    random, files = np.random.default_rng(0), files_of(checkpoints)
    for number in range(100):
        path = files[number % len(files)]
        content = path.read_bytes()
        damaged, bit = bytearray(content), random.integers(8 * len(content))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert not intact(checkpoints, state)
        path.write_bytes(content)
    assert intact(checkpoints, state)


def test_files_cut_off_or_lost_are_found(saved):
    checkpoints, state = saved
    for path in files_of(checkpoints):
        content = path.read_bytes()
        for length in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            assert not intact(checkpoints, state)
        path.unlink()
        assert not intact(checkpoints, state)
        path.write_bytes(content)
    assert intact(checkpoints, state)


def test_an_array_that_orbax_restores_with_other_bits(saved, tmp_path):
    """orbax itself says nothing: the array was replaced by another of its kind."""
    import orbax.checkpoint

    checkpoints, state = saved
    other = fnet.OrbaxCheckpoints(tmp_path)
    moved = jnp.flip(state.params["dense"]["kernel"])
    other(0, dataclasses.replace(state, params=state.params | {"dense": {
        **state.params["dense"], "kernel": moved}}))  # fmt: skip
    shutil.copy(checkpoints.path(0) / "fnet.safetensors", other.path(0))
    with pytest.warns(UserWarning, match="Sharding info not provided"):
        restored = orbax.checkpoint.PyTreeCheckpointer().restore(other.path(0))
    np.testing.assert_array_equal(restored["params"]["dense"]["kernel"], moved)
    with pytest.warns(RuntimeWarning, match="changed or missing files: .*ocdbt.*. Use an older"):
        assert other.latest(state) is None


def test_the_one_before_a_damaged_one_is_taken(tmp_path, whole):
    checkpoints = fnet.OrbaxCheckpoints(tmp_path, every=4)
    fit(checkpoints, epochs=2)
    (checkpoints.path(14) / "manifest.ocdbt").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="a checkpoint is skipped, .*step-14"):
        again = fit(checkpoints, resume="auto")
    equal(again, whole)


def odd_state() -> fnet.TrainState:
    state = start()
    return dataclasses.replace(
        state,
        params={
            "bfloat16": jnp.linspace(-1, 1, 300, dtype=jnp.bfloat16),
            "flags": jnp.array([True, False]),
            "bytes": jnp.arange(5, dtype=jnp.uint8),
            "complex": jnp.array([1 + 2j, jnp.nan]),
            "empty": jnp.zeros((0, 3)),
            "number": 0.5,
            "host": np.arange(3.0),
            "list": [jnp.float32(-0.0), {"inner": jnp.int32(7)}],
        },
        opt_state={"keys": jax.random.split(jax.random.key(3, impl="rbg"), 4)},
    )


def test_every_kind_of_leaf_comes_back(tmp_path):
    checkpoints, state = fnet.OrbaxCheckpoints(tmp_path), odd_state()
    checkpoints(0, state)
    found = checkpoints.latest(state)
    for a, b in zip(*map(jax.tree.leaves, (state, found)), strict=True):
        assert type(a) is type(b)
        if isinstance(a, jax.Array):
            assert (a.aval, a.sharding) == (b.aval, b.sharding)
    assert bytes_of(found) == bytes_of(state)


def bytes_of(state) -> list[bytes]:
    numbers = dataclasses.replace(state, params=jax.tree.map(jnp.asarray, state.params))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(bits(numbers))]


def test_numbers_of_64_bits_come_back(tmp_path):
    with enable_x64():
        state = dataclasses.replace(start(), params={"wide": jnp.arange(300.0) / 7})
        assert state.params["wide"].dtype == jnp.float64
        checkpoints = fnet.OrbaxCheckpoints(tmp_path)
        checkpoints(0, state)
        equal(checkpoints.latest(state), state)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: halved(s), TypeError, "'params/dense/bias' has dtype float32 instead of bfloat"),
        (lambda s: start(classifier(64), "adam"), TypeError, "optimizer is rmsprop.*of adam"),
        (lambda s: start(classifier(16), "rmsprop"), ValueError, r"\(64,\) instead of \(16,\)"),
    ],
)
def test_another_state_is_refused(change, error, message, saved):
    checkpoints, state = saved
    with pytest.raises(error, match=message):
        checkpoints.latest(change(state))


def halved(state):
    cast = jax.tree.map(lambda a: a.astype(jnp.bfloat16), state.params)
    return dataclasses.replace(state, params=cast)


def test_names_that_orbax_takes_for_one(tmp_path):
    state = dataclasses.replace(start(), params={"a.b": jnp.ones(3), "a": {"b": jnp.zeros(3)}})
    with pytest.raises(ValueError, match="must have different names even with dots for slashes"):
        fnet.OrbaxCheckpoints(tmp_path)(0, state)
    assert fnet.OrbaxCheckpoints(tmp_path).steps() == []


def test_old_folders_go_when_the_new_one_is_safe(tmp_path):
    checkpoints = fnet.OrbaxCheckpoints(tmp_path, keep=2, every=4)
    fit(checkpoints)
    assert checkpoints.steps() == [20, 21]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "step-20", "step-21"]


def test_a_folder_has_one_writer(tmp_path):
    def second(epoch, state, logs):
        with pytest.raises(ValueError, match="must have one writer, got .*process"):
            fnet.OrbaxCheckpoints(tmp_path)(epoch, state)
        return fnet.STOP

    fnet.fit(task(), begun(), DATA, callbacks=[fnet.OrbaxCheckpoints(tmp_path), second], **RUN)


def test_a_disk_that_fails_ends_nothing(tmp_path):
    """A limit on the size of files stands for it."""

    class Limited(fnet.OrbaxCheckpoints):
        def put(self, path, state, extra):
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            smallest = 100 if state.step == 7 else limits[0]
            resource.setrlimit(resource.RLIMIT_FSIZE, (smallest, limits[1]))
            try:
                super().put(path, state, extra)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    checkpoints = Limited(tmp_path)
    words = r"could not be written, and training goes on: orbax must write all of .*step-7`"
    with pytest.warns(RuntimeWarning, match=words):
        state, _ = fnet.fit(task(), begun(), DATA, callbacks=[checkpoints], **RUN)
    assert state.step == 21
    assert checkpoints.steps() == [14, 21]


def python(code: str, request, **options) -> subprocess.Popen:
    head = f"import sys; sys.path.insert(0, {str(request.path.parent)!r})\n"
    return subprocess.Popen([sys.executable, "-c", head + code], text=True, **options)


WRITER = """
import os, signal
from test_orbax import *
class Killed(fnet.OrbaxCheckpoints):
    def publish(self, new, path):
        if (path / "fnet.safetensors").exists():
            self.delete(path)
            os.kill(os.getpid(), signal.SIGKILL)
        super().publish(new, path)
checkpoints = Killed({directory!r})
checkpoints(0, start())
checkpoints(0, start(seed=1))
"""


def test_a_writer_killed_between_the_old_one_and_the_new(request, tmp_path):
    assert python(WRITER.format(directory=str(tmp_path)), request).wait() == -signal.SIGKILL
    checkpoints = fnet.OrbaxCheckpoints(tmp_path)
    assert checkpoints.steps() == []
    with checkpoints.locked():
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "step-0"]
        equal(checkpoints.latest(start()), start(seed=1))


ENDLESS = """
from test_orbax import *
checkpoints, kernel = fnet.OrbaxCheckpoints({directory!r}), jnp.ones((1000, 1000))
for step in range(1000):
    state = dataclasses.replace(start(), params=kernel * step, step=jnp.int32(step))
    checkpoints(0, state)
"""


@pytest.mark.soak
def test_a_writer_killed_within_orbax(request, tmp_path):
    checkpoints = fnet.OrbaxCheckpoints(tmp_path)
    writer = python(ENDLESS.format(directory=str(tmp_path)), request)
    while len(checkpoints.steps()) < 3 or not list(tmp_path.glob(".step-*tmp*/ocdbt*")):
        assert writer.poll() is None
        time.sleep(0.001)
    writer.kill()
    writer.wait()
    steps = checkpoints.steps()
    assert any(path.name.startswith(".step-") for path in tmp_path.iterdir())
    with checkpoints.locked():
        assert steps and not any(path.name.startswith(".step-") for path in tmp_path.iterdir())
        like = dataclasses.replace(start(), params=jnp.ones((1000, 1000)))
        found = checkpoints.latest(like)
    assert found.step >= steps[-1]
    np.testing.assert_array_equal(found.params, float(found.step))


SHARDED = """
import jax
jax.config.update("jax_num_cpu_devices", 4)
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from test_orbax import *
state = start()
checkpoints = fnet.OrbaxCheckpoints({directory!r})
for step, kind in enumerate((AxisType.Auto, AxisType.Explicit)):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    def put(tree, *spec):
        return jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, PartitionSpec(
            *(spec if a.shape[1:] == (16,) else ())))), tree)
    rows, columns = put(state, "data"), put(state, None, "data")
    kernel = rows.params["dense"]["kernel"]
    assert len(kernel.sharding.device_set) == 4 and not kernel.is_fully_replicated
    checkpoints(step, dataclasses.replace(rows, step=put(jnp.int32(step))))
    for like in (rows, columns):
        found = checkpoints.latest(like)
        equal(found.params, like.params)
        for a, b in zip(*map(jax.tree.leaves, (found, like)), strict=True):
            assert a.sharding.is_equivalent_to(b.sharding, a.ndim), (a.sharding, b.sharding)
            assert a.aval == b.aval
"""


def test_what_four_devices_saved_one_restores(request, tmp_path):
    assert python(SHARDED.format(directory=str(tmp_path)), request).wait() == 0
    checkpoints = fnet.OrbaxCheckpoints(tmp_path)
    equal(checkpoints.latest(start()), dataclasses.replace(start(), step=jnp.int32(1)))


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r'Run `pip install "fnet-jax\[checkpoint\]"`'):
        fnet.OrbaxCheckpoints(tmp_path)
