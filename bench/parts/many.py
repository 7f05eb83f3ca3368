"""Several models trained at once."""

import itertools
from pathlib import Path

from bench import markdown, pictures
from bench.processes import Options, fresh
from bench.results import Content, column, good

TITLE = "Many models at once"
WIDTHS, MEMBERS = (16, 32, 128, 512), (1, 2, 4, 8, 16)
FORMS = {
    "vmap": (pictures.BLUE, "o-"),
    "map": (pictures.GREEN, "D-"),
}


def measure(options: Options) -> Content:
    points = []
    widths, members = (WIDTHS[:1], MEMBERS[:2]) if options.quick else (WIDTHS, MEMBERS)
    for width, number in itertools.product(widths, members):
        result = fresh("members:run", width=width, members=number)
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


def widths(content: Content) -> list[int]:
    return sorted({point["width"] for point in good(content["points"])})


def of(content: Content, width: int) -> list[Content]:
    return [point for point in good(content["points"]) if point["width"] == width]


def section(content: Content) -> str:
    rows = []
    for width in widths(content):
        points = of(content, width)
        relative = zip(*(costs(points, form) for form in FORMS), strict=True)
        for point, row in zip(points, relative, strict=True):
            alone = markdown.spread([1e3 * t for t in point["alone"]], 0)
            cells = [str(point["members"]), alone, *(f"{cost:.2f}" for cost in row)]
            rows.append([f"784-{width}-10", *cells])
    failed = [point["failed"] for point in content["points"] if "failed" in point]
    words = (
        "`train_many` in its two forms: *vmap*, a step of all members at once; *map*, one run "
        "after another in a loop. A cell is the time of an epoch of 100 steps of 128 samples over "
        "the number of members, as a multiple of the time of one model alone (`train`) in the "
        "same process, in turns: below 1, training together is cheaper than one by one."
    )
    parts = [words]
    if rows:
        head = ["model", "members", "one alone, ms", *FORMS]
        parts += [markdown.table(head, rows), "![Cost of a model](results/many.png)"]
    return "\n\n".join([*parts, *(f"- `train_many` could not run: {why}" for why in failed)])


def draw(content: Content, folder: Path) -> None:
    if not widths(content):
        return
    figure, axes = pictures.panels(len(widths(content)), width=3.2)
    for panel, width in zip(axes, widths(content), strict=True):
        points = of(content, width)
        members = [point["members"] for point in points]
        for form, (colour, style) in FORMS.items():
            panel.plot(members, costs(points, form), style, color=colour, label=form, markersize=4)
        panel.axhline(1, color=pictures.GREY, linestyle="--", linewidth=1)
        pictures.marked(panel, members)
        panel.set(xlabel="models at once", title=f"784-{width}-10")
    axes[0].set_ylim(bottom=0)  # of all, once all lines are there
    axes[0].set_ylabel("time a model / time of one alone")
    axes[0].legend(frameon=False)
    pictures.save(figure, folder, "many")
