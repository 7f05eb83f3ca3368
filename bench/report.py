"""README.md and its pictures, from the JSON files alone."""

from pathlib import Path
from types import ModuleType
from typing import Any

from bench import machine, results
from bench.parts import (
    accelerator,
    calls,
    devices,
    growth,
    headline,
    imports,
    inference,
    many,
    saving,
    small,
    streaming,
    update,
)

PARTS: dict[str, ModuleType] = {
    "headline": headline,
    "growth": growth,
    "small": small,
    "inference": inference,
    "calls": calls,
    "update": update,
    "import": imports,
    "many": many,
    "saving": saving,
    "streaming": streaming,
    "accelerator": accelerator,
    "devices": devices,
}

HEAD = """# Benchmarks

Written by `make bench` from the files in `results/`; a change by hand would be lost. One part is
measured anew by `make bench ARGS="headline"`, and this page and its pictures are drawn anew from
the same files by `make bench ARGS="report"`. The parts: {names}.

Every contender runs in a fresh process, without any cache of compiled programs, in turns with the
others (A B C A B C). A cell is the median of the rounds, with the smallest and the largest in
brackets. Compare figures within one table only: they come from one run on one machine, which has to
be idle otherwise.
"""


def write(out: Path) -> None:
    folder = out / "results"
    contents = {name: results.read(folder, name) for name in PARTS}
    sections = [HEAD.format(names=", ".join(PARTS)), machines(contents)]
    for name, part in PARTS.items():
        content = contents[name]
        sections.append(f"## {part.TITLE}\n")
        if content is None:
            sections.append("Not measured yet.\n")
            continue
        sections.append(part.section(content).strip() + "\n")
        part.draw(content, folder)
    (out / "README.md").write_text("\n".join(sections))


def machines(contents: dict[str, Any]) -> str:
    """The machine, once if all parts were measured on the same."""
    by_sentence: dict[str, list[str]] = {}
    for name, content in contents.items():
        if content is not None and not content.get("computed"):
            by_sentence.setdefault(machine.sentence(content["machine"]), []).append(name)
    return "\n".join(
        f"Measured on: {sentence}{'' if len(by_sentence) == 1 else f' ({names})'}.\n"
        for sentence, parts in by_sentence.items()
        if (names := ", ".join(parts))
    )
