"""The JSON files: a part's settings and measurements, and the machine they were taken on."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import describe

Content = dict[str, Any]


def write(folder: Path, part: str, content: Content) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded({"part": part, "machine": describe()} | content), indent=1)
    (folder / f"{part}.json").write_text(text + "\n")


def rounded(value: Any) -> Any:
    """Floats to the six digits that may mean something."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read(folder: Path, part: str) -> Content | None:
    path = folder / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else None


def good(runs: Sequence[Content]) -> list[Content]:
    return [run for run in runs if "failed" not in run]


def column(runs: Sequence[Content], key: str) -> list[float]:
    """What the runs that worked say of `key`; a list is as good as its median."""
    values = [run.get(key) for run in good(runs)]
    return [
        statistics.median(value) if isinstance(value, list) else value
        for value in values
        if value is not None
    ]


def reasons(results: dict[str, list[Content]]) -> dict[str, str]:
    """Why contenders failed, by name."""
    return {
        name: run["failed"] for name, runs in results.items() for run in runs if "failed" in run
    }
