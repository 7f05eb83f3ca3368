"""How a step's time grows with the size of the job."""

from pathlib import Path
from typing import Any

from bench import data, sections
from bench.processes import Options, fresh
from bench.sections import Content, Part, column, good, joined, ratio, spread, table

INPUTS, WIDTH, CLASSES = data.SIZES
SAMPLES = 2**14  # four steps an epoch of the largest batch

AXES: dict[str, tuple[int, ...]] = {
    "batch": (32, 64, 128, 256, 512, 1024, 2048, 4096),
    "width": (16, 64, 256, 512, 1024, 2048, 4096),
    "depth": (1, 2, 4, 8, 16),
    "samples": (1_000, 10_000, 100_000, 1_000_000),
}
LABELS = {
    "batch": "samples a batch",
    "width": "width of the hidden layer",
    "depth": "hidden layers",
    "samples": "samples in the data",
}


def job(axis: str, value: int) -> dict[str, Any]:
    """The headline job with one number changed."""
    hidden = [value if axis == "width" else WIDTH] * (value if axis == "depth" else 1)
    return {
        "samples": value if axis == "samples" else SAMPLES,
        "batch_size": value if axis == "batch" else data.BATCH_SIZE,
        "sizes": [INPUTS, *hidden, CLASSES],
    }


def measure(options: Options) -> Content:
    points = []
    for axis, values in AXES.items():
        for value in values[:2] if options.quick else values:
            result = fresh("jobs.calls:step_of", **job(axis, value))
            print(f"{axis} {value}: {result}", flush=True)
            points.append({"axis": axis, "value": value} | result)
    peaks = [fresh("machine:gemm", library=library) for library in ("numpy", "jax", "torch")]
    return {"points": points, "gflops": max(column(peaks, "gflops"))}


def floor(content: Content, axis: str, value: int) -> float:
    """Seconds of a step's matrix products at the machine's peak."""
    size = job(axis, value)
    flops = data.flops(tuple(size["sizes"])) * size["batch_size"]
    return flops / content["gflops"] / 1e9


def on(content: Content, axis: str) -> list[Content]:
    return [point for point in content["points"] if point["axis"] == axis]


def section(content: Content) -> str:
    parts = [
        f"The headline job with one number changed at a time, on random bytes: {SAMPLES:,} "
        f"samples unless their number is what grows. Milliseconds a step of `train` (an epoch in "
        f"one program, compiled before) and of the loop by hand of the headline, in turns in one "
        f"process a row. The floor is a step's matrix products at {content['gflops']:.0f} GFLOP/s, "
        f"the best measured beside it; updating all parameters and reading the batch come on top. "
        f"The smaller last step of an epoch counts as one."
    ]
    for axis, label in LABELS.items():
        rows = []
        for point in on(content, axis):
            least = 1e3 * floor(content, axis, point["value"])
            if "failed" in point:
                rows.append([f"{point['value']:,}", point["failed"], "", f"{least:.3f}", ""])
                continue
            fnet, raw = ([1e3 * t for t in point[name]] for name in ("fnet", "raw"))
            cells = [f"{point['value']:,}", spread(fnet, 3), spread(raw, 3)]
            rows.append([*cells, f"{least:.3f}", ratio(raw, fnet)])
        head = [label, "`train`, ms", "by hand, ms", "floor, ms", "by hand / `train`"]
        parts += [
            table(head, rows),
            f"![A step against {label}](results/growth-{axis}.png)",
        ]
    return joined(*parts)


def draw(content: Content, folder: Path) -> None:
    for axis, label in LABELS.items():
        points = good(on(content, axis))
        values = [point["value"] for point in points]
        figure, (panel,) = sections.panels(1)
        lines = {
            "by hand": (column(points, "raw"), "s-", sections.VERMILION),
            "fnet.train": (column(points, "fnet"), "o-", sections.BLUE),
            "floor": ([floor(content, axis, value) for value in values], "--", sections.GREY),
        }
        for name, (seconds, style, colour) in lines.items():
            milliseconds = [1e3 * second for second in seconds]
            panel.plot(values, milliseconds, style, color=colour, label=name, markersize=4)
        panel.set_yscale("log")
        sections.plain(panel.yaxis)
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, high / 10), high)  # a flat line is to look flat
        sections.marked(panel, values)
        panel.set(xlabel=label, ylabel="ms a step")
        panel.legend(frameon=False)
        sections.save(figure, folder, f"growth-{axis}")


GROWTH = Part("How a step grows", measure, section, draw)
