"""Where `fit` takes its steps from: what all sources share, and arrays on the device.

No call donates its state, so that a call that went wrong can be taken again, a step at a time.
"""

import abc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..data.shuffle import epoch_order
from ..distributed.processes import as_first
from ..training.epochs import run_steps
from ..training.state import TrainState
from ..training.step import EpochSums, empty_sums
from ..training.task import Batch, Objective
from .nonfinite import explain, finite_leaves

CALL_SECONDS = 0.2  # of training in one call: the pace of the bar, and how long Ctrl-C waits

Run = tuple[TrainState, EpochSums]


class EpochState(NamedTuple):
    """An epoch on its way. It was looked at: what is in it is finite."""

    state: TrainState
    sums: EpochSums  # of the steps so far
    steps: int = 0  # done
    samples: int = 0  # whose losses are in the sums
    skipped: int = 0  # steps that were left out
    failure: str | None = None  # why the next step is not finite

    def after(self, run: Run, steps: int, samples: int) -> "EpochState":
        steps, samples = self.steps + steps, self.samples + samples
        return EpochState(*run, steps, samples, self.skipped)

    def without(self, sums: EpochSums) -> "EpochState":
        """The step counts, so that the order of samples goes on, and so does its record."""
        state = replace(self.state, step=self.state.step + 1)
        after = self.after((state, EpochSums(self.sums.totals, sums.record)), 1, 0)
        return after._replace(skipped=self.skipped + 1)


class Source(abc.ABC):
    """Epochs, given in positions: every CALL_SECONDS or so, and at each multiple of `every` steps.

    A step that is not finite is left out if `skip`, and ends the epoch otherwise.
    """

    def __init__(self, goal: Objective, skip: bool, every: int | None):
        self.goal, self.skip, self.every = goal, skip, every

    @property
    @abc.abstractmethod
    def steps(self) -> int | None:
        """How many an epoch has, where that is known."""

    @property
    @abc.abstractmethod
    def recorded_steps(self) -> int:
        """Those for which the sums of an epoch has room from its start on."""

    def begin(self, state: TrainState) -> EpochState:
        """The start of an epoch, its sums where the steps leave it: one program takes both."""
        sums = empty_sums(self.goal, self.recorded_steps)
        return EpochState(state, self.goal.devices.replicate(sums))

    @abc.abstractmethod
    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        """The rest of the epoch, or of it what is done before `stop()`."""

    def due(self, at: EpochState) -> float:
        """The step of the epoch at which the next position is wanted."""
        if self.every is None:
            return math.inf
        return at.steps + self.every - int(at.state.step) % self.every

    def accept_step(
        self, at: EpochState, run: Run, flags: jax.Array, samples: int, batch: Callable[[], Batch]
    ) -> EpochState:
        """One step further, if it may be taken."""
        if still_finite((at.state, at.sums), flags):
            return at.after(run, 1, samples)
        if self.skip:
            return at.without(run[1])
        return at._replace(failure=explain(self.goal, at.state, batch()))


class IndexedSource(Source):
    """Samples that are known by number, so that the order is ours; many steps a call."""

    def __init__(self, samples: int, batch_size: int, shuffle: bool, *how: Any):
        super().__init__(*how)
        self.samples, self.batch_size, self.shuffle = samples, batch_size, shuffle
        self.steps_a_call = 1

    @property
    def steps(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    @property
    def recorded_steps(self) -> int:
        return self.steps

    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        epoch, whole = (
            (int(at.state.step) - at.steps) // self.steps,
            self.samples // self.batch_size,
        )
        while at.steps < self.steps and not at.failure:
            # A smaller last batch is a program of its own, which the first call need not wait for.
            last = whole if at.steps < whole else self.steps
            last = min(last, self.ready(epoch, at))
            end = int(min(at.steps + self.steps_a_call, last, self.due(at)))
            began, steps = time.monotonic(), end - at.steps
            run, flags = self.call(epoch, at.steps, end, at)
            if still_finite((at.state, at.sums), flags):
                samples = sum(map(self.length, range(at.steps, end)))
                at = at.after(run, steps, samples)
                quick = as_first(time.monotonic() - began < CALL_SECONDS)
                if quick and steps == self.steps_a_call:
                    self.steps_a_call *= 2
            while at.steps < end and not at.failure:
                run, flags = self.call(epoch, at.steps, at.steps + 1, at)
                batch = partial(self.batch, at.state, epoch, at.steps)
                at = self.accept_step(at, run, flags, self.length(at.steps), batch)
            yield at
            if stop():
                return

    def length(self, index: int) -> int:
        return min(self.batch_size, self.samples - index * self.batch_size)

    @abc.abstractmethod
    def ready(self, epoch: int, at: EpochState) -> int:
        """The step up to which samples are at hand, of which there is at least one."""

    @abc.abstractmethod
    def call(self, epoch: int, start: int, stop: int, at: EpochState) -> tuple[Run, jax.Array]:
        """These steps, of one size."""

    @abc.abstractmethod
    def batch(self, state: TrainState, epoch: int, index: int) -> Batch:
        """That of one step."""


class Arrays(IndexedSource):
    """The whole of the data on the device."""

    def __init__(self, data: Batch, *how: Any):
        super().__init__(len(data[0]), *how)
        self.data = data

    def ready(self, epoch: int, at: EpochState) -> int:
        return self.steps

    def call(self, epoch: int, start: int, stop: int, at: EpochState) -> tuple[Run, jax.Array]:
        return array_steps(
            self.goal, at.state, at.sums, self.data, epoch, start, stop, self.batch_size,
            self.length(start), self.shuffle,
        )  # fmt: skip

    def batch(self, state: TrainState, epoch: int, index: int) -> Batch:
        size = self.samples
        order = epoch_order(state.key, epoch, size) if self.shuffle else jnp.arange(size)
        rows = order[index * self.batch_size :][: self.batch_size]
        return tuple(array[rows] for array in self.data)


@partial(jax.jit, static_argnames=("goal", "batch_size", "length", "shuffle"))
def array_steps(
    goal: Objective,
    state: TrainState,
    sums: EpochSums,
    data: Batch,
    epoch: jax.Array,
    start: jax.Array,
    stop: jax.Array,
    batch_size: int,
    length: int,
    shuffle: bool,
) -> tuple[Run, jax.Array]:
    run = run_steps(goal, state, sums, data, epoch, start, stop, batch_size, length, shuffle)
    return run, finite_leaves(run)


def still_finite(before: Run, flags: jax.Array) -> bool:
    """Whether all is finite that was: an optimizer of another library may start at infinity."""
    finite = np.asarray(flags)
    return bool(finite.all()) or not (np.asarray(finite_leaves(before)) & ~finite).any()
