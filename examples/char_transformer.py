"""A small causal transformer that learns to write, letter by letter, from Python's own manual.

    python examples/char_transformer.py

Prints what it writes, and writes transformer.png into the current folder.
"""

import argparse
import math
import pydoc_data.topics

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import TRAINING, tidy

LENGTH, FEATURES = 64, 64


def positions(key: jax.Array, in_shape: tuple[int, ...]) -> tuple[jax.Array, tuple[int, ...]]:
    return 0.02 * jax.random.normal(key, in_shape), in_shape


def with_position(params: jax.Array, x: jax.Array) -> jax.Array:
    return x + params


def main() -> None:
    fnet.cache_programs()
    parser = argparse.ArgumentParser(description="Train a transformer on Python's manual.")
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs

    # The help topics that come with Python: half a million letters of English and code.
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))
    text = "".join(letter for letter in text if letter == "\n" or " " <= letter <= "~")
    letters = sorted(set(text))
    ids = np.searchsorted(letters, list(text)).astype(np.int32)
    print(f"{len(text):,} letters, {len(letters)} different ones")

    # A sample is a piece of the text, and its label the same piece one letter later.
    count = min((len(ids) - 1) // LENGTH, 4000)
    x = ids[: count * LENGTH].reshape(count, LENGTH)
    y = ids[1 : count * LENGTH + 1].reshape(count, LENGTH)

    block = fnet.sequential(
        fnet.residual(fnet.rms_norm(), fnet.attention(4, causal=True)),
        fnet.residual(fnet.rms_norm(), fnet.dense(4 * FEATURES), fnet.gelu, fnet.dense(FEATURES)),
    )
    net = fnet.sequential(
        fnet.embedding(len(letters), FEATURES),
        fnet.layer(positions, with_position),
        fnet.scan_layers(block, 2),
        fnet.rms_norm(),
        fnet.dense(len(letters)),
        fnet.softmax,
    )
    print(fnet.summary(net, (LENGTH,)))

    batch_size = 32
    steps = epochs * -(-count // batch_size)
    optimizer = fnet.adam(fnet.warmup_cosine(4e-3, steps // 10, steps))
    state = fnet.train_state(net, optimizer, jax.random.key(0), (LENGTH,))
    task = fnet.supervised(net, "sparse_categorical_crossentropy")
    state, history = fnet.fit(
        task, state, (x, y), epochs=epochs, batch_size=batch_size, record=["loss"]
    )

    # It writes by drawing each letter from what the letters before it make probable.
    @jax.jit
    def write(key: jax.Array, start: jax.Array) -> jax.Array:
        def one(window: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            probabilities = fnet.apply(net, state.params, window[None])[0, -1]
            letter = jax.random.categorical(key, jnp.log(probabilities) / 0.7)
            return jnp.append(window[1:], letter.astype(window.dtype)), letter

        return jax.lax.scan(one, start, jax.random.split(key, 300))[1]

    for number, place in enumerate([1000, 50_000]):
        start = jnp.asarray(ids[place : place + LENGTH])
        written = np.asarray(write(jax.random.key(number), start))
        print(f"\n--- after {text[place : place + LENGTH]!r}:")
        print("".join(letters[i] for i in written))

    record = history["record"]
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    bits = np.asarray(record["loss"]) / math.log(2)
    axes.plot(np.asarray(record["step"]), bits, color=TRAINING)
    axes.axhline(math.log2(len(letters)), color="0.5", linestyle="--")
    axes.annotate(" all letters alike", (0, math.log2(len(letters))), va="bottom", color="0.4")
    axes.set_ylim(0, 1.2 * math.log2(len(letters)))
    tidy(axes, "step", "loss (bits a letter)")
    figure.savefig("transformer.png", dpi=120)
    print(f"\n{bits[-50:].mean():.2f} bits a letter at the end; see transformer.png")


if __name__ == "__main__":
    main()
