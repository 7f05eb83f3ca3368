"""The arrows of the design: a module imports only what stands before it in this list."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "fnet"
ORDER = [
    "errors",
    "values",
    "dtypes",
    "activations",
    "initializers",
    "contract",
    "layers",
    "normalization",
    "windows",
    "convolution",
    "pooling",
    "embedding",
    "attention",
    "augmentation",
    "combinators",
    "stacks",
    "model",
    "summaries",
    "precision",
    "losses",
    "metrics",
    "checks",
    "series",
    "objective",
    "hyperparameters",
    "schedules",
    "optimizer",
    "optimizers",
    "matrices",
    "catalogue",
    "wrappers",
    "masking",
    "adapters",
    "data",
    "state",
    "files",
    "inference",
    "loops",
    "diagnosis",
    "running",
    "training",
    "many",
    "sweeps",
    "sample_weights",
    "callbacks",
    "progress",
    "sources",
    "fitting",
    "plots",
    "datasets",
    "__init__",
]


def imported(path: pathlib.Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names |= {node.module.split(".")[0]} if node.module else {a.name for a in node.names}
    return names


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_to_the_left(name):
    path = PACKAGE / name if (PACKAGE / name).is_dir() else PACKAGE / f"{name}.py"
    if path.is_dir():
        return  # a world of its own, which test_datasets_stands_alone looks at
    backwards = imported(path) - set(ORDER[: ORDER.index(name)])
    assert not backwards, f"{name}.py imports {backwards}, which stand after it"


def test_the_list_is_complete():
    assert set(ORDER) == {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()} - {
        "__pycache__"
    }


def test_datasets_stands_alone():
    for path in (PACKAGE / "datasets").glob("*.py"):
        assert not any(
            isinstance(node, ast.ImportFrom) and node.level > 1
            for node in ast.walk(ast.parse(path.read_text()))
        )


def test_losses_and_optimizers_know_nothing_of_layers():
    layers = set(ORDER[ORDER.index("contract") : ORDER.index("summaries")])
    for name in ("losses", "metrics", "schedules", "optimizer", "optimizers"):
        assert not imported(PACKAGE / f"{name}.py") & layers
    for name in ("matrices", "catalogue", "wrappers", "masking", "adapters"):
        assert not imported(PACKAGE / f"{name}.py") & layers


def test_import_brings_nothing_that_is_not_needed():
    code = "import fnet, sys; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"matplotlib", "tqdm", "safetensors", "orbax", "grain", "optax", "chex"}
