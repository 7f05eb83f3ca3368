"""SimCLR on digits: an encoder learns without labels, from two distorted views of each image.

    python examples/contrastive.py

Writes contrastive.png into the current folder. Then a linear probe learns from a few labels, on
what the encoder gives and on raw pixels. Chen et al. 2020, A Simple Framework for Contrastive
Learning of Visual Representations, algorithm 1.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import fnet
from fnet.plots import COLORS, tidy

TEMPERATURE = 0.2
DRAWS = 10  # sets of labels, of each size
LABELS = [1, 3, 10, 30]  # of each digit

ENCODER = fnet.sequential(
    fnet.rescale(1 / 255),
    fnet.reshape((28, 28, 1)),
    fnet.conv(16, (5, 5), strides=(2, 2)),
    fnet.relu,
    fnet.conv(32, (3, 3), strides=(2, 2)),
    fnet.relu,
    fnet.flatten,
    fnet.dense(128),
    fnet.relu,
)
HEAD = fnet.sequential(fnet.dense(64), fnet.relu, fnet.dense(32))


def distorted(image: jax.Array, key: jax.Array) -> jax.Array:
    """The image turned, stretched, slanted and shifted, by a random linear map of its plane."""
    of_map, of_shift = jax.random.split(key)
    matrix = jnp.eye(2) + jax.random.uniform(of_map, (2, 2), minval=-0.3, maxval=0.3)
    shift = jax.random.uniform(of_shift, (2, 1), minval=-3, maxval=3)
    centre = 13.5
    grid = jnp.indices((28, 28)).reshape(2, -1) - centre
    places = matrix @ grid + shift + centre
    return jax.scipy.ndimage.map_coordinates(image, [*places], order=1).reshape(28, 28)


def contrast(params: Any, images: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
    """Find the other view of an image among all views of all images of the batch."""
    pairs = jnp.concatenate([images, images]).astype(float)
    views = jax.vmap(distorted)(pairs, jax.random.split(key, len(pairs)))
    z = fnet.apply(HEAD, params["head"], fnet.apply(ENCODER, params["encoder"], views))
    z = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
    similarity = z @ z.T / TEMPERATURE - 1e9 * jnp.eye(len(z))
    other = jnp.roll(jnp.arange(len(z)), len(images))
    loss = fnet.sparse_categorical_crossentropy(other, similarity, from_logits=True)
    found = fnet.accuracy(other, similarity)
    return {"loss": loss.reshape(2, -1).mean(0), "found": found.reshape(2, -1).mean(0)}


PROBE = fnet.sequential(fnet.dense(10), fnet.softmax)
PROBING = fnet.penalized(
    fnet.supervised(PROBE, "sparse_categorical_crossentropy", metrics=["accuracy"]), fnet.l2(1e-3)
)


def accuracy(x: jax.Array, y: jax.Array, weights: jax.Array, test: Any) -> jax.Array:
    """Test accuracy of a probe."""
    state = fnet.train_state(PROBE, fnet.adam(0.01), jax.random.key(0), x.shape[1:])
    state, _ = fnet.train(PROBING, state, (x, y, weights), epochs=100, batch_size=len(x))
    return fnet.evaluate(PROBING, state, test)["accuracy"]


# A run is a pure function of its data too: a vmap over draws of labels, and one over how many of
# them count, train and test 40 probes in one program.
accuracies = jax.jit(jax.vmap(jax.vmap(accuracy, (0, 0, None, None)), (None, None, 0, None)))


def main() -> None:
    fnet.cache_programs()
    (images, digits), (test_images, test_digits) = fnet.datasets.mnist_5k()

    keys = jax.random.split(jax.random.key(0))
    untrained = {
        "encoder": fnet.init(ENCODER, keys[0], (28, 28)),
        "head": fnet.init(HEAD, keys[1], fnet.output_shape(ENCODER, (28, 28))),
    }
    state = fnet.TrainState.create(untrained, fnet.adam(2e-3), jax.random.key(1))
    state, _ = fnet.fit(fnet.task(contrast), state, images, epochs=10, batch_size=250)

    features: dict[str, Callable[[np.ndarray], jax.Array]] = {
        "SimCLR": lambda images: fnet.predict(ENCODER, state.params["encoder"], images),
        "raw pixels": lambda images: jnp.reshape(images / 255, (len(images), -1)),
        "an untrained encoder": lambda images: fnet.predict(ENCODER, untrained["encoder"], images),
    }
    rng, most = np.random.default_rng(0), max(LABELS)
    places = [np.flatnonzero(digits == digit) for digit in range(10)]
    drawn = [[rng.choice(of_digit, most, False) for of_digit in places] for _ in range(DRAWS)]
    rows = np.reshape(drawn, (DRAWS, 10 * most))
    counted = [np.where(np.arange(most) < count, most / count, 0) for count in LABELS]
    weights = np.tile(counted, 10).astype(np.float32)

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplot_mosaic(
        [["curves", *row] for row in ("012", "345", "678")], width_ratios=[3, 1, 1, 1]
    )
    curves = panels["curves"]
    for (name, function), color in zip(features.items(), COLORS, strict=False):
        x, test_x = function(images), function(test_images)
        mean, scale = x.mean(axis=0), x.std(axis=0) + 0.1 * x.std()
        x, test_x = (x - mean) / scale, (test_x - mean) / scale
        found = accuracies(x[rows], digits[rows], weights, (test_x, test_digits))
        means, spreads = np.asarray(found.mean(axis=1)), np.asarray(found.std(axis=1))
        for count, mean, spread in zip(LABELS, means, spreads, strict=True):
            print(f"{name}, {10 * count} labels: accuracy {mean:.4f} ± {spread:.4f}")
        curves.plot(LABELS, means, "o-", color=color, label=name)
        curves.fill_between(LABELS, means - spreads, means + spreads, color=color, alpha=0.15)
    curves.set_xscale("log")
    curves.set_xticks(LABELS, [str(count) for count in LABELS])
    tidy(curves, "labels of each digit", "test accuracy of a linear probe")
    curves.legend(frameon=False)

    keys = jax.random.split(jax.random.key(0), 9)
    views = jax.vmap(distorted)(jnp.repeat(images[:3], 3, axis=0).astype(float), keys)
    for i in range(9):
        axes = panels[str(i)]
        axes.imshow(images[i // 3] if i % 3 == 0 else views[i], cmap="gray_r")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.85")
    for i, title in enumerate(["image", "a view", "another"]):
        panels[str(i)].set_title(title, fontsize=10)
    figure.savefig("contrastive.png", dpi=120)
    print("see contrastive.png")


if __name__ == "__main__":
    main()
