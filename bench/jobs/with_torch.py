"""PyTorch on all cores with denormals flushed, eager and compiled; and on an NVIDIA device."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from bench.child import Clock, Result, time_in_turns
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


class DeviceRun:
    """The headline job with model, optimizer and all data on one NVIDIA device."""

    def __init__(self, folder: str, capturable: bool):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_float32_matmul_precision("high")  # TF32 where there is it, as JAX does
        train, test = mnist(folder)
        self.x, self.x_test = (
            torch.from_numpy(x.copy()).flatten(1).to(device) for x, _ in (train, test)
        )
        self.y, self.y_test = (torch.from_numpy(y).long().to(device) for _, y in (train, test))
        self.model = network().to(device)
        self.optimizer = rmsprop(self.model, capturable=capturable)

    def step(self, rows: Any) -> None:
        x = self.x[rows].float().div_(255)
        cross_entropy(self.model(x), self.y[rows]).backward()
        self.optimizer.step()

    def eager_step(self, rows: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.step(rows)

    def result(self, step: Callable[[Any], Any], epochs: int) -> Result:
        device = self.x.device

        def run() -> None:
            for _ in range(epochs):
                for rows in torch.randperm(len(self.x), device=device).split(BATCH_SIZE):
                    step(rows)
            if device.type == "cuda":
                torch.cuda.synchronize()

        seconds = time_in_turns({"run": run})["run"]
        with torch.inference_mode():
            scores = self.model(self.x_test.float().div_(255))
            right = (scores.argmax(1) == self.y_test).float().mean().item()
        return {"seconds": seconds, "accuracy": right}


def device_eager(clock: Clock, folder: str, epochs: int) -> Result:
    run = DeviceRun(folder, capturable=False)
    return run.result(run.eager_step, epochs)


def device_graphs(clock: Clock, folder: str, epochs: int) -> Result:
    """With its step as a CUDA graph."""
    run = DeviceRun(folder, capturable=True)
    kept = torch.zeros(BATCH_SIZE, dtype=torch.int64, device=run.x.device)  # the graph reads it
    graph = captured(run, kept)

    def step(rows: Any) -> None:
        if len(rows) == BATCH_SIZE:
            kept.copy_(rows)
            graph.replay()
        else:  # the smaller last batch
            run.eager_step(rows)

    return run.result(step, epochs)


def captured(run: DeviceRun, rows: Any) -> Any:
    """One step as a graph, after a few outside of it on a side stream, as PyTorch asks for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run.eager_step(rows)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    run.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        run.step(rows)
    return graph
