"""A small model: what surrounds a step."""

from pathlib import Path

from bench import markdown
from bench.processes import Options, fresh, in_turns
from bench.results import Content, column, reasons

TITLE = "A small model"
NAMES = {
    "train": "`train`: the epoch is one program",
    "train_step": "`train_step`, jitted, over batches that lie on the device",
    "raw": "JAX by hand, batches gathered by NumPy",
}


def measure(options: Options) -> Content:
    results = in_turns(options.rounds, {"small": lambda: fresh("small:run")})
    return {"rounds": options.rounds, "results": results}


def section(content: Content) -> str:
    runs = content["results"]["small"]
    train = column(runs, "train")
    rows = []
    for key, name in NAMES.items():
        values = column(runs, key)
        microseconds = [1e6 * t for t in values]
        rows.append([name, markdown.spread(microseconds, 0), markdown.ratio(values, train)])
    words = (
        "784-16-10 with batches of 32, where calling a step costs more than computing it. "
        "Microseconds a step over an epoch of 60,000 samples, up to seven times in turns in one "
        f"process. Processes: {content['rounds']}."
    )
    shown = markdown.table(["", "µs a step", "times `train`"], rows)
    return "\n\n".join([words, shown, markdown.failures(reasons(content["results"]))])


def draw(content: Content, folder: Path) -> None:
    """Three numbers need no picture."""
