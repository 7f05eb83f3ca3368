"""An ensemble: sixteen models trained by one program, and what their disagreement says.

    python examples/ensemble.py

Writes ensemble.png and disagreement.png into the current folder.
"""

import jax
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

MEMBERS = 16


def main() -> None:
    fnet.cache_programs()
    train, (images, labels) = fnet.datasets.mnist_5k()
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(128),
        fnet.relu,
        fnet.dropout(0.2),
        fnet.dense(10),
        fnet.softmax,
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy")

    # A vmap over keys makes the members; training and predicting them is one program each.
    keys = jax.random.split(jax.random.key(0), MEMBERS)
    states = jax.vmap(lambda key: fnet.train_state(net, "rmsprop", key, (28, 28)))(keys)
    states, _ = fnet.train_many(task, states, train, epochs=12, batch_size=64)
    probabilities = np.asarray(jax.vmap(lambda state: fnet.predict(net, state, images))(states))
    answers = probabilities.argmax(-1)
    alone = (answers == labels).mean(axis=1)
    print(f"one model: {alone.mean():.4f} of the test set, {alone.min():.4f} to {alone.max():.4f}")

    sizes = [1, 2, 4, 8, 16]
    together = []
    for size in sizes:
        # Of every group of this size, so that luck in choosing the first ones does not show.
        groups = probabilities.reshape(MEMBERS // size, size, len(images), 10).mean(axis=1)
        together.append((groups.argmax(-1) == labels).mean())
        print(f"average of {size:2}: {together[-1]:.4f}")

    average = probabilities.mean(axis=0)
    agreement = (answers == average.argmax(-1)).mean(axis=0)
    right = average.argmax(-1) == labels
    for low, high in [(0.0, 0.6), (0.6, 0.99), (0.99, 1.0)]:
        among = (agreement >= low) & ((agreement < high) | (high == 1.0))
        print(
            f"agreement of {low:.0%} to {high:.0%}: {among.sum()} digits, "
            f"{right[among].mean():.1%} of them right"
        )

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    curve, bars = figure.subplots(1, 2)
    curve.plot(sizes, together, "o-", color=TRAINING, label="their average")
    curve.plot(sizes, [alone.mean()] * 5, "--", color=VALIDATION, label="one of them, on average")
    curve.set_xscale("log", base=2)
    curve.set_xticks(sizes, [str(size) for size in sizes])
    tidy(curve, "members", "test accuracy")
    curve.legend(frameon=False)
    edges = np.linspace(0.25, 1, 13)
    shares = [agreement[right], agreement[~right]]
    bars.hist(shares, edges, color=[TRAINING, VALIDATION], label=["right", "wrong"])
    bars.set_yscale("log")
    tidy(bars, "share of members that agree", "test digits")
    bars.legend(frameon=False)
    figure.savefig("ensemble.png", dpi=120)

    doubted = np.argsort(agreement, kind="stable")[:10]
    fnet.plot_predictions(images[doubted], labels[doubted], average[doubted]).savefig(
        "disagreement.png", dpi=120
    )
    print("see ensemble.png, and in disagreement.png the digits they disagree on most")


if __name__ == "__main__":
    main()
