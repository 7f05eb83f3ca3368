"""Tables and numbers as the README shows them."""

import statistics
from collections.abc import Iterable, Sequence

MISSING = "–"


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


def failures(reasons: dict[str, str]) -> str:
    """A line for each contender that could not run."""
    return "\n".join(f"- {name} could not run: {reason}" for name, reason in reasons.items())
