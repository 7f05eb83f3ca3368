"""What the headline's JSON says: a list of values a round for each cell of the tables."""

from bench import headline_job
from bench.results import Content, column, good

FIT = "fnet fit"


def names(content: Content) -> list[str]:
    """The contenders that worked."""
    return [name for name, runs in content["contenders"].items() if good(runs)]


def figures(content: Content, name: str) -> dict[str, list[float]]:
    """The columns of a contender, a value a round; a column may be empty."""
    runs = good(content["contenders"][name])
    return {
        "first step": column(content["first_steps"].get(name, runs), "first_step"),
        "steady": [steady(run) for run in runs],
        "total": [run["epochs"][-1] for run in runs],
        "memory": column(runs, "peak_mib"),
        "accuracy": column(runs, "accuracy"),
    }


def steady(run: Content) -> float:
    """Seconds an epoch after the first; `train` says so itself, of its second call."""
    ends = run["epochs"]
    return run["steady"] if "steady" in run else (ends[-1] - ends[0]) / (len(ends) - 1)


def floor(content: Content) -> tuple[str, float, float]:
    """The library that multiplies fastest, its GFLOP/s, and the seconds an epoch that it allows."""
    best = {name: max(column(runs, "gflops"), default=0.0) for name, runs in peaks(content)}
    library = max(best, key=lambda name: best[name])
    flops = headline_job.flops() * headline_job.SAMPLES
    return library, best[library], flops / best[library] / 1e9


def peaks(content: Content) -> list[tuple[str, list[Content]]]:
    return [(name, runs) for name, runs in content["peaks"].items() if good(runs)]
