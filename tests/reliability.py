"""What the soak tests counted, as a page: a plugin of pytest."""

import pathlib
from collections.abc import Sequence

import pytest

HEAD = """# Reliability

`make soak` breaks things many times in a row and counts what came of it. It wrote this page, after
a run in which all of its tests passed; one that does not leaves the page as it was.

"""


def page(rows: Sequence[Sequence[str]]) -> str:
    return f"{HEAD}{table(rows)}\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = [("what was done", "what came of it"), ("---", "---"), *rows]
    return "\n".join(f"| {what} | {outcome} |" for what, outcome in lines)


@pytest.fixture
def figures(record_property):
    """`figures(what, outcome)`: a row of the table at the end of `make soak`."""
    return lambda what, outcome: record_property("figure", (what, outcome))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reliability", type=pathlib.Path, help="where to write the figures")


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a worker of xdist, which sees its own tests alone
        return
    passed = sorted(terminalreporter.getreports("passed"), key=lambda report: report.nodeid)
    rows = [
        value for report in passed for name, value in report.user_properties if name == "figure"
    ]
    if rows:
        terminalreporter.section("reliability")
        terminalreporter.write_line(table(rows))
    path = config.getoption("reliability", None)
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    part = named or config.getoption("keyword")  # of the tests: they do not make the whole page
    if path and rows and not part and exitstatus == pytest.ExitCode.OK:
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(rows))
