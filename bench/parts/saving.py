"""What checkpoints cost the run beside which they are written."""

from functools import partial
from pathlib import Path

from bench import markdown
from bench.data import laid_out
from bench.processes import Options, fresh, in_turns
from bench.results import Content, good, reasons

TITLE = "Saving beside the training"
NEVER = "never"
EVERY = {NEVER: 0, "at the end of each epoch": None, "every 100 steps": 100, "every 10 steps": 10}


def measure(options: Options) -> Content:
    with laid_out() as laid:
        job = partial(
            fresh, "with_fnet:saving", folder=laid.folder, whole=laid.whole, every=EVERY,
            turns=3 if options.quick else 9,
        )  # fmt: skip
        results = in_turns(options.rounds, {"fit": job})
    return {"rounds": options.rounds, "results": results}


def section(content: Content) -> str:
    runs = good(content["results"]["fit"])
    times = {name: [t for run in runs for t in run["seconds"][name]] for name in EVERY}
    rows = [
        [name, markdown.spread(times[name], 2), markdown.ratio(times[name], times[NEVER])]
        for name in EVERY
    ]
    words = (
        "Seconds of an epoch of the headline job with `Checkpoints`, in turns in one process, and "
        "how many times those of a run that saves nothing. A checkpoint holds "
        f"{runs[0]['megabytes']:.1f} MB, and is hashed, written, and synced in a thread."
        if runs
        else ""
    )
    head = ["saved", "seconds an epoch", "times never"]
    parts = [words, markdown.table(head, rows), markdown.failures(reasons(content["results"]))]
    return "\n\n".join(parts)


def draw(content: Content, folder: Path) -> None:
    """A table says it."""
