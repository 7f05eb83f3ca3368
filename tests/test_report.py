"""`python -m fnet`: what an issue report needs, whatever is missing or broken."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import fnet
from fnet import __main__ as program

HEADS = "fnet python packages plug-ins devices extras caches datasets variables".split()


def lines():
    return list(program.report())


def part(name):
    """The lines of a part, without its name."""
    found, current = [], ""
    for line in lines():
        current = line[:12].strip() or current
        found += [line[12:]] * (current == name)
    return found


def test_the_command(tmp_path):
    variables = {"FNET_DATA_DIR": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    printed = subprocess.check_output(
        [sys.executable, "-m", "fnet"],
        text=True,
        stderr=subprocess.STDOUT,
        env=os.environ | variables,
    )
    shown = printed.splitlines()
    assert [line[:12].strip() for line in shown if line[0] != " "] == HEADS
    assert shown[0].startswith(f"fnet        {fnet.__version__}, ")
    assert f"jax {jax.__version__}, " in printed and f"numpy {np.__version__}, " in printed
    assert " cpu (cpu), 1 process, " in printed
    assert f"FNET_DATA_DIR={tmp_path}" in printed
    assert len(shown) < 40 and not list(tmp_path.iterdir())


def test_datasets_are_found_where_all_their_files_are(tmp_path, monkeypatch):
    monkeypatch.setenv("FNET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "mnist"
    folder.mkdir()
    names = [file.name for file in fnet.datasets._MNIST.files]
    for name in names[1:]:
        (folder / f"{name}.gz").touch()
    assert part("datasets")[0] == "mnist: not here"
    (folder / names[0]).touch()
    assert part("datasets")[0] == f"mnist: {folder}"


def test_caches_are_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "fnet" / "programs").mkdir(parents=True)
    (tmp_path / "fnet" / "programs" / "one").write_bytes(bytes(1_500_000))
    assert part("caches")[0] == f"fnet: {tmp_path / 'fnet'}, 1 files, 1.5 MB"


def test_extras_are_those_of_the_installed_package(monkeypatch):
    needed = [
        "jax>=0.7",
        'nowhere[two]>=1; python_version < "9" and extra == "one"',
        'numpy>=1; extra == "two"',
        'pytest; extra == "test"',
        'fnet-jax[one,two]; extra == "dev"',
    ]
    monkeypatch.setattr(program.metadata, "requires", lambda name: needed)
    monkeypatch.setattr(program, "DISTRIBUTION", "numpy")
    assert part("extras") == ["one: nowhere missing", f"two: numpy {np.__version__}"]
    monkeypatch.setattr(program, "DISTRIBUTION", "nowhere-jax")
    assert part("extras") == ["unknown, nowhere-jax is not installed"]


@pytest.mark.parametrize("name", HEADS)
def test_a_part_that_fails_says_so_in_its_place(name, monkeypatch):
    def broken():
        yield "unseen"
        raise RuntimeError("no\n  such device")

    monkeypatch.setitem(program.PARTS, name, broken)
    assert part(name) == ["RuntimeError: no such device"]
    assert [line[:12].strip() for line in lines() if line[0] != " "] == HEADS
