"""Pictures of a run: its history, and what the model says of single images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # matplotlib takes seconds to import, so only a call does
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING, VALIDATION = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion


def plot_history(history: Mapping[str, Any]) -> "Figure":
    """Training and validation curves, one panel for the loss and one for each metric.

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
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = [name for name in history if not name.startswith("val_")]
    if not names or len(history[names[0]]) == 0:
        raise ValueError(
            "`history` must hold at least one epoch, got none. Pass what fnet.fit returned."
        )
    figure = Figure(figsize=(4.8 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        plot_curve(axes, history[name], "training", TRAINING, "o-")
        if f"val_{name}" in history:
            plot_curve(axes, history[f"val_{name}"], "validation", VALIDATION, "s--")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def plot_curve(axes: "Axes", values: Any, label: str, color: str, style: str) -> None:
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, np.asarray(values), style, color=color, label=label, markersize=4)


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
    from matplotlib.figure import Figure
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
    figure = Figure(figsize=(1.7 * columns, 2.3 * rows), layout=layout)
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
