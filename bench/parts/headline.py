"""The headline job in every library, and how far it is from what the machine can multiply."""

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import data, sections
from bench.data import DataFolder, laid_out
from bench.processes import Options, fresh, in_turns
from bench.sections import Content, Part, column, failures, good, joined, ratio, spread, table

FIT = "fnet fit"
LIBRARIES = ("numpy", "jax", "torch")

# Job and arguments; `whole` says whether fnet.datasets can find the data.
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    FIT: ("with_fnet:fit", {"whole": True}),
    "fnet train": ("with_fnet:train", {"whole": True}),
    "JAX by hand": ("with_jax:raw", {"donate": False}),
    "JAX by hand, donated": ("with_jax:raw", {"donate": True}),
    "stax": ("with_jax:stax", {}),
    "flax + optax": ("with_jax:flax", {}),
    "equinox + optax": ("with_jax:equinox", {}),
    "Keras": ("with_keras:run", {"steps_per_execution": 1}),
    "Keras, 50 steps a call": ("with_keras:run", {"steps_per_execution": 50}),
    "torch": ("with_torch:eager", {}),
    "torch compiled": ("with_torch:compiled", {}),
    "NumPy by hand": ("with_numpy:run", {}),
}

# These run with kept programs too; torch and NumPy have nothing that JAX could keep.
WARM = [name for name, (job, _) in CONTENDERS.items() if not job.startswith(("with_t", "with_n"))]

# These take their first step inside a call of theirs, so a process of its own looks at it.
FIRST_STEPS = {
    "with_fnet:fit": "with_fnet:fit_first_step",
    "with_keras:run": "with_keras:first_step",
}


PARTS = ("contenders", "first_steps", "warm", "warm first_steps", "beside", "peaks")


def measure(options: Options) -> Content:
    with laid_out() as laid, tempfile.TemporaryDirectory() as kept:
        todo = jobs(options, laid, kept)
        in_turns(1, {name: job for name, job in todo.items() if name.startswith("warm")})
        runs = in_turns(options.rounds, todo)
    parts: dict[str, Any] = {part: {} for part in PARTS}
    for name, results in runs.items():
        part, _, name = name.rpartition(": ")
        parts[part or "contenders"][name] = results
    settings = {"rounds": options.rounds, "epochs": options.epochs, "whole_mnist": laid.whole}
    return settings | parts


def jobs(options: Options, laid: DataFolder, kept: str) -> dict[str, Callable[[], Content]]:
    """One round, in order; each contender has a folder in `kept` for its programs."""
    todo: dict[str, Callable[[], Content]] = {}
    for name, (job, arguments) in CONTENDERS.items():
        if options.only and name not in options.only:
            continue
        given = told(arguments, laid)
        warm = {"programs": str(Path(kept, name))}
        for prefix, programs in ("", {}), ("warm", warm):
            if programs and name not in WARM:
                continue
            given |= programs
            part = f"{prefix}: " if prefix else ""
            todo[part + name] = partial(fresh, f"jobs.{job}", epochs=options.epochs, **given)
            if job in FIRST_STEPS:
                part = f"{prefix} first_steps: ".lstrip()
                todo[part + name] = partial(fresh, f"jobs.{FIRST_STEPS[job]}", **given)
    given = told({"whole": True}, laid)
    todo["beside: fit and train"] = partial(fresh, "jobs.with_fnet:fit_beside_train", **given)
    for library in LIBRARIES:
        todo[f"peaks: {library}"] = partial(fresh, "machine:gemm", library=library)
    return todo


def told(arguments: dict[str, Any], laid: DataFolder) -> dict[str, Any]:
    known = {"whole": laid.whole} if "whole" in arguments else {}
    return arguments | known | {"folder": laid.folder}


def section(content: Content) -> str:
    parts = [notes(content), figures_table(content), failed(content)]
    if FIT in names(content):
        parts += [ratio_table(content), progress(content), to_the_floor(content)]
    parts.append("![Seconds an epoch and of the whole job](results/headline.png)")
    return joined(*parts)


def draw(content: Content, folder: Path) -> None:
    figure, axes = sections.panels(2, width=5.6, height=4.2)
    shown = names(content)[::-1]
    labels = {"steady": "seconds an epoch, after the first", "total": "seconds of the whole job"}
    for panel, (key, label) in zip(axes, labels.items(), strict=True):
        for row, name in enumerate(shown):
            values = figures(content, name)[key]
            colour = sections.BLUE if name.startswith("fnet") else sections.GREY
            panel.plot([min(values), max(values)], [row, row], color=colour, linewidth=2)
            panel.plot(statistics.median(values), row, "o", color=colour)
        panel.set_xlabel(label)
        panel.set_xlim(left=0)
    axes[0].set_yticks(range(len(shown)), shown)
    axes[0].axvline(floor(content)[2], color=sections.VERMILION, linestyle="--")
    axes[0].set_title("dashed: the matrix products alone, at the machine's peak", fontsize=9)
    sections.save(figure, folder, "headline")


COLUMNS = {  # key: head and digits
    "first step": ("first step, s", 1),
    "steady": ("s an epoch", 2),
    "total": ("whole job, s", 1),
    "warm first step": ("first step, warm, s", 2),
    "warm total": ("whole job, warm, s", 1),
    "memory": ("peak memory, MiB", 0),
    "accuracy": ("test accuracy", 4),
}


def failed(content: Content) -> str:
    return "\n".join(lines for part in PARTS if (lines := failures(content.get(part, {}))))


