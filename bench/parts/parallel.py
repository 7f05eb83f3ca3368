"""Several models at once, and several devices."""

import itertools
from functools import partial
from pathlib import Path

from bench import sections
from bench.data import BATCH_SIZE
from bench.machine import accelerator
from bench.processes import Options, fresh, in_turns
from bench.sections import Content, Part, column, failures, good, joined, ratio, spread, table

WIDTHS, MEMBERS = (16, 32, 128, 512), (1, 2, 4, 8, 16)
FORMS = {"vmap": (sections.BLUE, "o-"), "map": (sections.GREEN, "D-")}

NUMBERS = (1, 2, 4, 8)  # of devices
STEPS, QUICK_STEPS = 100, 10


def many(options: Options) -> Content:
    points = []
    widths, members = (WIDTHS[:1], MEMBERS[:2]) if options.quick else (WIDTHS, MEMBERS)
    for width, number in itertools.product(widths, members):
        result = fresh("jobs.parallel:members", width=width, members=number)
        print(f"width {width}, {number} members: {result}", flush=True)
        points.append({"width": width, "members": number} | result)
        if "failed" in result:
            break
    return {"points": points}


def costs(points: list[Content], form: str) -> list[float]:
    """Time a model, as a multiple of the time of one alone in the same process."""
    alone, together = column(points, "alone"), column(points, form)
    members = [point["members"] for point in points]
    return [t / n / one for t, n, one in zip(together, members, alone, strict=True)]


def by_width(content: Content) -> dict[int, list[Content]]:
    points = sorted(good(content["points"]), key=lambda point: point["width"])
    return {
        width: list(group)
        for width, group in itertools.groupby(points, key=lambda point: point["width"])
    }


def many_section(content: Content) -> str:
    rows = []
    for width, points in by_width(content).items():
        relative = zip(*(costs(points, form) for form in FORMS), strict=True)
        for point, row in zip(points, relative, strict=True):
            alone = spread([1e3 * t for t in point["alone"]], 0)
            cells = [str(point["members"]), alone, *(f"{cost:.2f}" for cost in row)]
            rows.append([f"784-{width}-10", *cells])
    words = (
        "`train_many` in its two forms: *vmap*, a step of all members at once; *map*, one run "
        "after another in a loop. A cell is the time of an epoch of 100 steps of 128 samples over "
        "the number of members, as a multiple of the time of one model alone (`train`) in the "
        "same process, in turns: below 1, training together is cheaper than one by one."
    )
    shown = joined(
        table(["model", "members", "one alone, ms", *FORMS], rows),
        "![Cost of a model](results/many.png)",
    )
    return joined(words, shown if rows else "", failures({"`train_many`": content["points"]}))


def many_draw(content: Content, folder: Path) -> None:
    widths = by_width(content)
    if not widths:
        return
    figure, axes = sections.panels(len(widths), width=3.2)
    for panel, (width, points) in zip(axes, widths.items(), strict=True):
        members = [point["members"] for point in points]
        for form, (colour, style) in FORMS.items():
            panel.plot(members, costs(points, form), style, color=colour, label=form, markersize=4)
        panel.axhline(1, color=sections.GREY, linestyle="--", linewidth=1)
        sections.marked(panel, members)
        panel.set(xlabel="models at once", title=f"784-{width}-10")
    axes[0].set_ylim(bottom=0)  # of all, once all lines are there
    axes[0].set_ylabel("time a model / time of one alone")
    axes[0].legend(frameon=False)
    sections.save(figure, folder, "many")


def devices(options: Options) -> Content:
    virtual = accelerator() is None
    there = NUMBERS[-1] if virtual else fresh("machine:devices", cpu=False)["count"]
    steps = QUICK_STEPS if options.quick else STEPS
    jobs = {
        str(number): partial(
            fresh, "jobs.parallel:mesh", cpu=virtual,
            devices=number, samples=steps * BATCH_SIZE, virtual=virtual,
        )
        for number in NUMBERS
        if number <= there
    }  # fmt: skip
    results = in_turns(options.rounds, jobs)
    return {"virtual": virtual, "rounds": options.rounds, "steps": steps, "results": results}


def devices_section(content: Content) -> str:
    rows = []
    for number, runs in content["results"].items():
        mesh, alone = (column(runs, name) for name in ("mesh", "alone"))
        shown = (spread([1e3 * t / content["steps"] for t in times], 2) for times in (mesh, alone))
        rows.append([number, *shown, ratio(mesh, alone)])
    kind = (
        "Virtual devices share the cores of one CPU, so the table shows what splitting a step "
        "costs, not what it gains."
        if content["virtual"]
        else "The devices are real."
    )
    words = (
        f"The headline job with `mesh=`, whose batches of {BATCH_SIZE} are split over the "
        f"devices: an epoch of {content['steps']} steps on random bytes in one program, in turns "
        f"with the same run without a mesh, in one process. {kind} Processes: {content['rounds']}."
    )
    head = ["devices", "mesh, ms a step", "one, ms a step", "mesh / one"]
    return joined(words, table(head, rows), failures(content["results"]))


MANY = Part("Many models at once", many, many_section, many_draw)
DEVICES = Part("On many devices", devices, devices_section)
