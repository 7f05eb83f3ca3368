"""The optimizer's update alone."""

from functools import partial
from pathlib import Path

from bench import markdown
from bench.processes import Options, fresh, in_turns
from bench.results import Content, column, reasons

TITLE = "The optimizer's update"
LEAVES = (1, 100, 1000)
RULES = ("rmsprop", "adam")


def measure(options: Options) -> Content:
    leaves = LEAVES[:2] if options.quick else LEAVES
    jobs = {str(number): partial(fresh, "updating:run", leaves=number) for number in leaves}
    return {"rounds": options.rounds, "results": in_turns(options.rounds, jobs)}


def section(content: Content) -> str:
    rows = []
    for leaves, runs in content["results"].items():
        for rule in RULES:
            fnet, optax = (column(runs, f"{library} {rule}") for library in ("fnet", "optax"))
            cells = [markdown.spread([1e6 * t for t in values], 0) for values in (fnet, optax)]
            rows.append([f"{int(leaves):,} × {rule}", *cells, markdown.ratio(optax, fnet)])
    words = (
        "One million float32 parameters in so many arrays: new parameters and state from "
        "gradients, jitted, parameters and state donated. Microseconds an update, all four in "
        f"turns in one process. Processes: {content['rounds']}."
    )
    shown = markdown.table(["arrays × rule", "fnet, µs", "optax, µs", "optax / fnet"], rows)
    return "\n\n".join([words, shown, markdown.failures(reasons(content["results"]))])


def draw(content: Content, folder: Path) -> None:
    """A table says it."""