NOTES = """784-512-10, relu and softmax, RMSProp with learning rate 0.001, rho 0.9 and epsilon
1e-7, batches of 128 in a new order each epoch and the smaller last one too, {epochs} epochs of
60,000 images of {data}; {rounds} rounds.

- Seconds count from the moment before the process starts: Python's start, all imports, reading the
  data, and compiling are in them.
- *Warm*: the same with JAX's cache of compiled programs, filled by a run before the first round.
- *First step*: when the parameters after the first step are ready. `fit` and Keras take it inside a
  call, so another process measures it: Keras is left by an exception in a callback after the first
  batch, `fit` gets a Ctrl-C while it traces its first call. `train` is one program, without a first
  step to be seen.
- *Seconds an epoch*: from the end of the first epoch to the end of the last; of `train` a second
  call.
- *Whole job*: until the last epoch ends. *Memory*: the largest resident set until then.
- *Test accuracy* is taken afterwards and shows that all do the same work.
- fnet reads MNIST through `fnet.datasets`, with its checksums, and unpacked: it was read on this
  machine before, and the copy in the user's cache is there. The others unzip it with a few lines
  of NumPy, to float32 images. The Python loops of JAX by hand, stax, flax, equinox and NumPy gather
  their batches on the host and donate their buffers. PyTorch has its data as tensors, all cores,
  and denormals flushed. Its RMSProp has epsilon outside of the root, the others inside."""


def notes(content: Content) -> str:
    source = "MNIST" if content["whole_mnist"] else "the digits that come with fnet, repeated"
    return NOTES.format(epochs=content["epochs"], rounds=content["rounds"], data=source)


def figures_table(content: Content) -> str:
    rows = []
    for name in names(content):
        values = figures(content, name)
        cells = [spread(values[key], digits) for key, (_, digits) in COLUMNS.items()]
        rows.append([name, *cells])
    return table(["", *(head for head, _ in COLUMNS.values())], rows)


def ratio_table(content: Content) -> str:
    keys = [key for key in COLUMNS if key != "accuracy"]
    fit = figures(content, FIT)
    rows = []
    for name in names(content):
        values = figures(content, name)
        rows.append([name, *(ratio(values[key], fit[key]) for key in keys)])
    head = ["", *(COLUMNS[key][0].removesuffix(", s") for key in keys)]
    return f"The same as multiples of `fit`'s medians:\n\n{table(head, rows)}"


def progress(content: Content) -> str:
    runs = content["beside"]["fit and train"]
    fit, train = column(runs, "fit"), column(runs, "train")
    if not fit:
        return ""
    ratios = [one / other for one, other in zip(fit, train, strict=True)]
    apart = ""
    if "fnet train" in names(content):
        medians = (figures(content, name)["steady"] for name in (FIT, "fnet train"))
        apart = f" Between the processes of the table it is {ratio(*medians)}."
    return (
        f"`fit` with its progress line takes {spread(ratios, 3)} times as long an epoch "
        f"as `train`, both called in turns in one process, the median of its turns a round; its "
        f"first epoch, in which its calls grow, is left out.{apart}"
    )


def to_the_floor(content: Content) -> str:
    library, rate, seconds = floor(content)
    flops = data.flops() * data.SAMPLES / 1e9
    steady = statistics.median(figures(content, FIT)["steady"])
    return (
        f"The floor: an epoch's matrix products (forward, the gradients of both kernels, and the "
        f"gradient of the hidden layer) are {flops:.1f} GFLOP. The best float32 product of large "
        f"matrices in these rounds, of NumPy, JAX and PyTorch, was {library}'s with {rate:.0f} "
        f"GFLOP/s, at which they would take {seconds:.2f} s. `fit` takes {steady:.2f} s, so it "
        f"computes at {seconds / steady:.0%} of the peak."
    )


def names(content: Content) -> list[str]:
    """The contenders that worked."""
    return [name for name, runs in content["contenders"].items() if good(runs)]


def figures(content: Content, name: str) -> dict[str, list[float]]:
    """The columns of a contender, a value a round; a column may be empty."""
    runs = good(content["contenders"][name])
    warm = good(content.get("warm", {}).get(name, []))
    warm_steps = content.get("warm first_steps", {})
    return {
        "first step": column(content["first_steps"].get(name, runs), "first_step"),
        "steady": [steady(run) for run in runs],
        "total": [run["epochs"][-1] for run in runs],
        "warm first step": column(warm_steps.get(name, warm), "first_step"),
        "warm total": [run["epochs"][-1] for run in warm],
        "memory": column(runs, "peak_mib"),
        "accuracy": column(runs, "accuracy"),
    }


def steady(run: Content) -> float:
    """Seconds an epoch after the first; `train` says so itself, of its second call."""
    ends = run["epochs"]
    return run["steady"] if "steady" in run else (ends[-1] - ends[0]) / (len(ends) - 1)


def floor(content: Content) -> tuple[str, float, float]:
    """The library that multiplies fastest, its GFLOP/s, and the seconds an epoch that it allows."""
    best = {name: max(column(runs, "gflops"), default=0.0) for name, runs in peaks(content)}
    library = max(best, key=lambda name: best[name])
    flops = data.flops() * data.SAMPLES
    return library, best[library], flops / best[library] / 1e9


def peaks(content: Content) -> list[tuple[str, list[Content]]]:
    return [(name, runs) for name, runs in content["peaks"].items() if good(runs)]


HEADLINE = Part("The headline job", measure, section, draw)
