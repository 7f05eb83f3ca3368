"""The headline job over several devices."""

from functools import partial
from pathlib import Path

from bench import markdown
from bench.data import BATCH_SIZE
from bench.machine import accelerator
from bench.processes import Options, fresh, in_turns
from bench.results import Content, column, reasons

TITLE = "On many devices"
DEVICES = (1, 2, 4, 8)
STEPS, QUICK_STEPS = 100, 10


def measure(options: Options) -> Content:
    virtual = accelerator() is None
    there = DEVICES[-1] if virtual else fresh("on_devices:count", cpu=False)["devices"]
    steps = QUICK_STEPS if options.quick else STEPS
    jobs = {
        str(number): partial(
            fresh, "on_devices:run", cpu=virtual,
            devices=number, samples=steps * BATCH_SIZE, virtual=virtual,
        )
        for number in DEVICES
        if number <= there
    }  # fmt: skip
    results = in_turns(options.rounds, jobs)
    return {"virtual": virtual, "rounds": options.rounds, "steps": steps, "results": results}


def section(content: Content) -> str:
    rows = []
    for number, runs in content["results"].items():
        mesh, alone = (column(runs, name) for name in ("mesh", "alone"))
        shown = (markdown.spread([1e3 * t / content["steps"] for t in v], 2) for v in (mesh, alone))
        rows.append([number, *shown, markdown.ratio(mesh, alone)])
    kind = (
        "Virtual devices share the cores of one CPU, so the table shows what splitting a step "
        "costs, not what it gains."
        if content["virtual"]
        else "The devices are real."
    )
    words = (
        f"The headline job with `mesh=`, whose batches of {BATCH_SIZE} are split over so many "
        f"devices: an epoch of {content['steps']} steps of random bytes in one program, in turns "
        f"with the same without a mesh in one process. {kind} Processes: {content['rounds']}."
    )
    table = markdown.table(["devices", "mesh, ms a step", "one, ms a step", "mesh / one"], rows)
    return "\n\n".join([words, table, markdown.failures(reasons(content["results"]))])


def draw(content: Content, folder: Path) -> None:
    """Four numbers need no picture."""
