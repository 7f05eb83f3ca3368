"""One style for all pictures: Okabe and Ito's colours, named axes, nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, ORANGE = "#0072b2", "#d55e00", "#009e73", "#e69f00"
SKY, PURPLE, GREY = "#56b4e9", "#cc79a7", "0.45"
MARKERS = "osD^v"


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
