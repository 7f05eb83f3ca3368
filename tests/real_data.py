"""Where the real data may lie: $FNET_DATA_DIR, or shared/data beside the repository."""

import os
from pathlib import Path

import pytest

from fnet.datasets.download import Dataset

# Read at once, because some tests hide the variable.
FOLDERS = (os.environ.get("FNET_DATA_DIR", ""), Path(__file__).parents[2] / "shared" / "data")


def folder_of(dataset: Dataset) -> Path:
    """The folder with all files of a dataset; without one, the test is skipped."""
    folders = [*(Path(folder, dataset.name) for folder in FOLDERS), *map(Path, dataset.folders)]
    for folder in folders:
        if all((folder / f"{file.name}.gz").is_file() for file in dataset.files):
            return folder
    pytest.skip(f"needs the files of {dataset.name} in $FNET_DATA_DIR/{dataset.name}")
