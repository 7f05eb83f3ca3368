"""Compiled programs kept between processes: read, shared, damaged, bounded, of other machines."""

import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from jax._src.lib import xla_client
from jax.experimental.compilation_cache.compilation_cache import reset_cache

import fnet
from fnet.core.user_cache import user_cache
from fnet.files import programs
from fnet.files.programs import DIRECTORY


@pytest.fixture(autouse=True)
def restored():
    """JAX as the tests had it, and nothing compiled before or after."""
    before = getattr(jax.config, DIRECTORY)
    jax.clear_caches()
    yield
    jax.config.update(DIRECTORY, before)
    reset_cache()


@pytest.fixture
def directory(tmp_path):
    return fnet.cache_programs(tmp_path / "programs")


@pytest.fixture
def read():
    """The number of programs that were read from the directory in this test."""
    events = []

    def listen(event, **_):
        if event == "/jax/compilation_cache/cache_hits":
            events.append(event)

    jax.monitoring.register_event_listener(listen)  # JAX 0.7 has no way to take it back
    return lambda: len(events)


def compute():
    """The same in every process, and one entry."""
    jax.clear_caches()

    def cubed(x):
        return x**3 + 1

    return np.asarray(jax.jit(cubed)(np.arange(4.0, dtype=np.float32)))


def entries(directory, name="cubed"):
    return sorted(directory.glob(f"jit_{name}-*-cache"))


def test_a_program_is_kept_and_read_with_the_same_bits(directory, read):
    first = compute()
    (entry,) = entries(directory)
    assert not read()
    np.testing.assert_array_equal(compute(), first)
    assert read() == 1 and entries(directory) == [entry]


def test_a_run_reads_all_of_its_programs(directory, read, compilations):
    def run():
        jax.clear_caches()
        net = fnet.dense(1)
        task = fnet.supervised(net, "mean_squared_error")
        state = fnet.train_state(net, "sgd", jax.random.key(0), (2,))
        x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(10, 2)
        state, _ = fnet.fit(task, state, (x, x[:, :1]), epochs=2, batch_size=5, progress=False)
        return state.params, fnet.evaluate(task, state, (x, x[:, :1]))

    first = run()
    del compilations[:]
    before = read()
    again = run()
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert read() - before == len(compilations) > 3


def test_where_programs_are_kept(tmp_path, monkeypatch):
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    told = getattr(jax.config, DIRECTORY)
    assert fnet.cache_programs() == Path(told)
    jax.config.update(DIRECTORY, None)
    assert (
        fnet.cache_programs() == user_cache() / "programs" == Path(getattr(jax.config, DIRECTORY))
    )
    monkeypatch.chdir(tmp_path)
    assert fnet.cache_programs("here") == tmp_path / "here"
    assert fnet.cache_programs("~/there") == Path("~/there").expanduser()


def test_the_directory_may_change_in_a_process(tmp_path, directory):
    compute()
    other = fnet.cache_programs(tmp_path / "other")
    compute()
    assert len(entries(directory)) == len(entries(other)) == 1


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    match = "`directory` must be a folder or a place for a new one, got '.*'. Choose another than:"
    with pytest.raises(OSError, match=match):
        fnet.cache_programs(tmp_path / "file" / "programs")


DAMAGE = {
    "empty": lambda entry: b"",
    "cut": lambda entry: entry[: len(entry) // 2],
    "flipped": lambda entry: entry[:300] + bytes([entry[300] ^ 16]) + entry[301:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_a_warning_and_compiled_again(directory, read, damage):
    right = compute()
    (entry,) = entries(directory)
    entry.write_bytes(damage(entry.read_bytes()))
    with pytest.warns(UserWarning, match="Error reading persistent compilation cache entry"):
        np.testing.assert_array_equal(compute(), right)
    assert fnet.cache_programs() == directory and not entries(directory)
    compute(), compute()  # the entry is good again
    assert read() == 1


def test_an_entry_of_another_compression_is_left_alone(directory):
    entry = directory / "jit_f-0-cache"
    entry.write_bytes(programs.ZSTANDARD + b"whatever follows")
    fnet.cache_programs()
    assert entry.exists()


def test_the_least_used_beyond_the_bound_are_removed(directory, monkeypatch):
    paths = [directory / f"jit_f-{number}-cache" for number in range(5)]
    for age, path in enumerate(paths):
        path.write_bytes(zlib.compress(bytes(number * 7 % 256 for number in range(1000))))
        os.utime(path, (10_000 - age, 5_000))
    size = paths[0].stat().st_size
    monkeypatch.setattr(programs, "MOST_BYTES", 3 * size)
    fnet.cache_programs()
    assert [path.exists() for path in paths] == [True] * 3 + [False] * 2


def test_a_cpu_with_other_features_has_other_entries(directory, read, monkeypatch):
    """The topology of a CPU lists its features, and its fingerprint is in JAX's key."""
    compute()

    class Other:
        def fingerprint(self):
            return 1

        def serialize(self):  # which JAX 0.7 hashes in place of the fingerprint
            return b"other"

    with monkeypatch.context() as patch:
        patch.setattr(xla_client, "get_topology_for_devices", lambda devices: Other())
        compute()
    assert not read() and len(entries(directory)) == 2
    compute()
    assert read() == 1


PROGRAM = """
import sys, warnings
import jax, numpy as np, fnet

warnings.simplefilter("error")
warnings.filterwarnings("ignore", "Error reading persistent compilation cache")
fnet.cache_programs(sys.argv[1])
if sys.argv[2:] == ["killed"]:
    import os, signal
    from jax._src.lru_cache import LRUCache

    def write_half(self, key, value):
        (self.path / f"{key}-cache").write_bytes(value[: len(value) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    LRUCache.put = write_half
for power in range(1, 5):
    print(jax.jit(lambda x: x**power)(np.float32(3)))
"""


def test_processes_share_a_directory_and_one_is_killed_while_it_writes(tmp_path):
    folder = tmp_path / "programs"

    def start(*arguments):
        command = [sys.executable, "-c", PROGRAM, str(folder), *arguments]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)

    killed = start("killed")
    assert killed.communicate()[0] == "" and killed.returncode == -signal.SIGKILL
    (unfinished,) = folder.glob("*-cache")
    right = "".join(f"{3.0**power}\n" for power in range(1, 5))
    for process in [start() for _ in range(2)]:
        assert process.communicate()[0] == right and process.returncode == 0
    assert all(programs.finished(path.read_bytes()) for path in folder.glob("*-cache"))
    assert unfinished.exists()  # written again
