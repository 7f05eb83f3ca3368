"""The headline job on an accelerator, where JAX finds one; about five minutes."""

from functools import partial
from pathlib import Path
from typing import Any

from bench import data, sections
from bench.data import laid_out
from bench.machine import accelerator
from bench.processes import Options, fresh, in_turns
from bench.sections import Content, Part, column, failures, good, joined, ratio, spread, table

TRAIN = "fnet `train`, one program"
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    TRAIN: ("parallel:train", {}),
    "by hand, one program of two `lax.scan`": ("parallel:scanned", {}),
    "fnet `train_step` in a loop": ("parallel:steps", {}),
    "flax + optax in a loop": ("parallel:flax", {}),
    "torch": ("with_torch:device_eager", {}),
    "torch, its step a CUDA graph": ("with_torch:device_graphs", {}),
}
ROUNDS = 1  # a process takes the median of seven runs; the device may be lent for minutes
MEMBERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def measure(options: Options) -> Content:
    device = accelerator()
    if device is None and not options.anywhere:
        return {"device": None}
    with laid_out() as laid:
        on = partial(fresh, cpu=False)
        jobs = {
            name: partial(on, f"jobs.{job}", folder=laid.folder, epochs=options.epochs, **arguments)
            for name, (job, arguments) in CONTENDERS.items()
        }
        results = in_turns(ROUNDS, jobs)
    samples = data.SAMPLES // (30 if options.quick else 1)
    members = MEMBERS[:2] if options.quick else MEMBERS
    ensembles = []
    for number in members:
        result = on("jobs.parallel:ensemble", members=number, samples=samples)
        print(f"{number} members: {result}", flush=True)
        ensembles.append({"members": number} | result)
    return {
        "device": device or "the CPU, for a trial",
        "epochs": options.epochs,
        "samples": samples,
        "kernels": on("jobs.parallel:kernels", epochs=options.epochs),
        "results": results,
        "ensembles": ensembles,
    }


def section(content: Content) -> str:
    if content["device"] is None:
        return "No accelerator was available."
    results = content["results"]
    fnet = column(results[TRAIN], "seconds")
    rows = []
    for name, runs in results.items():
        values = column(runs, "seconds")
        cells = [spread([1e3 * t for t in values], 0), ratio(values, fnet)]
        rows.append([name, *cells, spread(column(runs, "accuracy"), 4)])
    words = (
        f"{content['device']}: {content['epochs']} epochs of the headline job with all data on the "
        f"device as bytes, and everything compiled. Loops in Python send the row numbers of a "
        f"batch, and the step gathers the rows. Matrix products have JAX's default precision, and "
        f"PyTorch is set to the same (TF32 where available). The median of up to seven runs "
        f"after a first one. The accuracy is taken after the last of these runs; the loops train "
        f"on from run to run."
    )
    head = ["", f"ms of {content['epochs']} epochs", "times `train`", "test accuracy"]
    shown = table(head, rows)
    return joined(words, shown, failures(results), kernels_told(content), *ensembles_told(content))


def kernels_told(content: Content) -> str:
    """Beside what was counted for such devices without one, in the part "accelerators"."""
    found = content["kernels"]
    if "failed" in found:
        return f"What a step is made of could not be read: {found['failed']}"
    train, hand = found["train"], found["by hand"]
    return (
        f"A step of `train` has {train['kernels']} kernels here and waits {train['host_waits']} "
        f"times for the host, one by hand {hand['kernels']} and {hand['host_waits']}."
    )


def ensembles_told(content: Content) -> list[str]:
    points = good(content["ensembles"])
    seconds = column(points, "seconds")
    rows = [
        [str(point["members"]), f"{1e3 * t:.0f}", f"{1e3 * t / point['members']:.2f}"]
        for point, t in zip(points, seconds, strict=True)
    ]
    words = f"Many such models under `jax.vmap`, an epoch of {content['samples']:,} samples each:"
    shown = table(["models", "ms an epoch of all", "ms a model"], rows)
    return [words, shown, "![Milliseconds a model](results/accelerator.png)"]


def draw(content: Content, folder: Path) -> None:
    if content["device"] is None:
        return
    points = good(content["ensembles"])
    members = [point["members"] for point in points]
    seconds = column(points, "seconds")
    figure, (panel,) = sections.panels(1)
    each = [1e3 * t / n for t, n in zip(seconds, members, strict=True)]
    panel.plot(members, each, "o-", color=sections.BLUE, markersize=4)
    panel.set_yscale("log")
    sections.plain(panel.yaxis)
    sections.marked(panel, members)
    panel.set(xlabel="models at once", ylabel="ms of an epoch, a model")
    sections.save(figure, folder, "accelerator")


ACCELERATOR = Part("On an accelerator", measure, section, draw)
