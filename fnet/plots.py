"""Pictures of runs: a history, a sweep, and what a model says of single images."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .core.notebook import notebook
from .training.grid import Grid

if TYPE_CHECKING:  # matplotlib takes seconds to import, so only a call does
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people who cannot tell red from green tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
TRAINING, VALIDATION = COLORS[:2]
STYLES = ("o-", "s--", "^-.", "D:")


def plot_history(history: Mapping[str, Any]) -> "Figure":
    """Training and validation curves, one panel for the loss and one for each metric.

    What was recorded of single steps has a panel each after them.

    Args:
        history: what `train` or `fit` returned: names to values of shape `(epochs,)`.

    Returns:
        A matplotlib Figure; `figure.savefig("history.png")` writes it.

    Raises:
        ValueError: a history without a finished epoch.

    Example:
        >>> import fnet
        >>> figure = fnet.plot_history({"loss": [0.5, 0.2], "val_loss": [0.4, 0.3]})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss']
    """
    from matplotlib.ticker import MaxNLocator

    names = [name for name in history if not name.startswith("val_") and name != "record"]
    if not names or len(history[names[0]]) == 0:
        raise ValueError(
            "`history` must hold at least one epoch, got none. Pass what fnet.fit returned."
        )
    record = dict(history.get("record", {}))
    steps = record.pop("step", ())
    count = len(names) + len(record)
    figure = new_figure(figsize=(4.8 * count, 3.4), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for axes, (name, series) in zip(panels[len(names) :], record.items(), strict=True):
        axes.plot(steps, series, color=TRAINING, linewidth=0.8)
        tidy(axes, "step", f"{name} of a step")
    for axes, name in zip(panels, names, strict=False):
        plot_curve(axes, history[name], "training", TRAINING, "o-")
        if f"val_{name}" in history:
            plot_curve(axes, history[f"val_{name}"], "validation", VALIDATION, "s--")
        tidy(axes, "epoch", name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(frameon=False)
    return figure


def new_figure(**options: Any) -> "Figure":
    """A figure that a notebook shows, though it is none of pyplot's, which would keep it."""
    from matplotlib.figure import Figure

    if shell := notebook():
        as_png = shell.display_formatter.formatters["image/png"]
        if Figure not in as_png:
            as_png.for_type(Figure, png)
    return Figure(**options)


def png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def tidy(axes: "Axes", x: str, y: str) -> None:
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def plot_curve(axes: "Axes", values: Any, label: str, color: str, style: str) -> None:
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, np.asarray(values), style, color=color, label=label, markersize=4)


def plot_grid(grid: Grid, history: Mapping[str, Any], name: str = "val_loss") -> "Figure":
    """What a sweep came to in its last epoch, over the first hyperparameter of its grid.

    Each combination of the others is a line of means over the seeds; its band is the standard
    deviation.

    Args:
        grid: the grid of the members, with an axis beside the seed.
        history: what `train_many` returned for them.
        name: which entry of the history.

    Returns:
        A matplotlib Figure.

    Raises:
        ValueError: a name that is not in the history, or a grid of seeds alone.

    Example:
        >>> import fnet
        >>> grid = fnet.grid(learning_rate=[1e-3, 1e-2], seed=[0, 1])
        >>> figure = fnet.plot_grid(grid, {"loss": [[0.5], [0.4], [0.2], [0.1]]}, "loss")
        >>> figure.axes[0].get_xlabel()
        'learning rate'
    """
    if name not in history:
        known = ", ".join(repr(known) for known in history if known != "record")
        raise ValueError(f"`name` must be one of {known}, got {name!r}. Pass one of these.")
    first = next((axis for axis in grid.axes if axis != "seed"), None)
    if first is None:
        raise ValueError(
            "`grid` must have an axis beside the seed to draw over, got seeds alone. "
            "Print grid.table(history) instead."
        )
    rows, means, spreads = grid.over_seeds(np.asarray(history[name])[:, -1])
    lines: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        others = [f"{label} {value:g}" for label, value in row.items() if label != first]
        lines.setdefault(", ".join(others).replace("_", " "), []).append(i)
    figure = new_figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, (label, of_line) in enumerate(lines.items()):
        color, style = COLORS[number % len(COLORS)], STYLES[number % len(STYLES)]
        x = np.array([rows[i][first] for i in of_line])
        mean, spread = means[of_line], np.nan_to_num(spreads[of_line])
        axes.plot(x, mean, style, color=color, label=label, markersize=4)
        axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
    values = grid.axes[first]
    if values.min() > 0 and values.max() >= 10 * values.min():
        axes.set_xscale("log")
    tidy(axes, first, name)
    if len(lines) > 1:
        axes.legend(frameon=False)
    return figure


def plot_predictions(
    images: Any, labels: Any, probabilities: Any, class_names: Sequence[str] | None = None
) -> "Figure":
    """Images with what the model says of them: prediction, probability, and the label.

    Args:
        images: `(n, height, width)` in grey, or `(n, height, width, 3)` in colour.
        labels: `(n,)` integers.
        probabilities: `(n, classes)`, as `predict` gives them for a model that ends in softmax.
        class_names: what to call the classes; their numbers unless given.

    Returns:
        A matplotlib Figure with a panel an image; a wrong one is crossed and framed.

    Raises:
        ValueError: lengths that differ, or no image.

    Example:
        >>> import numpy as np, fnet
        >>> (_, _), (images, labels) = fnet.datasets.mnist_5k()
        >>> figure = fnet.plot_predictions(images[:2], labels[:2], np.eye(10)[[labels[0], 0]])
        >>> len(figure.axes)
        2
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    images, labels, probabilities = map(np.asarray, (images, labels, probabilities))
    if not 0 < len(images) == len(labels) == len(probabilities):
        raise ValueError(
            f"`images`, `labels` and `probabilities` must have one length, at least 1, got "
            f"{len(images)}, {len(labels)} and {len(probabilities)}. Cut all three alike."
        )
    names = class_names or [str(number) for number in range(probabilities.shape[-1])]
    columns = min(len(images), 5)
    rows = -(-len(images) // columns)
    layout = ConstrainedLayoutEngine(hspace=0.1)  # so that words stay with their own image
    figure = new_figure(figsize=(1.7 * columns, 2.3 * rows), layout=layout)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(images) :]:
        axes.remove()
    for axes, image, label, p in zip(panels, images, labels, probabilities, strict=False):
        predicted, right = int(p.argmax()), p.argmax() == label
        axes.imshow(image, cmap="gray_r")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color="0.85" if right else VALIDATION, linewidth=1 if right else 3)
        text = f"{names[predicted]}  ({p[predicted]:.1%})"
        axes.set_title(text if right else f"✗ {text}", fontsize=10)
        axes.set_xlabel(f"label {names[int(label)]}", fontsize=10)
        for words in (axes.title, axes.xaxis.label):
            words.set_color("black" if right else VALIDATION)
    return figure
