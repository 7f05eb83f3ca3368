"""What a public call costs over its compiled programs."""

import statistics
from pathlib import Path

from bench import markdown
from bench.processes import Options, fresh, in_turns
from bench.results import Content, column, good

TITLE = "A call of a compiled run"
DEPTHS = (2, 20)


def measure(options: Options) -> Content:
    jobs = {str(d): lambda d=d: fresh("calls:beside_programs", depth=d) for d in DEPTHS}
    return {"rounds": options.rounds, "runs": in_turns(options.rounds, jobs)}


def section(content: Content) -> str:
    rows = []
    for depth, runs in content["runs"].items():
        for name in ("fit", "train", "evaluate"):
            whole, programs = (column(good(runs), key) for key in (name, f"{name}, programs"))
            if whole and programs:
                over = 1e3 * (statistics.median(whole) - statistics.median(programs))
                times = [1e3 * statistics.median(times) for times in (whole, programs)]
                rows.append([f"{name}, {depth} layers", *(f"{ms:.2f}" for ms in (*times, over))])
    words = (
        "Milliseconds of a call for 256 samples in 2 batches that was compiled before, and of its "
        "compiled programs called by themselves, in turns in one process. The rest is checks, "
        "which are remembered for the task and the shapes, and Python."
    )
    return f"{words}\n\n{markdown.table(['', 'call', 'programs', 'over them'], rows)}"


def draw(content: Content, folder: Path) -> None:
    return None
