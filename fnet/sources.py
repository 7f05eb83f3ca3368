"""Where `fit` takes its steps from: arrays on the device, or an iterable of batches.

No call donates its state, so that a call that went wrong can be taken again, a step at a time.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .checks import check_data, check_finite
from .data import epoch_order
from .diagnosis import explain
from .objective import Batch, Objective
from .running import Logs, Tally, empty_tally, recorded, run_steps, step, tallied
from .state import TrainState

CALL_SECONDS = 0.2  # of training in one call: the pace of the bar, and how long Ctrl-C waits

Run = tuple[TrainState, Tally]


class Position(NamedTuple):
    """An epoch on its way."""

    steps: int  # done
    samples: int  # seen
    state: TrainState
    tally: Tally  # of these steps
    failure: str | None = None  # why the loss of the next step is not finite


class Arrays:
    """Epochs over arrays: the whole of them on the device, many steps a call."""

    def __init__(self, goal: Objective, data: Batch, batch_size: int, shuffle: bool):
        self.goal, self.data = goal, jax.tree.map(jnp.asarray, data)
        self.batch_size, self.shuffle = batch_size, shuffle
        self.samples = len(data[0])
        self.steps = math.ceil(self.samples / batch_size)
        self.steps_a_call = 1

    def epoch(self, state: TrainState) -> Iterator[Position]:
        run, done = (state, empty_tally(self.goal, self.steps)), 0
        epoch, whole = int(state.step) // self.steps, self.samples // self.batch_size
        while done < self.steps:
            # A smaller last batch is a program of its own, which the first call need not wait for.
            stop = min(done + self.steps_a_call, whole) if done < whole else self.steps
            began = time.monotonic()
            before, run = run, self.call(epoch, done, stop, run)
            if diverged(run):
                calls = [partial(self.call, epoch, i, i + 1) for i in range(done, stop)]
                run, good = last_good(before, calls)
                done += good
                failure = explain(self.goal, run[0], self.batch(run[0], epoch, done))
                yield Position(done, done * self.batch_size, *run, failure)
                return
            if time.monotonic() - began < CALL_SECONDS and stop == done + self.steps_a_call:
                self.steps_a_call *= 2
            done = stop
            yield Position(done, min(done * self.batch_size, self.samples), *run)

    def call(self, epoch: int, start: int, stop: int, run: Run) -> Run:
        length = min(self.batch_size, self.samples - start * self.batch_size)
        return array_steps(
            self.goal, *run, self.data, epoch, start, stop, self.batch_size, length, self.shuffle
        )

    def batch(self, state: TrainState, epoch: int, index: int) -> Batch:
        size = self.samples
        order = epoch_order(state.key, epoch, size) if self.shuffle else jnp.arange(size)
        rows = order[index * self.batch_size :][: self.batch_size]
        return tuple(array[rows] for array in self.data)


array_steps = jax.jit(run_steps, static_argnames=("goal", "batch_size", "length", "shuffle"))


class Batches:
    """Epochs over an iterable of batches: a step a call."""

    def __init__(self, goal: Objective, batches: Iterable[Any], epochs: int, split: float):
        if split:
            raise ValueError(
                f"`validation_split` must be 0 without arrays to split, got {split} and an "
                f"iterable of batches. Pass `validation` instead."
            )
        if epochs > 1 and iter(batches) is batches:
            raise ValueError(
                f"`data` must be an iterable that can be gone through {epochs} times, got a "
                f"{type(batches).__name__}, which is empty after the first. "
                f"Pass a list, or an object whose __iter__ starts anew."
            )
        self.goal, self.batches = goal, batches
        self.outputs: dict[Any, jax.ShapeDtypeStruct] = {}
        self.steps = len(batches) if isinstance(batches, Sized) else None

    def epoch(self, state: TrainState) -> Iterator[Position]:
        run: Run = state, empty_tally(self.goal, 0)._replace(record={})
        done, seen, series = 0, 0, []
        # Looking at the loss waits for the device, which is to run ahead: so not at every step.
        looked, before, recent = time.monotonic(), run, []
        for done, batch in enumerate(self.batches, 1):
            batch = jax.tree.map(jnp.asarray, self.check(done, state, batch))
            run, logs = batch_step(self.goal, *run, batch)
            recent.append(batch)
            seen += len(batch[0])
            if (done - 1) % self.goal.every == 0:
                series.append(logs)
            if time.monotonic() - looked > CALL_SECONDS:
                if diverged(run):
                    break
                looked, before, recent = time.monotonic(), run, []
            yield Position(done, seen, *run)
        if not done:
            raise ValueError("`data` must give at least one batch an epoch, got none. Refill it.")
        (state, tally), failure = run, None
        if diverged(run):
            calls = [partial(self.call, batch) for batch in recent]
            (state, tally), good = last_good(before, calls)
            failure = explain(self.goal, state, recent[good])
            done += good - len(recent)
        record = jax.tree.map(lambda *logs: jnp.stack(logs), *series)
        yield Position(done, seen, state, Tally(tally.sums, record), failure)

    def call(self, batch: Batch, run: Run) -> Run:
        return batch_step(self.goal, *run, batch)[0]

    def check(self, number: int, state: TrainState, batch: Any) -> tuple[Any, ...]:
        """Every new shape against the model; values where they are on the host, at hand."""
        batch = check_data(f"batch {number} of `data`", batch)
        x, y, *_ = batch
        kind = tuple((array.shape, array.dtype) for array in batch)
        if kind not in self.outputs:
            self.outputs[kind] = self.goal.check_shapes(
                state.params, state.model_state, batch, len(x)
            )
        for name, array in {"x": x, "y": y}.items():
            if isinstance(array, np.ndarray):
                check_finite(f"`{name}` of batch {number}", array)
        if isinstance(y, np.ndarray):
            self.goal.check_labels(y, self.outputs[kind])
        return batch


@partial(jax.jit, static_argnames="goal")
def batch_step(goal: Objective, state: TrainState, tally: Tally, batch: Batch) -> tuple[Run, Logs]:
    new, logs = step(goal, state, batch)
    tally = tallied(goal, tally, 0, len(batch[0]), logs)
    return (new, tally), {name: logs[name] for name in recorded(goal)}


def diverged(run: Run) -> bool:
    """Whether any loss so far was not finite: a sum that is not never is again."""
    return not np.isfinite(run[1].sums["loss"])


def last_good(run: Run, calls: Sequence[Callable[[Run], Run]]) -> tuple[Run, int]:
    """Where the run stands before the first call that diverges, and the number of that call."""
    for number, call in enumerate(calls):
        after = call(run)
        if diverged(after):
            return run, number
        run = after
    return run, len(calls) - 1  # on a device that is not deterministic


def is_batches(data: Any) -> bool:
    if isinstance(data, (tuple, list)):
        return bool(data) and isinstance(data[0], tuple)
    return isinstance(data, Iterable) and not hasattr(data, "shape") and not isinstance(data, dict)
