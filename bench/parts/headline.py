"""The headline job in every library, and how far it is from what the machine can multiply."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import pictures
from bench.data import DataFolder, laid_out
from bench.options import Options
from bench.parts.headline_figures import FIT, figures, floor, names
from bench.parts.headline_words import words
from bench.processes import fresh, in_turns
from bench.results import Content

TITLE = "The headline job"
LIBRARIES = ("numpy", "jax", "torch")

# Job and arguments; `whole` says whether fnet.datasets can find the data.
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    FIT: ("with_fnet:fit", {"whole": True}),
    "fnet train": ("with_fnet:train", {"whole": True}),
    "JAX by hand": ("with_jax:raw", {"donate": False}),
    "JAX by hand, donated": ("with_jax:raw", {"donate": True}),
    "stax": ("with_stax:run", {}),
    "flax + optax": ("with_flax:run", {}),
    "equinox + optax": ("with_equinox:run", {}),
    "Keras": ("with_keras:run", {"steps_per_execution": 1}),
    "Keras, 50 steps a call": ("with_keras:run", {"steps_per_execution": 50}),
    "torch": ("with_torch:eager", {}),
    "torch compiled": ("with_torch:compiled", {}),
    "NumPy by hand": ("with_numpy:run", {}),
}

# These take their first step inside a call of theirs, so a process of its own looks at it.
FIRST_STEPS = {
    "with_fnet:fit": "with_fnet:fit_first_step",
    "with_keras:run": "with_keras:first_step",
}


def measure(options: Options) -> Content:
    with laid_out() as laid:
        runs = in_turns(options.rounds, jobs(options, laid))
    parts: dict[str, Any] = {"contenders": {}, "first_steps": {}, "peaks": {}, "beside": {}}
    for name, results in runs.items():
        part, _, name = name.rpartition(": ")
        parts[part or "contenders"][name] = results
    settings = {"rounds": options.rounds, "epochs": options.epochs, "whole_mnist": laid.whole}
    return settings | parts


def jobs(options: Options, laid: DataFolder) -> dict[str, Callable[[], Content]]:
    """One round, in order."""
    todo: dict[str, Callable[[], Content]] = {}
    for name, (job, arguments) in CONTENDERS.items():
        if options.only and name not in options.only:
            continue
        given = told(arguments, laid)
        todo[name] = partial(fresh, job, epochs=options.epochs, **given)
        if job in FIRST_STEPS:
            todo[f"first_steps: {name}"] = partial(fresh, FIRST_STEPS[job], **given)
    given = told({"whole": True}, laid)
    todo["beside: fit and train"] = partial(fresh, "with_fnet:fit_beside_train", **given)
    for library in LIBRARIES:
        todo[f"peaks: {library}"] = partial(fresh, "peak:gemm", library=library)
    return todo


def told(arguments: dict[str, Any], laid: DataFolder) -> dict[str, Any]:
    known = {"whole": laid.whole} if "whole" in arguments else {}
    return arguments | known | {"folder": laid.folder}


def section(content: Content) -> str:
    return words(content)


def draw(content: Content, folder: Path) -> None:
    figure, axes = pictures.panels(2, width=5.6, height=4.2)
    shown = names(content)[::-1]
    labels = {"steady": "seconds an epoch, after the first", "total": "seconds of the whole job"}
    for panel, (key, label) in zip(axes, labels.items(), strict=True):
        for row, name in enumerate(shown):
            values = figures(content, name)[key]
            colour = pictures.BLUE if name.startswith("fnet") else pictures.GREY
            panel.plot([min(values), max(values)], [row, row], color=colour, linewidth=2)
            panel.plot(statistics.median(values), row, "o", color=colour)
        panel.set_xlabel(label)
        panel.set_xlim(left=0)
    axes[0].set_yticks(range(len(shown)), shown)
    axes[0].axvline(floor(content)[2], color=pictures.VERMILION, linestyle="--")
    axes[0].set_title("dashed: the matrix products alone, at the machine's peak", fontsize=9)
    pictures.save(figure, folder, "headline")
