"""The page of the soak tests is written by a whole run that passes, and by no other."""

import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number, figures):
    figures(f"number {number}", "fine")
    assert number != FAILS
"""


@pytest.mark.parametrize(
    ("fails", "options", "written"),
    [
        (3, "-p xdist -n 2", False),  # one of the two workers sees no failure
        (None, "", True),
        (None, "-k 1", False),
        (None, "tests", False),
    ],
)
def test_who_writes_the_page(fails, options, written, tmp_path):
    page, environment = tmp_path / "page.md", dict(os.environ)
    page.write_text("old")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(PROGRAM.replace("FAILS", str(fails)))
    environment["PYTHONPATH"] = str(pathlib.Path(__file__).parent)
    environment = {name: v for name, v in environment.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "reliability", f"--reliability={page}"]
    child = subprocess.run(
        [*command, *options.split()], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert child.returncode == (fails is not None), child.stdout + child.stderr
    rows = page.read_text().count("| number ")
    assert (page.read_text() == "old", rows) == ((False, 4) if written else (True, 0))
