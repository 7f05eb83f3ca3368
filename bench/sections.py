"""What a part is, and what its section is made of: runs that worked, tables, pictures."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.processes import Options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Content = dict[str, Any]  # a part's settings and measurements, as JSON holds them

MISSING = "–"
BLUE, VERMILION, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "0.45"  # of Okabe and Ito


@dataclass(frozen=True)
class Part:
    """A part of the benchmarks: how it is measured, told and, where a picture helps, drawn.

    `measure` returns None where it cannot be measured; what was measured elsewhere is kept then.
    """

    title: str
    measure: Callable[[Options], Content | None]
    section: Callable[[Content], str]
    draw: Callable[[Content, Path], None] = lambda content, folder: None


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


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column names things, the others hold numbers."""
    marks = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *rows))


def spread(values: Sequence[float], digits: int) -> str:
    """The median, with the smallest and the largest where there are several."""
    if not values:
        return MISSING
    median = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(values: Sequence[float], others: Sequence[float]) -> str:
    """How many times the others' median these take."""
    if not values or not others:
        return MISSING
    return f"{statistics.median(values) / statistics.median(others):.2f}"


def failures(results: dict[str, list[Content]]) -> str:
    """A line for each contender that could not run."""
    return "\n".join(
        f"- {name} could not run: {run['failed']}"
        for name, runs in results.items()
        for run in runs
        if "failed" in run
    )


def joined(*paragraphs: str) -> str:
    return "\n\n".join(filter(None, paragraphs))


def panels(count: int, width: float = 4.8, height: float = 3.4) -> "tuple[Figure, list[Any]]":
    """Panels side by side with one vertical axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False, sharey=True)[0])
    for panel in axes:
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plain(axis: Any) -> None:
    """Plain numbers on a logarithmic axis."""
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def marked(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic horizontal axis that is marked at the values measured."""
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.xaxis.minorticks_off()


def save(figure: "Figure", folder: Path, name: str) -> None:
    # Without the version that wrote it, so that the same figures give the same file.
    figure.savefig(folder / f"{name}.png", dpi=120, metadata={"Software": None})
