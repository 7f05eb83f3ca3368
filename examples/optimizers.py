"""Optimizers: a ball on a loss curve, a race of six, and the size of steps and batches.

    python examples/optimizers.py

Writes ball.png, race.png and steps.png into the current folder.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, TRAINING, VALIDATION, tidy

DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))


def descend(f: Callable[[Any], Any], optimizer: Any, start: Any, steps: int) -> np.ndarray:
    """Where an optimizer goes on a function: `(steps + 1, ...)`."""

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        point, memory = carry
        point, memory = optimizer.update(jax.grad(f)(point), memory, point)
        return (point, memory), point

    start = jnp.asarray(start)
    _, path = lax.scan(step, (start, optimizer.init(start)), None, steps)
    return np.concatenate([start[None], path])


def ball() -> None:
    """Without momentum the ball stays in the first hollow; with it, it rolls on past it."""

    def curve(x: Any) -> Any:
        return x**4 - 4 * x**2 + x

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    x = np.linspace(-2.25, 2.35, 300)
    runs = {"without momentum": fnet.sgd(0.01), "with momentum": fnet.momentum(0.01, beta=0.9)}
    for axes, (name, optimizer) in zip(figure.subplots(1, 2), runs.items(), strict=True):
        path = descend(curve, optimizer, 2.2, 200)
        print(f"{name} the ball ends at {path[-1]:.2f}, where the loss is {curve(path[-1]):.2f}")
        axes.plot(x, curve(x), "-", color="0.6")
        axes.plot(path, curve(path), ".-", color=TRAINING, linewidth=0.6, label="a step")
        axes.plot(path[0], curve(path[0]), "o", color=VALIDATION, markersize=8, label="start")
        axes.plot(path[-1], curve(path[-1]), "s", color=VALIDATION, markersize=8, label="end")
        axes.set_title(name, fontsize=10)
        tidy(axes, "parameter", "loss")
        axes.legend(frameon=False, loc="upper center")
    figure.savefig("ball.png", dpi=110)


def digits() -> tuple[Any, Any, Any, Any]:
    train, test = fnet.datasets.mnist_5k()
    net = fnet.sequential(
        fnet.rescale(1 / 255), fnet.flatten, fnet.dense(32), fnet.relu, fnet.dense(10), fnet.softmax
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net, task, train, test


def race() -> None:
    """On a ravine, twenty times as steep across as along, and on the digits."""

    def ravine(point: Any) -> Any:
        return (point[0] ** 2 + 20 * point[1] ** 2) / 2

    net, task, train, test = digits()
    runs = {  # on the ravine, on the digits
        "SGD": (fnet.sgd(0.085), fnet.sgd(0.1)),
        "momentum": (fnet.momentum(0.02), fnet.momentum(0.02)),
        "Nesterov": (fnet.momentum(0.02, nesterov=True), fnet.momentum(0.02, nesterov=True)),
        "Adagrad": (fnet.adagrad(1.0), fnet.adagrad(0.02)),
        "RMSProp": (fnet.rmsprop(0.15), fnet.rmsprop(0.001)),
        "Adam": (fnet.adam(0.3), fnet.adam(0.002)),
    }
    figure = Figure(figsize=(9.6, 6), layout="constrained")
    panels = figure.subplot_mosaic("ABCG;DEFG", width_ratios=(1, 1, 1, 1.7))
    x, y = np.meshgrid(np.linspace(-11, 4, 120), np.linspace(-3.2, 3.2, 80))
    for number, (name, (here, there)) in enumerate(runs.items()):
        color = COLORS[number]
        path = descend(ravine, here, (-10.0, 2.0), 60)
        near = np.flatnonzero([ravine(point) < 0.01 for point in path])
        axes = panels["ABCDEF"[number]]
        axes.contour(
            x, y, ravine(np.stack([x, y])), np.logspace(-1, 2, 10), colors="0.8", linewidths=0.7
        )
        axes.plot(*path.T, ".-", color=color, markersize=3, linewidth=1)
        axes.plot(0, 0, "+", color="black")
        axes.set_title(name, fontsize=10, color=color)
        tidy(axes, "along the ravine", "across")
        axes.grid(visible=False)
        axes.label_outer()

        state = fnet.train_state(net, there, jax.random.key(0), (28, 28))
        _, history = fnet.train(task, state, train, epochs=8, batch_size=128, validation=test)
        accuracy = np.asarray(history["val_accuracy"])
        error = 100 * (1 - accuracy)
        panels["G"].plot(range(1, 9), error, linestyle=DASHES[number], color=color, label=name)
        arrival = f"within 0.01 after {near[0]} steps" if len(near) else "not there after 60 steps"
        print(f"{name:9} ravine: {arrival}; digits: test accuracy {accuracy[-1]:.4f}")
    tidy(panels["G"], "epoch on the digits", "wrong test digits (%)")
    panels["G"].set_ylim(0, 30)
    panels["G"].legend(frameon=False)
    figure.savefig("race.png", dpi=110)


def steps() -> None:
    """The same descent with three step sizes, and with three sizes of a batch."""
    net, task, train, _ = digits()
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    sizes, batches = figure.subplots(1, 2)

    grid = fnet.grid(learning_rate=[0.001, 0.1, 1.5])
    states = grid.states(net, "sgd", (28, 28))
    _, history = fnet.train_many(task, states, train, epochs=4, batch_size=128, record=["loss"])
    names = ("too small: 0.001", "right: 0.1", "too large: 1.5")
    for number, (name, losses) in enumerate(zip(names, history["record"]["loss"], strict=True)):
        sizes.plot(losses, DASHES[number], color=COLORS[number], linewidth=1.2, label=name)
        print(f"step size {name}, loss {history['loss'][number, -1]:.4f} in the last epoch")
    tidy(sizes, "step", "training loss of a batch")
    sizes.legend(title="learning rate", frameon=False)

    # The same rate for all: a small batch takes more steps an epoch, and noisier ones.
    names = ("1: true SGD", "128: mini-batches", "all: gradient descent")
    for number, batch_size in reversed(list(enumerate((1, 128, None)))):
        state = fnet.train_state(net, fnet.sgd(0.02), jax.random.key(0), (28, 28))
        _, history = fnet.train(
            task, state, train, epochs=5, batch_size=batch_size, record=["loss"]
        )
        losses = np.asarray(history["loss"])
        batches.plot(range(1, 6), losses, DASHES[number], color=COLORS[number], label=names[number])
        taken = len(history["record"]["step"])
        print(f"batch size {batch_size or 4000}: {taken} steps, loss {losses[-1]:.4f} at the end")
    batches.set_xticks(range(1, 6))
    batches.set_ylim(0, 3.8)  # room for the legend
    tidy(batches, "epoch", "training loss")
    batches.legend(title="samples a step", frameon=False, loc="upper right")
    figure.savefig("steps.png", dpi=110)


def main() -> None:
    fnet.cache_programs()
    ball()
    race()
    steps()
    print("see ball.png, race.png and steps.png")


if __name__ == "__main__":
    main()
