"""What a release says of itself is so."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_every_python_that_the_package_names_is_tested():
    named = re.findall(r":: (3\.\d+)'", str(PROJECT["classifiers"]))
    tested = re.findall(r'python: "(3\.\d+)"', WORKFLOW)
    assert named and set(named) <= set(tested)
    assert PROJECT["requires-python"] == f">={tested[0]}"


def test_the_oldest_versions_that_the_package_takes_are_tested():
    needs = dict(re.findall(r"(\w+)>=([\d.]+)", " ".join(PROJECT["dependencies"])))
    oldest = dict(re.findall(r"(jax|numpy)==(\d+\.\d+)", WORKFLOW))
    assert oldest == {name: needs[name] for name in ("jax", "numpy")}


def test_what_the_workflow_makes_there_is_to_make():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = set(re.findall(r"make ([a-z]+)$", WORKFLOW, re.MULTILINE))
    made |= set(re.findall(r"^make ([a-z]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    assert {"test", "lint", "dist"} <= made <= set(targets)
