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
    "labels",
    "losses",
    "metrics",
    "checks",
    "series",
    "devices",
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
    "inference",
    "loops",
    "running",
    "diagnosis",
    "training",
    "many",
    "sweeps",
    "sample_weights",
    "hosts",
    "files.disk",
    "files.container",
    "files.trees",
    "files.exported",
    "files.weights",
    "files.runs",
    "files.checkpoints",
    "files.sums",
    "files.orbax",
    "files.places",
    "files.foreign",
    "files.hdf5",
    "files.keras",
    "files.orders",
    "files.torch",
    "callbacks",
    "progress",
    "sources",
    "iterables",
    "tables",
    "rows",
    "interruption",
    "journal",
    "fitting",
    "plots",
    "datasets",
    "__init__",
]


def path_of(name: str) -> pathlib.Path:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


def imported(path: pathlib.Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].relative_to(PACKAGE).parts
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            names |= {".".join((*folder, module)) for module in modules}
    return {"datasets" if name.startswith("datasets.") else name for name in names}


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_to_the_left(name):
    if name == "datasets":
        return  # a world of its own, which test_datasets_stands_alone looks at
    backwards = imported(path_of(name)) - set(ORDER[: ORDER.index(name)])
    assert not backwards, f"{name} imports {backwards}, which stand after it"


def test_the_list_is_complete():
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {"datasets"}
    assert set(ORDER) == modules | {
        f"files.{path.stem}" for path in PACKAGE.glob("files/*.py") if path.stem != "__init__"
    }


def test_datasets_stands_alone():
    for path in (PACKAGE / "datasets").glob("*.py"):
        assert not any(
            isinstance(node, ast.ImportFrom) and node.level > 1
            for node in ast.walk(ast.parse(path.read_text()))
        )


def test_losses_and_optimizers_know_nothing_of_layers():
    layers = set(ORDER[ORDER.index("contract") : ORDER.index("summaries")])
    for name in ("labels", "losses", "metrics", "schedules", "optimizer", "optimizers"):
        assert not imported(path_of(name)) & layers
    for name in ("matrices", "catalogue", "wrappers", "masking", "adapters"):
        assert not imported(path_of(name)) & layers


def test_import_brings_nothing_that_is_not_needed():
    code = "import fnet, sys; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"matplotlib", "tqdm", "safetensors", "orbax", "grain", "optax", "chex"}
