"""Strict rules for every test, a key whose seed is printed where a test fails, and figures."""

import gc
import pathlib
import zlib

import jax
import pytest
from reliability import page, table

collect_ignore_glob = ["data/*/make.py"]  # programs, which need keras and torch

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

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


@pytest.fixture
def figures(record_property):
    """`figures(what, outcome)`: a row of the table at the end of `make soak`."""
    return lambda what, outcome: record_property("figure", (what, outcome))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", type=pathlib.Path, help="where to write the figures")


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    passed = sorted(terminalreporter.getreports("passed"), key=lambda report: report.nodeid)
    rows = [
        value for report in passed for name, value in report.user_properties if name == "figure"
    ]
    if rows:
        terminalreporter.section("reliability")
        terminalreporter.write_line(table(rows))
    path = config.getoption("reliability", None)
    if path and rows and exitstatus == pytest.ExitCode.OK:
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(rows))
