"""Strict rules for every test, and a key whose seed is printed where a test fails."""

import gc
import os
import shutil
import tempfile
import zlib

import jax
import pytest
from reliability import figures, pytest_addoption, pytest_terminal_summary  # noqa: F401

collect_ignore_glob = ["data/*/make.py"]  # programs, which need keras and torch

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A cache for this run alone, in place of the user's. What one process of it compiles, the others
# load: the workers of pytest, and what tests start. The `compilations` fixture lists what is loaded
# too.
OWN_CACHE = None
if "PYTEST_XDIST_WORKER" not in os.environ:
    OWN_CACHE = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="fnet-tests-")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(OWN_CACHE, "programs"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

gc.set_threshold(100_000, 50, 50)  # tracing makes much garbage: collecting it took a tenth of all


@pytest.fixture
def key(request: pytest.FixtureRequest) -> jax.Array:
    seed = zlib.crc32(request.node.nodeid.encode())
    print(f"key fixture: jax.random.key({seed})")
    return jax.random.key(seed)


listening: list[list[str]] = []  # JAX 0.7 has no way to take a listener back, so it stays


def listen(event: str, duration: float, **about: str) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        for compiled in listening:
            compiled.append(about.get("fun_name", event))


jax.monitoring.register_event_duration_secs_listener(listen)


@pytest.fixture
def compilations():
    """The names of what XLA compiles during the test."""
    listening.append([])
    yield listening[-1]
    listening.pop()


def pytest_unconfigure() -> None:
    if OWN_CACHE:
        shutil.rmtree(OWN_CACHE, ignore_errors=True)
