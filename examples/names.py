"""An LSTM invents names, letter by letter, after those in the source of Python's own library.

    python examples/names.py

Prints some of them and the bits a letter on names it has not seen, and writes names.png into the
current folder.
"""

import collections
import math
import os
import pathlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import fnet
from fnet.plots import TRAINING, VALIDATION, tidy

LONGEST, EPOCHS, BATCH_SIZE = 12, 20, 50
LETTERS = ".abcdefghijklmnopqrstuvwxyz"  # the dot begins and ends a name
PADDING = -1


def names() -> list[str]:
    """Words of lower case that the library uses thrice or more, in a random order."""
    files = sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
    text = " ".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)
    counts = collections.Counter(re.findall(rf"\b[a-z]{{4,{LONGEST}}}\b", text))
    found = sorted(name for name, count in counts.items() if count >= 3)
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def as_arrays(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The letters of each name after a dot, and what follows each of them, the last dot too."""
    x = np.zeros((len(names), LONGEST + 1), np.int32)
    y = np.full_like(x, PADDING)
    for row, name in enumerate(names):
        ids = [LETTERS.index(letter) for letter in name]
        x[row, 1 : len(ids) + 1] = ids
        y[row, : len(ids) + 1] = [*ids, 0]
    return x, y


def bits_by_counts(train: list[str], test: list[str], order: int) -> float:
    """Bits a letter if each is guessed from the `order` before it, by counting them in `train`."""

    def windows(names: list[str]) -> list[str]:
        padded = [LETTERS[0] * order + name + LETTERS[0] for name in names]
        return [name[i : i + order + 1] for name in padded for i in range(len(name) - order)]

    seen = collections.Counter(windows(train))
    before = collections.Counter(window[:-1] for window in seen.elements())
    test_windows = windows(test)
    chances = [(seen[w] + 0.1) / (before[w[:-1]] + 0.1 * len(LETTERS)) for w in test_windows]
    return -sum(map(math.log2, chances)) / len(chances)


def main() -> None:
    fnet.cache_programs()
    known = names()
    held_out, train = known[:600], known[600:]
    print(f"{len(train)} names to learn from, such as {', '.join(train[:6])}")

    net = fnet.sequential(
        fnet.embedding(len(LETTERS), 32),
        fnet.lstm(128, return_sequences=True),
        fnet.dropout(0.3),
        fnet.dense(len(LETTERS)),
        fnet.softmax,
    )
    loss = partial(fnet.sparse_categorical_crossentropy, ignore_class=PADDING)
    task = fnet.supervised(net, loss)
    rate = fnet.cosine(5e-3, EPOCHS * -(-len(train) // BATCH_SIZE))
    state = fnet.train_state(net, fnet.adam(rate), jax.random.key(0), (LONGEST + 1,))

    # The loops over epochs, batches and letters are one program, in which no step waits for Python.
    state, history = fnet.train(
        task,
        state,
        as_arrays(train),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        validation=as_arrays(held_out),
    )
    bits, val_bits = (np.asarray(history[n]) / math.log(2) for n in ("loss", "val_loss"))
    counted = {
        f"counts of {order + 1} letter{'s' * (order > 0)}": bits_by_counts(train, held_out, order)
        for order in range(4)
    }
    for kind, of_counts in counted.items():
        print(f"{kind}: {of_counts:.3f} bits a letter")
    print(f"LSTM: {val_bits[-1]:.3f} bits a letter on {len(held_out)} names that it has not seen")

    @jax.jit
    def write(key: jax.Array) -> jax.Array:
        """Names of the most probable letters, each drawn after those before it."""

        def one(x: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
            chances = fnet.apply(net, state.params, x)[:, time]
            letter = jax.random.categorical(jax.random.fold_in(key, time), jnp.log(chances))
            return x.at[:, time + 1].set(letter, mode="drop"), letter

        start = jnp.zeros((200, LONGEST + 1), int)
        return jax.lax.scan(one, start, jnp.arange(LONGEST + 1))[1].T

    written = ["".join(LETTERS[i] for i in row).split(".")[0] for row in write(jax.random.key(1))]
    new = [name for name in dict.fromkeys(written) if 3 < len(name) and name not in known]
    print(f"it writes {', '.join(new[:40])}")

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    curves, page = figure.subplots(1, 2, width_ratios=[3, 2])
    epochs = np.arange(1, EPOCHS + 1)
    curves.plot(epochs, bits, color=TRAINING, label="training, with dropout")
    curves.plot(epochs, val_bits, color=VALIDATION, label="names not seen")
    for kind, of_counts in counted.items():
        curves.axhline(of_counts, color="0.5", linestyle="--", linewidth=0.8)
        curves.annotate(kind, (EPOCHS, of_counts), va="bottom", ha="right", color="0.4")
    tidy(curves, "epoch", "bits a letter")
    curves.legend(frameon=False, loc="lower left")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True))
    for i, name in enumerate(new[:24]):
        page.text(0.05 + 0.5 * (i // 12), 0.95 - 0.08 * (i % 12), name, family="monospace")
    page.set_axis_off()
    figure.savefig("names.png", dpi=120)
    print("see names.png")


if __name__ == "__main__":
    main()
