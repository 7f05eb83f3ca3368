"""The loop that one writes around a step, and NumPy by hand as one of its steps.

NumPy computes in float32 throughout, and every large array is allocated once and written in place.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from bench.child import Clock, Result
from bench.data import BATCH_SIZE, EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist

State = TypeVar("State")
INPUTS, HIDDEN, CLASSES = SIZES


def train(
    step: Callable[[State, Any, Any], State],
    state: State,
    data: tuple[Any, Any],
    clock: Clock,
    epochs: int,
    wait: Callable[[State], Any],
) -> State:
    """Epochs of `state = step(state, x, y)` in a new order each; the last batch is smaller.

    NumPy gathers the batches on the host.
    """
    images, labels = data
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(images), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            state = step(state, images[rows], labels[rows])
            if clock.first_step is None:
                wait(state)
                clock.step()
        wait(state)
        clock.epoch()
    return state


def accuracy(scores: Any, labels: Any) -> float:
    return float((np.asarray(scores).argmax(1) == labels).mean())


class Network:
    """Parameters, their gradients and mean squares, and room for a batch."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        shapes = ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))
        self.params = [np.zeros(shape, np.float32) for shape in shapes]
        for weights in self.params[::2]:
            limit = np.sqrt(6 / sum(weights.shape))
            weights[:] = random.uniform(-limit, limit, weights.shape)
        self.grads, self.squares, self.room = (
            [np.zeros_like(param) for param in self.params] for _ in range(3)
        )
        self.h = np.empty((BATCH_SIZE, HIDDEN), np.float32)
        self.dh = np.empty_like(self.h)

    def forward(self, x: Any, h: Any) -> Any:
        first, first_bias, second, second_bias = self.params
        np.matmul(x, first, out=h)
        h += first_bias
        np.maximum(h, 0, out=h)
        return h @ second + second_bias


def step(network: Network, x: Any, y: Any) -> Network:
    h, dh = network.h[: len(x)], network.dh[: len(x)]
    z = network.forward(x, h)
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)  # the probabilities, and from here on the gradient of z
    z[np.arange(len(y)), y] -= 1
    z /= len(y)

    np.matmul(z, network.params[2].T, out=dh)
    dh *= h > 0
    d_first, d_first_bias, d_second, d_second_bias = network.grads
    np.matmul(x.T, dh, out=d_first)
    np.sum(dh, axis=0, out=d_first_bias)
    np.matmul(h.T, z, out=d_second)
    np.sum(z, axis=0, out=d_second_bias)
    arrays = (network.params, network.grads, network.squares, network.room)
    for p, g, v, room in zip(*arrays, strict=True):
        rmsprop(p, g, v, room)
    return network


def rmsprop(p: Any, g: Any, v: Any, room: Any) -> None:
    np.multiply(g, g, out=room)
    room *= np.float32(1 - RHO)
    v *= np.float32(RHO)
    v += room
    np.add(v, np.float32(EPSILON), out=room)
    np.sqrt(room, out=room)
    np.divide(g, room, out=room)
    room *= np.float32(LEARNING_RATE)
    p -= room


def run(clock: Clock, folder: str, epochs: int) -> Result:
    data, (x_test, y_test) = flat_mnist(folder)
    network = train(step, Network(), data, clock, epochs, wait=lambda network: None)
    result = clock.result()
    scores = network.forward(x_test, np.empty((len(x_test), HIDDEN), np.float32))
    return result | {"accuracy": accuracy(scores, y_test)}
