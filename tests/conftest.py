"""Strict rules for every test, and a key whose seed is printed where a test fails."""

import zlib

import jax
import pytest

collect_ignore = ["data/foreign/make.py"]  # a program, which needs keras and torch

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


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
