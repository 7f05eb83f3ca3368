"""Small problems that the tests of training share, so that they share compiled programs too."""

import contextlib
import hashlib

import jax
import jax.numpy as jnp
import numpy as np

import fnet

LOSS, METRICS = "sparse_categorical_crossentropy", ["accuracy"]


@contextlib.contextmanager
def enable_x64():
    """Float64 for a while; JAX has renamed its own such context between the versions supported."""
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def classifier(units: int = 16) -> fnet.sequential:
    """Bytes in, probabilities out; dropout and batch norm carry keys and running statistics."""
    return fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(units),
        fnet.batch_norm(),
        fnet.relu,
        fnet.dropout(0.2),
        fnet.dense(3),
        fnet.softmax,
    )


def task(net=None, loss=LOSS, metrics=METRICS, **options) -> fnet.Task:
    return fnet.supervised(net or classifier(), loss, metrics, **options)


def images(size: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, told apart by which row of the image is bright."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, size).astype(np.int32)
    x = random.integers(0, 100, (size, 4, 4)).astype(np.uint8)
    x[np.arange(size), y] += 100
    return x, y


def start(net=None, optimizer="adam", seed: int = 0) -> fnet.TrainState:
    return fnet.train_state(net or classifier(), optimizer, jax.random.key(seed), (4, 4))


def bits(tree):
    """The tree with its typed keys as numbers, which comparisons need."""
    return jax.tree.map(
        lambda a: jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a,
        tree,
    )


def digest() -> str:
    """A hash of every bit that a short run leaves."""
    state, history = fnet.train(
        fnet.supervised(classifier(), LOSS), start(), images(), epochs=2, batch_size=8
    )
    leaves = jax.tree.leaves((bits(state), history))
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in leaves)).hexdigest()
