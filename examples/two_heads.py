"""Two inputs, three outputs: what two digits add up to, whether that is even, which one is larger.

    python examples/two_heads.py

Writes two_heads.png into the current folder. No label says what a single digit is, yet a model
whose outputs know arithmetic learns to read: Manhaeve et al. 2018, DeepProbLog, section 6.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

SEEDS, EPOCHS = 4, 10
LARGER = ["neither", "left", "right"]
SHAPES = {"left": (28, 28), "right": (28, 28)}

Pair = dict[str, Any]
Answers = dict[str, Any]


def answers(a: np.ndarray, b: np.ndarray) -> Answers:
    return {
        "sum": a + b,
        "even": ((a + b) % 2 == 0).astype(np.int32)[..., None],
        "larger": np.where(a == b, 0, np.where(a > b, 1, 2)).astype(np.int32),
    }


def pairs(digits: tuple[np.ndarray, np.ndarray], count: int) -> tuple[Pair, Answers]:
    images, labels = digits
    left, right = np.random.default_rng(0).integers(len(images), size=(2, count))
    return {"left": images[left], "right": images[right]}, answers(labels[left], labels[right])


def with_heads(layers: Any, x: Pair) -> Answers:
    """One reader for both images, and a head with weights for each answer."""
    both = jnp.concatenate([layers.reader(x["left"]), layers.reader(x["right"])], axis=-1)
    both = layers.join(both)
    return {"sum": layers.sum(both), "even": layers.even(both), "larger": layers.larger(both)}


# The answers to the 100 pairs of digits, as indicators.
KNOWN = answers(*np.indices((10, 10)).reshape(2, 100))
TABLES = {
    "sum": np.eye(19, dtype=np.float32)[KNOWN["sum"]],
    "even": KNOWN["even"].astype(np.float32),
    "larger": np.eye(3, dtype=np.float32)[KNOWN["larger"]],
}


def with_arithmetic(layers: Any, x: Pair) -> Answers:
    """The probability of each pair of digits, summed over the pairs with an answer."""
    left, right = layers.reader(x["left"]), layers.reader(x["right"])
    both = (left[:, :, None] * right[:, None, :]).reshape(-1, 100)
    return {name: both @ table for name, table in TABLES.items()}


def main() -> None:
    fnet.cache_programs()
    digits, test_digits = fnet.datasets.mnist_5k()
    train, test = pairs(digits, 8000), pairs(test_digits, 2000)

    hidden = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(128), fnet.relu)
    reader = fnet.sequential(hidden, fnet.dense(10), fnet.softmax)
    models = {
        "heads with weights": fnet.graph(
            with_heads,
            reader=fnet.sequential(hidden, fnet.dense(32), fnet.relu),
            join=fnet.sequential(fnet.dense(64), fnet.relu),
            sum=fnet.sequential(fnet.dense(19), fnet.softmax),
            even=fnet.sequential(fnet.dense(1), fnet.sigmoid),
            larger=fnet.sequential(fnet.dense(3), fnet.softmax),
        ),
        "heads of arithmetic": fnet.graph(with_arithmetic, reader=reader),
    }

    figure = Figure(figsize=(10.5, 4), layout="constrained")
    panels = figure.subplot_mosaic(
        [["curves", "0", "1"], ["curves", "2", "3"], ["curves", "4", "5"]], width_ratios=[2, 1, 1]
    )
    curves = panels["curves"]
    for (name, net), color in zip(models.items(), [VALIDATION, TRAINING], strict=True):
        # Any wiring is a model and a tree of losses its task, so what runs a chain of layers runs
        # this too: here four seeds in one program, the crossentropies from logits where there are.
        task = fnet.supervised(
            net,
            loss={
                "sum": "sparse_categorical_crossentropy",
                "even": "binary_crossentropy",
                "larger": "sparse_categorical_crossentropy",
            },
            metrics={"sum": ["accuracy"], "even": ["binary_accuracy"], "larger": ["accuracy"]},
            loss_weights={"sum": 1.0, "even": 0.5, "larger": 0.5},
        )
        states = jax.vmap(lambda key, net=net: fnet.train_state(net, "adam", key, SHAPES))(
            jax.random.split(jax.random.key(0), SEEDS)
        )
        states, history = fnet.train_many(
            task, states, train, epochs=EPOCHS, batch_size=64, validation=test
        )
        for answer in ("sum_accuracy", "even_binary_accuracy", "larger_accuracy"):
            last = np.asarray(history[f"val_{answer}"])[:, -1]
            print(f"{name}: {answer} {last.mean():.4f} ± {last.std():.4f} over {SEEDS} seeds")
        sums = np.asarray(history["val_sum_accuracy"])
        curves.plot(np.arange(1, EPOCHS + 1), sums.T, color=color, alpha=0.3, linewidth=0.8)
        curves.plot(np.arange(1, EPOCHS + 1), sums.mean(axis=0), color=color, label=name)
    tidy(curves, "epoch", "right sums of test pairs")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True))
    curves.legend(frameon=False, loc="lower right")

    images, labels = test_digits
    read = jax.vmap(lambda p: fnet.predict_classes(reader, p, images))(states.params["reader"])
    print(f"the reader reads {(np.asarray(read) == labels).mean():.4f} of single test digits")

    x, y = (jax.tree.map(lambda a: a[:6], part) for part in test)
    one = jax.tree.map(lambda leaf: leaf[0], states.params)
    said = fnet.predict_classes(net, one, x)
    for i in range(6):
        axes = panels[str(i)]
        axes.imshow(np.hstack([x["left"][i], x["right"][i]]), cmap="gray_r")
        axes.axvline(27.5, color="0.8", linewidth=0.8)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.85")
        odd = "even" if said["even"][i] else "odd"
        text = f"sum {said['sum'][i]}, {odd}, larger: {LARGER[said['larger'][i]]}"
        wrong = any(said[answer][i] != y[answer][i] for answer in said)
        axes.set_title(text, fontsize=9, color=VALIDATION if wrong else "black")
    figure.savefig("two_heads.png", dpi=120)
    print("see two_heads.png")


if __name__ == "__main__":
    main()
