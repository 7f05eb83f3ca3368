"""The main job: handwritten digits, from loading to pictures.

    python examples/mnist.py --epochs 5 --batch-size 128 --optimizer rmsprop

Writes history.png and predictions.png into the current folder.
"""

import argparse
import time

import jax
import numpy as np

import fnet


def main() -> None:
    fnet.cache_programs()  # the next run compiles nothing
    parser = argparse.ArgumentParser(
        description="Train 784-512-10 on MNIST.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, help="5, or 20 on the bundled digits")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--optimizer", default="rmsprop", help="sgd, momentum, adam, ...")
    parser.add_argument("--data-dir", help="a folder with the four MNIST files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--validation-split", type=float, default=0.0, help="held back; 0 watches the test set"
    )
    args = parser.parse_args()

    try:
        train, test = fnet.datasets.mnist(args.data_dir)
        epochs = args.epochs or 5
    except FileNotFoundError:
        print("MNIST is neither on this machine nor to be downloaded: using the bundled 5,000.")
        train, test = fnet.datasets.mnist_5k()
        epochs = args.epochs or 20

    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(512),
        fnet.relu,
        fnet.dense(10),
        fnet.softmax,
    )
    print(fnet.summary(net, (28, 28)))

    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    state = fnet.train_state(net, args.optimizer, jax.random.key(args.seed), (28, 28))
    began = time.perf_counter()
    state, history = fnet.fit(
        task,
        state,
        train,
        epochs=epochs,
        batch_size=args.batch_size,
        validation_split=args.validation_split,
        validation=None if args.validation_split else test,  # watched, no choice depends on it
    )
    print(f"trained in {time.perf_counter() - began:.1f} s")

    for name, data in {"training": train, "test": test}.items():
        logs = fnet.evaluate(task, state, data)
        print(f"{name} accuracy {logs['accuracy']:.4f}, loss {logs['loss']:.4f}")

    images, labels = test
    print("predicted", fnet.predict_classes(net, state, images[:10]))
    print("labels   ", labels[:10])

    probabilities = np.asarray(fnet.predict(net, state, images))
    wrong = np.flatnonzero(probabilities.argmax(-1) != labels)
    shown = np.concatenate([np.arange(10), wrong[:10]])
    fnet.plot_history(history).savefig("history.png", dpi=120)
    fnet.plot_predictions(images[shown], labels[shown], probabilities[shown]).savefig(
        "predictions.png", dpi=120
    )
    print(f"{len(wrong)} of {len(labels)} wrong; see history.png and predictions.png")


if __name__ == "__main__":
    main()
