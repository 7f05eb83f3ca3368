"""A convolutional network: digits, or pieces of clothing, better than 784-512-10 can tell them.

    python examples/convnet.py
    python examples/convnet.py --fashion

Writes filters.png into the current folder: what the first layer looks for, and what it sees.
"""

import argparse
import time

import jax
import numpy as np
from matplotlib.figure import Figure

import fnet


def main() -> None:
    fnet.cache_programs()
    parser = argparse.ArgumentParser(description="Train a convolutional network.")
    parser.add_argument("--fashion", action="store_true", help="Fashion-MNIST instead of MNIST")
    parser.add_argument("--epochs", type=int, help="3, or 20 on the bundled digits")
    args = parser.parse_args()

    try:
        load = fnet.datasets.fashion_mnist if args.fashion else fnet.datasets.mnist
        train, test = load()
        epochs = args.epochs or 3
    except FileNotFoundError:
        print("The data is neither on this machine nor to be downloaded: using the bundled 5,000.")
        train, test = fnet.datasets.mnist_5k()
        epochs = args.epochs or 20

    first = fnet.conv(32, (5, 5), strides=2, padding="same")
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.reshape((28, 28, 1)),
        first,
        fnet.relu,
        fnet.max_pool((2, 2)),
        fnet.conv(64, (3, 3), padding="same"),
        fnet.relu,
        fnet.flatten,
        fnet.dropout(0.5),
        fnet.dense(10),
        fnet.softmax,
    )
    print(fnet.summary(net, (28, 28)))

    steps = epochs * -(-len(train[0]) // 128)
    optimizer = fnet.adam(fnet.warmup_cosine(4e-3, steps // 10, steps))
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    state = fnet.train_state(net, optimizer, jax.random.key(0), (28, 28))
    began = time.perf_counter()
    state, _ = fnet.fit(task, state, train, epochs=epochs, batch_size=128)
    print(f"trained in {time.perf_counter() - began:.1f} s")
    logs = fnet.evaluate(task, state, test)
    print(f"test accuracy {logs['accuracy']:.4f}, loss {logs['loss']:.4f}")

    # The first layer is a model of its own, with the parameters it has in the whole.
    image = test[0][0]
    maps = np.asarray(fnet.apply(first, state.params["conv"], image[None, :, :, None] / 255))[0]
    kernels = np.asarray(state.params["conv"]["kernel"])[:, :, 0]
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    rows = figure.subplots(2, 9)
    largest = abs(kernels).max()
    for row, tiles in zip(rows, (kernels, maps), strict=True):
        row[0].axis("off")
        for number, axes in enumerate(row[1:]):
            tile = tiles[..., number]
            size = largest if tile.shape == kernels.shape[:2] else abs(maps).max()
            axes.imshow(tile, cmap="PuOr", vmin=-size, vmax=size)
            axes.set_xticks([])
            axes.set_yticks([])
    rows[1, 0].axis("on")
    rows[1, 0].imshow(image, cmap="gray_r")
    rows[1, 0].set_xticks([])
    rows[1, 0].set_yticks([])
    rows[1, 0].set_xlabel("input")
    rows[0, 1].set_ylabel("kernel")
    rows[1, 1].set_ylabel("output")
    figure.suptitle("Eight of 32 filters of the first layer (orange below 0, purple above)")
    figure.savefig("filters.png", dpi=120)
    print("see filters.png")


if __name__ == "__main__":
    main()
