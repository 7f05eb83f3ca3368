"""The same network with nothing but JAX: every step of training spelled out.

    python examples/from_scratch.py

Naive layers, a batch generator, one training step, the update by hand, ten epochs (more of the
few digits that are bundled); and the backward pass written out through the chain rule, which is
what `jax.grad` computes.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnet

LEARNING_RATE = 1e-3
BATCH_SIZE = 128
EPOCHS = 10


# A dense layer is a matrix, a vector and a function: y = activation(x W + b).


class NaiveDense(NamedTuple):
    weights: jax.Array  # (inputs, outputs)
    bias: jax.Array  # (outputs,)


Params = list[NaiveDense]  # two layers, four arrays in all


def naive_dense(key: jax.Array, inputs: int, outputs: int) -> NaiveDense:
    weights = jax.random.uniform(key, (inputs, outputs), maxval=0.1)
    return NaiveDense(weights, jnp.zeros(outputs))


def relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


def softmax(x: jax.Array) -> jax.Array:
    e = jnp.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# A sequential model applies its layers one after the other.

ACTIVATIONS: list[Callable[[jax.Array], jax.Array]] = [relu, softmax]


def naive_sequential(params: Params, x: jax.Array) -> jax.Array:
    for layer, activation in zip(params, ACTIVATIONS, strict=True):
        x = activation(x @ layer.weights + layer.bias[None])
    return x


# loss = loss(y, softmax(dot(relu(dot(x, W1) + b1), W2) + b2))


def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    probabilities = naive_sequential(params, x)
    return -jnp.log(probabilities[jnp.arange(len(y)), y]).mean()


# The gradient through the chain rule, from the loss back to the first layer. Behind each line
# stands the derivative it multiplies with.


def backward(params: Params, x: jax.Array, y: jax.Array) -> Params:
    first, second = params
    a = x @ first.weights + first.bias[None]
    h = relu(a)
    p = softmax(h @ second.weights + second.bias[None])

    dz = (p - jnp.eye(10)[y]) / len(y)  # d loss / d z of softmax and crossentropy together
    dh = dz @ second.weights.T  # d z / d h
    da = dh * (a > 0)  # d h / d a of relu
    return [NaiveDense(x.T @ da, da.sum(axis=0)), NaiveDense(h.T @ dz, dz.sum(axis=0))]


# The four steps of the loop: draw a batch, forward pass, loss and gradient, update.


def batch_generator(
    images: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(images), BATCH_SIZE):
        yield images[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]


def update_weights(params: Params, gradients: Params) -> Params:
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients)


@jax.jit
def one_training_step(params: Params, x: jax.Array, y: jax.Array) -> tuple[Params, jax.Array]:
    value, gradients = jax.value_and_grad(loss)(params, x, y)
    return update_weights(params, gradients), value


def main() -> None:
    epochs = EPOCHS
    try:
        (x_train, y_train), (x_test, y_test) = fnet.datasets.mnist()
    except FileNotFoundError:
        epochs = 10 * EPOCHS  # an epoch of 4,000 digits has 32 steps, one of 60,000 has 469
        print("MNIST is neither on this machine nor to be downloaded: using the bundled 5,000.")
        (x_train, y_train), (x_test, y_test) = fnet.datasets.mnist_5k()
    train_images = x_train.reshape(len(x_train), 28 * 28).astype(np.float32) / 255
    test_images = x_test.reshape(len(x_test), 28 * 28).astype(np.float32) / 255

    keys = jax.random.split(jax.random.key(0))
    params = [naive_dense(keys[0], 28 * 28, 512), naive_dense(keys[1], 512, 10)]

    x, y = train_images[:BATCH_SIZE], y_train[:BATCH_SIZE]
    by_hand, by_jax = jax.jit(backward)(params, x, y), jax.jit(jax.grad(loss))(params, x, y)
    differences = jax.tree.map(lambda a, b: float(abs(a - b).max() / abs(b).max()), by_hand, by_jax)
    print(f"the chain rule by hand and jax.grad differ by {max(jax.tree.leaves(differences)):.0e}")

    # The update by hand is what an SGD optimizer does.
    optimizer = fnet.sgd(LEARNING_RATE)
    by_optimizer, _ = optimizer.update(by_jax, optimizer.init(params), params)
    by_hand = update_weights(params, by_jax)
    same = jax.tree.map(lambda a, b: bool(jnp.allclose(a, b)), by_hand, by_optimizer)
    assert all(jax.tree.leaves(same))

    for epoch in range(epochs):
        for x, y in batch_generator(train_images, y_train):
            params, value = one_training_step(params, x, y)
        if (epoch + 1) % (epochs // EPOCHS) == 0:
            print(f"epoch {epoch + 1}/{epochs}: loss of the last batch {value:.4f}")

    predictions = jax.jit(naive_sequential)(params, test_images).argmax(axis=1)
    print(f"test accuracy {(predictions == y_test).mean():.4f}")


if __name__ == "__main__":
    main()
