"""Imports run one way: a folder imports only folders that stand before it in this list."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "fnet"
ORDER = (
    "core layers models losses optimizers data datasets distributed training files interop fitting "
    "planning plots tracking"
)
NO_FOLDERS = "__init__", "__main__", "py"
FOLDERS = {path.stem: path for path in PACKAGE.iterdir() if path.stem not in NO_FOLDERS}


def imported(path: pathlib.Path) -> set[str]:
    """The folders of the package that the files of a folder import, wherever in them."""
    names = set()
    for file in path.glob("*.py") if path.is_dir() else [path]:
        depth = len(file.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                modules = [node.module] if node.module else [alias.name for alias in node.names]
                names |= {module.split(".")[0] for module in modules}
    return names


@pytest.mark.parametrize("folder", ORDER.split())
def test_imports_point_to_the_left(folder):
    names = ORDER.split()
    backward = imported(FOLDERS[folder]) - set(names[: names.index(folder)])
    assert not backward, f"{folder} imports {backward}, which stand after it"


def test_every_folder_has_its_place():
    assert FOLDERS.keys() - {"__pycache__"} == set(ORDER.split())


def test_importing_fnet_imports_only_what_it_needs():
    code = "import fnet, sys; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    others = {
        "matplotlib",
        "tqdm",
        "safetensors",
        "orbax",
        "grain",
        "optax",
        "chex",
        "tensorboardX",
    }
    assert not loaded & (others | {"flax", "equinox", "haiku"})
