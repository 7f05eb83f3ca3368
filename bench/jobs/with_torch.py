"""PyTorch on the CPU with all cores and denormals flushed, eager and compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from bench.clock import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist, mnist


def network() -> Any:
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    inputs, hidden, classes = SIZES
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes)
    )


def rmsprop(model: Any, **options: Any) -> Any:
    return torch.optim.RMSprop(
        model.parameters(), lr=LEARNING_RATE, alpha=RHO, eps=EPSILON, **options
    )


def eager(clock: Clock, folder: str, epochs: int) -> Result:
    return run(clock, folder, epochs, prepared=lambda function: function)


def compiled(clock: Clock, folder: str, epochs: int) -> Result:
    """Loss and update compiled; once for all lengths of a batch, since each takes its time."""
    return run(clock, folder, epochs, prepared=partial(torch.compile, dynamic=True))


def run(clock: Clock, folder: str, epochs: int, prepared: Callable[[Any], Any]) -> Result:
    train, test = flat_mnist(folder)
    x, y = (torch.from_numpy(array) for array in train)
    y = y.long()
    model = network()
    optimizer = rmsprop(model)
    loss = prepared(lambda x, y: cross_entropy(model(x), y))
    update = prepared(lambda: optimizer.step())
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss(x[rows], y[rows]).backward()
            update()
            clock.step()
        clock.epoch()
    result = clock.result()
    with torch.inference_mode():
        correct = model(torch.from_numpy(test[0])).argmax(1).numpy() == test[1]
    return result | {"accuracy": float(correct.mean())}


def inference(clock: Clock, folder: str, batch_size: int) -> Result:
    """From bytes on the host to probabilities, and to loss and accuracy."""
    (images, labels), _ = mnist(folder)
    x, y = torch.from_numpy(images.copy()), torch.from_numpy(labels).long()
    model = network()

    def scores() -> Any:
        for batch in x.split(batch_size):
            yield model(batch.flatten(1).float().div_(255))

    def predict() -> Any:
        return torch.cat([z.softmax(1) for z in scores()]).numpy()

    def evaluate() -> tuple[float, float]:
        loss = right = torch.zeros(())
        for z, target in zip(scores(), y.split(batch_size), strict=True):
            loss = loss + cross_entropy(z, target, reduction="sum")
            right = right + (z.argmax(1) == target).sum()
        return loss.item() / len(y), right.item() / len(y)

    with torch.inference_mode():
        return time_in_turns({"predict": predict, "evaluate": evaluate})
