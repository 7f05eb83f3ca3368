"""The headline job in PyTorch on an NVIDIA device: eager, and its step as a CUDA graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from bench.clock import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, mnist
from bench.jobs.with_torch import network, rmsprop

Step = Callable[[Any], Any]


class Run:
    """Model, optimizer and all data on one device."""

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

    def result(self, step: Step, epochs: int) -> Result:
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


def eager(clock: Clock, folder: str, epochs: int) -> Result:
    run = Run(folder, capturable=False)
    return run.result(run.eager_step, epochs)


def graphs(clock: Clock, folder: str, epochs: int) -> Result:
    run = Run(folder, capturable=True)
    kept = torch.zeros(BATCH_SIZE, dtype=torch.int64, device=run.x.device)  # the graph reads it
    graph = captured(run, kept)

    def step(rows: Any) -> None:
        if len(rows) == BATCH_SIZE:
            kept.copy_(rows)
            graph.replay()
        else:  # the smaller last batch
            run.eager_step(rows)

    return run.result(step, epochs)


def captured(run: Run, rows: Any) -> Any:
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
