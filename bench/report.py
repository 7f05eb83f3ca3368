"""The JSON files of the parts, and README.md with its pictures, which they alone decide."""

import json
from pathlib import Path
from typing import Any

from bench.machine import describe, sentence
from bench.parts.accelerator import ACCELERATOR
from bench.parts.accelerators import ACCELERATORS, SCALE
from bench.parts.calls import CALLS, INFERENCE, SMALL, UPDATE
from bench.parts.disk import SAVING, STREAMING
from bench.parts.growth import GROWTH
from bench.parts.headline import HEADLINE
from bench.parts.imports import IMPORT
from bench.parts.parallel import DEVICES, MANY
from bench.parts.tasks import TASKS
from bench.sections import Content, Part

PARTS: dict[str, Part] = {
    "headline": HEADLINE,
    "growth": GROWTH,
    "small": SMALL,
    "inference": INFERENCE,
    "calls": CALLS,
    "update": UPDATE,
    "tasks": TASKS,
    "import": IMPORT,
    "many": MANY,
    "saving": SAVING,
    "streaming": STREAMING,
    "accelerator": ACCELERATOR,
    "devices": DEVICES,
    "accelerators": ACCELERATORS,
    "scale": SCALE,
}

HEAD = """# Benchmarks

`make bench` writes this page from the files in `results/`; do not edit it. `make bench
ARGS="headline"` measures one part anew, `make bench ARGS="report"` only draws the page and its
pictures. The parts: {names}.

Every contender runs in a fresh process, without cached programs, in turns with the others
(A B C A B C). A cell is the median of the rounds, with the smallest and the largest in brackets.
Compare figures within one table only: they come from one run on one machine that is idle otherwise.
[What was tried for speed](../docs/trials.md) is kept apart.
"""


def save(folder: Path, part: str, content: Content) -> None:
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


def write(out: Path) -> None:
    folder = out / "results"
    contents: dict[str, Content] = {
        name: json.loads(path.read_text())
        for name in PARTS
        if (path := folder / f"{name}.json").exists()
    }
    sections = [HEAD.format(names=", ".join(PARTS)), machines(contents)]
    for name, part in PARTS.items():
        content = contents.get(name)
        told = part.section(content) if content else "Not measured yet."
        sections.append(f"## {part.title}\n\n{told.strip()}\n")
        if content:
            part.draw(content, folder)
    (out / "README.md").write_text("\n".join(sections))


def machines(contents: dict[str, Content]) -> str:
    """The machine, once if all parts were measured on the same."""
    parts: dict[str, list[str]] = {}
    for name, content in contents.items():
        parts.setdefault(sentence(content["machine"]), []).append(name)
    return "\n".join(
        f"Measured on: {machine}{'' if len(parts) == 1 else f' ({names})'}.\n"
        for machine, measured in parts.items()
        if (names := ", ".join(measured))
    )
