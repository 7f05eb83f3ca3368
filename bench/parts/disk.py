"""What the disk costs: checkpoints beside the training, and data that stays on the disk."""

import shutil
import tempfile
from functools import partial

from bench.data import laid_out
from bench.processes import Options, fresh, in_turns
from bench.sections import Content, Part, column, failures, good, joined, ratio, spread, table

NEVER = "never"
EVERY = {NEVER: 0, "at the end of each epoch": None, "every 100 steps": 100, "every 10 steps": 10}

ROW = 28 * 28 + 4  # bytes of an image and its label
SMALL, QUICK = 1.0, 0.1  # gigabytes that are in memory too; of everything in a trial


def saving(options: Options) -> Content:
    with laid_out() as laid:
        job = partial(
            fresh, "jobs.disk:saving", folder=laid.folder, whole=laid.whole, every=EVERY,
            turns=3 if options.quick else 9,
        )  # fmt: skip
        results = in_turns(options.rounds, {"fit": job})
    return {"rounds": options.rounds, "results": results}


def saving_section(content: Content) -> str:
    results = content["results"]
    runs = good(results["fit"])
    if not runs:
        return failures(results)
    times = {name: [t for run in runs for t in run["seconds"][name]] for name in EVERY}
    rows = [[name, spread(times[name], 2), ratio(times[name], times[NEVER])] for name in EVERY]
    words = (
        "Seconds of an epoch of the headline job with `Checkpoints`, in turns in one process, and "
        "as multiples of a run that saves nothing. A checkpoint has "
        f"{runs[0]['megabytes']:.1f} MB, and a thread hashes, writes and syncs it."
    )
    head = ["saved", "seconds an epoch", "times never"]
    return joined(words, table(head, rows), failures(results))


def streaming(options: Options) -> Content:
    free = shutil.disk_usage(options.out).free / 1e9
    sizes = {
        "beside": QUICK if options.quick else min(SMALL, options.gigabytes, free / 2),
        "alone": QUICK if options.quick else min(options.gigabytes, free / 2),
    }
    results: dict[str, list[Content]] = {}
    for job, gigabytes in sizes.items():
        with tempfile.TemporaryDirectory(dir=options.out) as folder:  # /tmp may be in memory
            laid = fresh("jobs.disk:lay_out", folder=folder, samples=int(gigabytes * 1e9 / ROW))
            if "failed" in laid:
                raise RuntimeError(f"the images could not be laid out: {laid['failed']}")
            run = partial(fresh, f"jobs.disk:{job}", folder=folder)
            results |= in_turns(options.rounds if job == "beside" else 1, {job: run})
        print(f"{job}, {gigabytes:g} GB: {results[job]}", flush=True)
    return {"rounds": options.rounds, "gigabytes": sizes, "results": results}


def streaming_section(content: Content) -> str:
    sizes, results = content["gigabytes"], content["results"]
    both = good(results["beside"])
    memory = column(both, "memory")
    rows = [
        [name, spread(values, 2), ratio(values, memory)]
        for name in ("memory", "memmap")
        if (values := column(both, name))
    ]
    same = "the same" if all(run["same"] for run in both) else "NOT the same"
    words = (
        f"An epoch of the headline's model by `fit`, over {sizes['beside']:g} GB of random images "
        f"in two files that NumPy maps, in the shuffled order, beside the same bytes in arrays on "
        f"the device. The median of up to seven epochs, in turns in one process; the system may "
        f"keep the files in memory. The bits of the parameters are {same}. Processes: "
        f"{content['rounds']}."
    )
    alone = [
        f"An epoch over {sizes['alone']:g} GB from the disk took {run['seconds']:.1f} s in a "
        f"process of its own, compiling included. Its own memory was {run['own_mib']:.0f} MiB at "
        f"most, JAX included; {run['peak_mib']:.0f} MiB with the pages of the mapped files, which "
        f"the system reclaims when it needs them."
        for run in good(results["alone"])
    ]
    shown = table(["", "s an epoch", "times memory"], rows)
    return joined(words, shown, *alone, failures(results))


SAVING = Part("Saving beside the training", saving, saving_section)
STREAMING = Part("Data larger than memory", streaming, streaming_section)
