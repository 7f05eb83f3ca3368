"""A variational autoencoder: digits from two numbers each, and a walk in the plane of these.

    python examples/vae.py

Writes vae.png into the current folder. The method is that of Kingma and Welling 2014.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fnet
from fnet.plots import tidy

LATENT = 2
EPOCHS, BATCH_SIZE = 60, 100

encoder = fnet.sequential(
    fnet.flatten, fnet.dense(256), fnet.relu, fnet.dense(64), fnet.relu, fnet.dense(2 * LATENT)
)
decoder = fnet.sequential(
    fnet.dense(64), fnet.relu, fnet.dense(256), fnet.relu, fnet.dense(784), fnet.reshape((28, 28))
)


def encode(params: Any, pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean and the logarithm of the variance of the code of each image."""
    mean, log_variance = jnp.split(fnet.apply(encoder, params["encoder"], pixels), 2, axis=-1)
    return mean, log_variance


def decode(params: Any, code: jax.Array) -> jax.Array:
    """The probability that each pixel is on."""
    return jax.nn.sigmoid(fnet.apply(decoder, params["decoder"], code))


def negative_elbo(params: Any, images: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
    """-log p(x | z) + KL(q(z | x) || p(z)), in nats an image.

    Pixels are on or off, drawn anew in each step with their grey as the probability.
    """
    pixel_key, code_key = jax.random.split(key)
    pixels = jax.random.bernoulli(pixel_key, images / 255).astype(float)
    mean, log_variance = encode(params, pixels)
    code = mean + jnp.exp(log_variance / 2) * jax.random.normal(code_key, mean.shape)
    logits = fnet.apply(decoder, params["decoder"], code)
    misfit = (jax.nn.softplus(logits) - pixels * logits).sum(axis=(1, 2))
    divergence = (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(axis=1) / 2
    return {"loss": misfit + divergence, "misfit": misfit, "divergence": divergence}


def show(axes: Axes, tiles: Any, title: str) -> None:
    """Rows and columns of images as one."""
    rows, columns, height, width = tiles.shape
    picture = np.swapaxes(tiles, 1, 2).reshape(rows * height, columns * width)
    axes.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])


def main() -> None:
    fnet.cache_programs()
    (images, _), (test_images, test_labels) = fnet.datasets.mnist_5k()
    encoder_key, decoder_key, run_key = jax.random.split(jax.random.key(0), 3)
    params = {
        "encoder": fnet.init(encoder, encoder_key, (28, 28)),
        "decoder": fnet.init(decoder, decoder_key, (LATENT,)),
    }

    # A function of parameters, a batch and a key is all that a run needs, for a VAE as for a
    # classifier: one program shuffles, draws the codes, steps, and evaluates what was held out.
    task = fnet.task(negative_elbo)
    rate = fnet.cosine(6e-3, EPOCHS * len(images) // BATCH_SIZE)
    state = fnet.TrainState.create(params, fnet.adam(rate), run_key)
    state, history = fnet.train(
        task, state, images, epochs=EPOCHS, batch_size=BATCH_SIZE, validation=test_images
    )
    for epoch in (1, 10, EPOCHS):
        loss, held_out = (float(history[name][epoch - 1]) for name in ("loss", "val_loss"))
        print(f"epoch {epoch:2}: ELBO {-loss:.1f} nats an image, {-held_out:.1f} held out")

    shown = test_images[:18].reshape(3, 6, 28, 28) / 255
    codes, _ = encode(state.params, jnp.asarray(test_images) / 255)
    rebuilt = decode(state.params, codes[:18]).reshape(3, 6, 28, 28)
    quantiles = jax.scipy.stats.norm.ppf((jnp.arange(15) + 0.5) / 15)
    plane = jnp.stack(jnp.meshgrid(quantiles, -quantiles), axis=-1).reshape(225, LATENT)
    walk = decode(state.params, plane).reshape(15, 15, 28, 28)

    figure = Figure(figsize=(12.6, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    pairs = np.concatenate([shown, rebuilt], axis=1).reshape(6, 6, 28, 28)
    show(left, pairs, "held-out digits above their decoded codes")
    points = middle.scatter(*codes.T, c=test_labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=6)
    figure.colorbar(points, ax=middle, ticks=range(10), label="digit", shrink=0.8)
    tidy(middle, "", "")
    middle.set(title="the codes of 1,000 held-out digits", box_aspect=1)
    show(right, walk, "a walk in the plane of codes")
    figure.savefig("vae.png", dpi=100)
    print("see vae.png")


if __name__ == "__main__":
    main()
