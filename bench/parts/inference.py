"""Predicting and evaluating with a trained model."""

from functools import partial
from pathlib import Path
from typing import Any

from bench import markdown
from bench.data import laid_out
from bench.processes import Options, fresh, in_turns
from bench.results import Content, column, reasons

TITLE = "Predicting and evaluating"
FNET = "fnet"
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    FNET: ("with_fnet:inference", {}),
    "torch, batches of 500": ("with_torch:inference", {"batch_size": 500}),
    "torch, batches of 1,024": ("with_torch:inference", {"batch_size": 1024}),
    "Keras, batches as by default": ("with_keras:inference", {"batch_size": None}),
    "Keras, batches of 500": ("with_keras:inference", {"batch_size": 500}),
}


def measure(options: Options) -> Content:
    with laid_out() as laid:
        jobs = {
            name: partial(fresh, job, folder=laid.folder, **arguments)
            for name, (job, arguments) in CONTENDERS.items()
        }
        results = in_turns(options.rounds, jobs)
    return {"rounds": options.rounds, "results": results}


def section(content: Content) -> str:
    results = content["results"]
    rows = []
    for name, runs in results.items():
        cells = []
        for key in ("predict", "evaluate"):
            values, fnet = column(runs, key), column(results[FNET], key)
            milliseconds = [1e3 * t for t in values]
            cells += [markdown.spread(milliseconds, 0), markdown.ratio(values, fnet)]
        rows.append([name, *cells])
    words = (
        "The headline's model on 60,000 images, from bytes in the host's memory to probabilities "
        "in the host's memory (`predict`), and to loss and accuracy (`evaluate`); each scales the "
        "bytes itself. The median of up to seven calls after a first one. "
        f"fnet takes batches as it does by default. Processes of each: {content['rounds']}."
    )
    head = ["", "predict, ms", "times fnet", "evaluate, ms", "times fnet"]
    return "\n\n".join([words, markdown.table(head, rows), markdown.failures(reasons(results))])


def draw(content: Content, folder: Path) -> None:
    """A table says it."""
