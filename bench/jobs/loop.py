"""The loop that one writes around a step, with batches gathered on the host by NumPy."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from bench.clock import Clock
from bench.data import BATCH_SIZE

State = TypeVar("State")


def train(
    step: Callable[[State, Any, Any], State],
    state: State,
    data: tuple[Any, Any],
    clock: Clock,
    epochs: int,
    wait: Callable[[State], Any],
) -> State:
    """Epochs of `state = step(state, x, y)` in a new order each; the last batch is smaller."""
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
