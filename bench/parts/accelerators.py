"""Programs compiled for devices that are not here: what a step is made of, and how that scales."""

import json
from collections.abc import Callable
from typing import Any

from bench.machine import package_version
from bench.processes import Options, fresh
from bench.sections import MISSING, Content, Part, joined, table

PACKAGES = ("jax", "libtpu", "jax-cuda13-plugin", "nvidia-cuda-nvcc")
TARGETS = {"h100": "H100", "v5e": "TPU v5e"}

SIZES = {
    "v5e": (1, "v5e"),
    "v5e:2x2": (4, "v5e"),
    "v5e:4x4": (16, "v5e"),
    "v5e:8x8": (64, "v5e"),
    "v5e:16x16": (256, "v5e"),
    "h100": (1, "h100"),
    "h100:8": (8, "h100"),
    "h100:16": (16, "h100"),
}
JOBS = {
    "headline": "The headline job, 128 samples a device",
    "transformer": "A causal transformer of 0.11 billion parameters, 8 sequences of 1,024 a device",
}


def measure(options: Options) -> Content | None:
    rows = {name: fresh("jobs.compiled:programs", name=name) for name in TARGETS}
    for name, result in rows.items():
        if "failed" in result:
            print(f"{name}: {result['failed']}", flush=True)
            return None
    kept = options.out / "results" / "accelerators.json"
    before = json.loads(kept.read_text())["before"] if kept.exists() else rows
    return {"versions": versions(), "before": before, "rows": rows}


def versions() -> dict[str, str | None]:
    return {package: package_version(package) for package in PACKAGES}


def section(content: Content) -> str:
    words = (
        "Programs compiled ahead of time for devices that are not here, by the compilers that run "
        "on them, and read: `make accelerators` fails if one stops compiling, waits for the host "
        "in a step, or has a tenth more kernels than here. Figures are of one step, for `evaluate` "
        "and `predict` of one batch. A loop that ends by a condition on the data counts one turn, "
        "and on a GPU the host waits for each of its turns. Cycles are the compiler's estimate, "
        "which leaves gathers out. Where two figures stand, the first one is from before steps "
        f"were written for accelerators. {told(content)}"
    )
    shown = [words]
    for name, title in TARGETS.items():
        columns = dict(COLUMNS)
        if name != "v5e":
            del columns["cycles"]
        rows = []
        for program, now in content["rows"][name].items():
            before = content["before"][name].get(program, now)
            cells = [change(before, now, cell) for cell in columns.values()]
            rows.append([program, *cells, f"{now['seconds']:.0f}"])
        shown += [f"**{title}**", table(["a step of", *columns, "compiling, CPU s"], rows)]
    return joined(*shown)


def told(content: Content) -> str:
    packages = (f"{package} {version}" for package, version in content["versions"].items())
    return f"Compiled with {', '.join(packages)}."


def change(before: Content, now: Content, cell: Callable[[Content], str]) -> str:
    old, new = cell(before), cell(now)
    return new if old == new else f"{old} → {new}"


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count < 1e8 else f"{count / 1e6:,.0f}"


def exchanged(row: Content) -> str:
    """The collectives of a step and the bytes of their arrays."""
    found = [f"{one['count']} {one['kind']} ({size(one['bytes'])})" for one in row["exchanges"]]
    return ", ".join(found) or MISSING


def size(count: int) -> str:
    """Bytes, in the unit that reads best."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


COLUMNS: dict[str, Callable[[Content], str]] = {
    "kernels": lambda row: f"{row['kernels']:,}",
    "cycles": lambda row: f"{row['cycles']:,}",
    "waits for the host": lambda row: str(row["host_waits"]),
    "loops of unknown length": lambda row: str(row["loops"]),
    "host transfers": lambda row: str(row["host_transfers"]),
    "exchanges": exchanged,
    "temporaries, MB": lambda row: megabytes(row["temporaries"]),
    "data, MB": lambda row: megabytes(row["data"]),
}


def measure_scale(options: Options) -> Content | None:
    points: list[dict[str, Any]] = []
    names = list(SIZES)[:2] if options.quick else list(SIZES)
    for job in JOBS:
        for name in names:
            result = fresh("jobs.compiled:scaled", name=name, program=job)
            print(f"{job}, {name}: {result}", flush=True)
            if "failed" in result:
                return None
            points.append({"job": job, "target": name} | result)
    return {"versions": versions(), "points": points}


def scale_section(content: Content) -> str:
    words = (
        "Compiled programs again, with a mesh of one axis over all devices and batches that grow "
        "with it: what a step of one device is made of. Exchanges are the collectives of a step "
        "and the bytes of the whole arrays; a device sends at least what the next column says, as "
        "in a ring. Memory is that of arguments, results and temporaries together. "
        f"{told(content)}"
    )
    shown = [words]
    head = ["devices", "kernels", "cycles", "exchanges", "sent, MB", "memory, GB"]
    for job, title in JOBS.items():
        rows = []
        for point in content["points"]:
            if point["job"] == job:
                count, kind = SIZES[point["target"]]
                cycles = point["cycles"]
                rows.append([
                    f"{TARGETS[kind]}, {count}",
                    f"{point['kernels']:,}",
                    MISSING if cycles is None else f"{cycles:,}",
                    exchanged(point),
                    megabytes(sum(one["sent"] for one in point["exchanges"])),
                    f"{point['peak'] / 1e9:.2f}",
                ])  # fmt: skip
        shown += [f"{title}:", table(head, rows) if rows else "Not measured yet."]
    return joined(*shown)


ACCELERATORS = Part("What a step is on an accelerator", measure, section)
SCALE = Part("What a step is on many accelerators", measure_scale, scale_section)
