"""A sweep: learning rate times optimizer times seed, every optimizer's in one program.

    python examples/sweep.py

Writes sweep.png into the current folder.
"""

import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, STYLES, tidy


def main() -> None:
    fnet.cache_programs()
    train, test = fnet.datasets.mnist_5k()
    net = fnet.sequential(
        fnet.rescale(1 / 255), fnet.flatten, fnet.dense(32), fnet.relu, fnet.dense(10), fnet.softmax
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    grid = fnet.grid(learning_rate=np.logspace(-4, 0, 9), seed=range(3))
    for number, optimizer in enumerate(["sgd", "momentum", "rmsprop", "adam"]):
        states = grid.states(net, optimizer, (28, 28))
        _, history = fnet.train_many(task, states, train, epochs=3, batch_size=64, validation=test)
        print(f"{optimizer}: {len(grid)} runs\n{grid.table(history)}\n")
        accuracy = np.asarray(history["val_accuracy"])[:, -1]
        rows, means, spreads = grid.over_seeds(accuracy)
        rates = [row["learning_rate"] for row in rows]
        color = COLORS[number]
        axes.plot(rates, means, STYLES[number], color=color, label=optimizer, markersize=4)
        axes.fill_between(rates, means - spreads, means + spreads, color=color, alpha=0.2)
    axes.set_xscale("log")
    tidy(axes, "learning rate", "test accuracy after 3 epochs")
    axes.legend(frameon=False)
    figure.savefig("sweep.png", dpi=120)
    print("see sweep.png; the bands are one standard deviation over three seeds")


if __name__ == "__main__":
    main()
