"""Data larger than the memory: `fit` over images that stay on the disk."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from bench import markdown
from bench.processes import Options, fresh, in_turns
from bench.results import Content, column, good, reasons

TITLE = "Data larger than memory"
ROW = 28 * 28 + 4  # bytes of an image and its label
SMALL, QUICK = 1.0, 0.1  # gigabytes that are in memory too; of everything in a trial


def measure(options: Options) -> Content:
    free = shutil.disk_usage(options.out).free / 1e9
    sizes = {
        "beside": QUICK if options.quick else min(SMALL, options.gigabytes, free / 2),
        "alone": QUICK if options.quick else min(options.gigabytes, free / 2),
    }
    results: dict[str, list[Content]] = {}
    for job, gigabytes in sizes.items():
        with tempfile.TemporaryDirectory(dir=options.out) as folder:  # /tmp may be in memory
            laid = fresh("streaming:lay_out", folder=folder, samples=int(gigabytes * 1e9 / ROW))
            if "failed" in laid:
                raise RuntimeError(f"the images could not be laid out: {laid['failed']}")
            run = partial(fresh, f"streaming:{job}", folder=folder)
            results |= in_turns(options.rounds if job == "beside" else 1, {job: run})
        print(f"{job}, {gigabytes:g} GB: {results[job]}", flush=True)
    return {"rounds": options.rounds, "gigabytes": sizes, "results": results}


def section(content: Content) -> str:
    sizes, results = content["gigabytes"], content["results"]
    both = good(results["beside"])
    memory = column(both, "memory")
    rows = [
        [name, markdown.spread(values, 2), markdown.ratio(values, memory)]
        for name in ("memory", "memmap")
        if (values := column(both, name))
    ]
    same = "the same" if all(run["same"] for run in both) else "NOT the same"
    words = (
        f"An epoch of the headline's model by `fit`, over {sizes['beside']:g} GB of random images "
        f"in two files that are mapped by NumPy, in the shuffled order, beside the same bytes in "
        f"arrays on the device. The median of up to seven epochs, in turns in one process; the "
        f"system may keep the files in memory. The bits of the parameters are {same}. Processes: "
        f"{content['rounds']}."
    )
    parts = [words, markdown.table(["", "s an epoch", "times memory"], rows)]
    for run in good(results["alone"]):
        parts.append(
            f"An epoch over {sizes['alone']:g} GB from the disk took {run['seconds']:.1f} s in a "
            f"process of its own, which compiles, and held at most {run['own_mib']:.0f} MiB that "
            f"are its own, JAX included; {run['peak_mib']:.0f} MiB with the pages of the files, "
            f"which the system takes back at need."
        )
    return "\n\n".join([*parts, markdown.failures(reasons(results))])


def draw(content: Content, folder: Path) -> None:
    """Two rows need no picture."""
