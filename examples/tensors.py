"""Tensors: rank, shape and dtype, slices and batches, and the kinds of data that layers take.

    python examples/tensors.py

Writes tensors.png into the current folder.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import fnet
from fnet.plots import VALIDATION


def show(name: str, x: Any) -> None:
    print(f"{name:28} rank {x.ndim}, shape {x.shape}, {x.dtype}")


def main() -> None:
    # A tensor is its rank (how many axes), its shape (how long each is) and its dtype.
    matrix = jnp.array([[5, 78, 2, 34, 0], [6, 79, 3, 35, 1], [7, 80, 4, 36, 2]])
    show("a scalar", jnp.array(12))
    show("a vector", jnp.array([12, 3, 6, 14, 7]))
    show("a matrix", matrix)
    show("three matrices", jnp.stack([matrix, matrix, matrix]))

    # Labelled samples of ten classes, some to learn from and others to be tested with.
    (train_images, train_labels), (test_images, test_labels) = fnet.datasets.mnist_5k()
    images_on_device, labels_on_device = jnp.asarray(train_images), jnp.asarray(train_labels)
    classes = np.unique(train_labels)
    show("training images", train_images)
    show("training labels", train_labels)
    print(f"{len(train_images)} samples to train, {len(test_images)} to test; classes {classes}")

    # Axis 0 counts samples. A slice takes a range of each axis; axes left out are taken whole.
    some = train_images[10:100]
    assert some.shape == (90, 28, 28)
    assert np.array_equal(some, train_images[10:100, :, :])
    assert np.array_equal(some, train_images[10:100, 0:28, 0:28])
    corner = train_images[:, 14:, 14:]
    centre = train_images[:, 7:-7, 7:-7]
    show("the lower right quarter", corner)
    show("the centre", centre)

    n, size = 3, 128
    batch = train_images[size * n : size * (n + 1)]
    of_library = list(fnet.batches((train_images, train_labels), size))[n][0]
    assert np.array_equal(batch, of_library)
    show(f"batch number {n}", batch)

    # What the network takes: one vector an image with values in [0, 1], one vector a label.
    vectors = train_images.reshape((4000, 28 * 28)).astype("float32") / 255
    by_layers = fnet.apply(
        fnet.sequential(fnet.rescale(1 / 255), fnet.flatten), {}, images_on_device
    )
    assert np.allclose(vectors, by_layers)
    categories = fnet.to_categorical(labels_on_device, 10)
    assert np.array_equal(categories.argmax(axis=1), train_labels)
    guess = jnp.full((4000, 10), 0.1)
    assert jnp.allclose(  # either form of the labels, each with its own loss
        fnet.categorical_crossentropy(categories, guess),
        fnet.sparse_categorical_crossentropy(labels_on_device, guess),
    )
    show("images as vectors", vectors)
    show("labels as one-hot vectors", categories)
    print(f"label {train_labels[0]} is {categories[0].astype(int)}")

    # From rank 2 to rank 5. A dense layer takes them all: it sees the last axis, whatever stands
    # before it, so 4 units turn the features of every person, hour or pixel into 4 others.
    images = jax.random.uniform(jax.random.key(0), (8, 28, 28, 3))
    glides = [np.roll(train_images[:8], columns, axis=2) for columns in range(-3, 4)]
    video = np.stack(glides, axis=1)[..., None]
    kinds: dict[str, Any] = {
        "vectors: sample, feature": jnp.ones((8, 3)),
        "sequences: + timestep": jnp.ones((8, 390, 3)),
        "images: + row, column": images,
        "video: + frame": video,
    }
    net = fnet.dense(4)
    for kind, x in kinds.items():
        params = fnet.init(net, jax.random.key(1), x.shape[1:])
        y = fnet.apply(net, params, x)
        assert y.shape == (*x.shape[:-1], 4)
        show(kind, x)
        print(f"{'':28} to {y.shape} by a kernel of {params['kernel'].shape}")

    # Channels last (NHWC) or first (NCHW) are two layouts of one image; a layer moves the axis.
    first = jnp.moveaxis(images, -1, 1)
    last = fnet.sequential(lambda x: jnp.moveaxis(x, 1, -1), net)
    params = fnet.init(net, jax.random.key(1), (28, 28, 3))
    moved = fnet.apply(last, {"dense": params}, first)
    assert np.array_equal(moved, fnet.apply(net, params, images))
    show("images with channels first", first)

    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    panels = figure.subplots(2, 4)
    tiles = batch[:16].reshape(4, 4, 28, 28).swapaxes(1, 2).reshape(112, 112)
    stills = {
        f"a sample, label {train_labels[0]}": train_images[0],
        "lower right, [14:, 14:]": corner[0],
        "centre, [7:-7, 7:-7]": centre[0],
        f"16 samples of batch {n}": tiles,
    }
    frames = {f"video, frame {frame}": video[0, frame, :, :, 0] for frame in (0, 2, 4, 6)}
    for axes, (title, image) in zip(panels.flat, (stills | frames).items(), strict=True):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(title, fontsize=10)
        axes.locator_params(nbins=4)
        axes.set(xlabel="column (pixels)", ylabel="row (pixels)")
    # The parts that the next two pictures show.
    for start in (13.5, 6.5):
        panels[0, 0].add_patch(
            Rectangle((start, start), 14, 14, fill=False, edgecolor=VALIDATION, linewidth=1.5)
        )
    figure.savefig("tensors.png", dpi=110)
    print("see tensors.png")


if __name__ == "__main__":
    main()
