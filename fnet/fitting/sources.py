"""What all sources of steps share: they yield an epoch as a series of checked states.

A call keeps the state that it starts from, so one that leaves what is not finite can be repeated
step by step. Where that is ignored the call is given the state's memory instead.
"""

import abc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..data.batches import Samples
from ..distributed.processes import as_first
from ..training.epochs import run_steps
from ..training.program import Program, Value
from ..training.state import TrainState
from ..training.step import EpochSums, empty_sums, on_devices
from ..training.task import Batch
from .nonfinite import explain, finite_leaves

CALL_SECONDS = 0.2  # of training in one call: how often the bar moves, how long Ctrl-C waits
# Steps in a loop of known length. Where it is not known, the host stops a GPU at each turn to read
# whether there is another; a TPU gathers the rows of a block before its loop.
BLOCK = {"gpu": 32, "tpu": 32}

Run = tuple[TrainState, EpochSums]


@dataclass(frozen=True)
class Settings:
    """How to take the steps of a run, from any source."""

    program: Program
    batch_size: int | None
    shuffle: bool
    on_nonfinite: str  # stop, raise, skip or ignore
    save_every: int | None  # steps


class Segment(NamedTuple):
    """Some steps of an epoch, and the data on the device that holds their samples."""

    data: Samples
    start: int  # the step that begins with the first row
    stop: int
    order: jax.Array | None  # the rows of the data in the order of their use, if that is another


class EpochState(NamedTuple):
    """An epoch in progress, checked: everything in it is finite."""

    state: TrainState
    sums: EpochSums  # of the steps so far
    steps: int = 0  # done
    samples: int = 0  # in the sums
    skipped: int = 0  # steps
    failure: str | None = None  # why the next step is not finite

    def after(self, run: Run, steps: int, samples: int) -> "EpochState":
        steps, samples = self.steps + steps, self.samples + samples
        return EpochState(*run, steps, samples, self.skipped)

    def without(self, sums: EpochSums) -> "EpochState":
        """Skip a step: it counts, so that the order of samples and the record stay aligned."""
        state = replace(self.state, step=self.state.step + 1)
        after = self.after((state, EpochSums(self.sums.totals, sums.record)), 1, 0)
        return after._replace(skipped=self.skipped + 1)


class Source(abc.ABC):
    """Yields states of an epoch: every CALL_SECONDS or so, and whenever one must be saved."""

    settings: Settings
    program: Program
    places: int | None

    def __init__(self, values: tuple[Value, ...], samples: int, settings: Settings):
        self.settings, self.program = settings, settings.program.with_values(values)
        # A sum for each place in a batch of so many samples; each of many processes reads them all.
        self.places = samples if jax.process_count() == 1 else None

    @property
    def ignores(self) -> bool:
        """Whether steps go on from what is not finite, so that no state is kept."""
        return self.settings.on_nonfinite == "ignore"

    @property
    @abc.abstractmethod
    def steps(self) -> int | None:
        """The number of steps an epoch has, if it is known."""

    @property
    @abc.abstractmethod
    def recorded_steps(self) -> int:
        """The number of steps that the sums of an epoch have room to record."""

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed run must share."""
        return {}

    def begin(self, state: TrainState) -> EpochState:
        """The start of an epoch, with sums on the devices on which steps leave them."""
        sums = empty_sums(self.program, self.recorded_steps, self.places)
        return EpochState(state, on_devices(self.program, sums))

    @abc.abstractmethod
    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        """The rest of the epoch, up to `stop()`."""

    def next_save(self, at: EpochState) -> float:
        """The step of the epoch after which to save the run."""
        every = self.settings.save_every
        if every is None:
            return math.inf
        return at.steps + every - int(at.state.step) % every

    def accept_step(
        self, at: EpochState, run: Run, flags: jax.Array, samples: int, batch: Callable[[], Batch]
    ) -> EpochState:
        """Take one step if it is finite; otherwise skip it or fail."""
        if still_finite((at.state, at.sums), flags):
            return at.after(run, 1, samples)
        if self.settings.on_nonfinite == "skip":
            return at.without(run[1])
        return at._replace(failure=explain(self.program.task, at.state, batch()))


class IndexedSource(Source):
    """Samples with numbers, which fnet puts in order; many steps a call."""

    samples: int
    batch_size: int
    steps_a_call: int

    def __init__(
        self, samples: int, batch_size: int, values: tuple[Value, ...], settings: Settings
    ):
        super().__init__(values, batch_size, settings)
        self.samples, self.batch_size = samples, batch_size
        self.steps_a_call = 1

    @property
    def steps(self) -> int:
        return math.ceil(self.samples / self.batch_size)

    @property
    def recorded_steps(self) -> int:
        return self.steps

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "samples": self.samples,
            "batch_size": self.batch_size,
            "shuffle": self.settings.shuffle,
        }

    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        while at.steps < self.steps and not at.failure:
            at = self.advance(at)
            yield at
            if stop():
                return

    def number(self, at: EpochState) -> int:
        """Of the epoch, from 0 on."""
        return (int(at.state.step) - at.steps) // self.steps

    def advance(self, at: EpochState) -> EpochState:
        """One call further, or a step at a time where it leaves what is not finite."""
        # A smaller last batch is another program; the first call need not wait for its compilation.
        whole = self.samples // self.batch_size
        last = whole if at.steps < whole else self.steps
        segment = self.segment(at)
        end = int(min(at.steps + self.steps_a_call, last, segment.stop, self.next_save(at)))
        end -= (end - at.steps) % self.block(at, end)
        began, steps = time.monotonic(), end - at.steps
        if self.ignores:
            run, good = self.call_in_place(segment, at, end), True
        else:
            run, flags = self.call(segment, at, end)
            good = still_finite((at.state, at.sums), flags)
        if good:
            samples = sum(map(self.length, range(at.steps, end)))
            at = at.after(run, steps, samples)
            quick = as_first(time.monotonic() - began < CALL_SECONDS)
            if quick and steps == self.steps_a_call:
                self.steps_a_call *= 2
        while at.steps < end and not at.failure:
            run, flags = self.call(segment, at, at.steps + 1)
            batch = partial(self.batch, segment, at)
            at = self.accept_step(at, run, flags, self.length(at.steps), batch)
        return at

    def length(self, index: int) -> int:
        return min(self.batch_size, self.samples - index * self.batch_size)

    @abc.abstractmethod
    def segment(self, at: EpochState) -> Segment:
        """The steps whose samples are in memory, including the next one."""

    def call(self, segment: Segment, at: EpochState, stop: int) -> tuple[Run, jax.Array]:
        """The steps up to `stop`, all of one size, and what is finite after them."""
        return segment_steps(
            self.program, at.state, at.sums, segment.data, segment.order, segment.start, at.steps,
            stop, self.batch_size, self.length(at.steps), self.block(at, stop),
        )  # fmt: skip

    def call_in_place(self, segment: Segment, at: EpochState, stop: int) -> Run:
        """The same unchecked, in the memory of the state."""
        run = steps_in_place(
            self.program, at.state, at.sums, segment.data, segment.order, at.steps, stop,
            self.batch_size, self.length(at.steps), segment.start, self.block(at, stop),
        )  # fmt: skip
        return jax.block_until_ready(run)

    def block(self, at: EpochState, stop: int) -> int:
        """Blocks are another program, compiled when the calls have grown to it."""
        block = BLOCK.get(self.program.devices.platform, 1)
        return block if stop - at.steps >= block else 1

    def batch(self, segment: Segment, at: EpochState) -> Batch:
        """The batch of the next step."""
        first = (at.steps - segment.start) * self.batch_size
        rows = np.arange(first, first + self.length(at.steps))
        if segment.order is not None:
            rows = np.asarray(segment.order)[rows]
        return segment.data.take(rows)


@partial(jax.jit, static_argnames=("program", "batch_size", "length", "block"))
def segment_steps(
    program: Program,
    state: TrainState,
    sums: EpochSums,
    data: Samples,
    order: jax.Array | None,
    first: jax.Array,
    start: jax.Array,
    stop: jax.Array,
    batch_size: int,
    length: int,
    block: int,
) -> tuple[Run, jax.Array]:
    run = run_steps(
        program, state, sums, data, order, start, stop, batch_size, length, first, block
    )
    return run, finite_leaves(run)


# Unchecked, in the memory of the state, which is gone then.
steps_in_place: Any = jax.jit(
    run_steps,
    static_argnames=("program", "batch_size", "length", "block"),
    donate_argnames="state",
)


def still_finite(before: Run, flags: jax.Array) -> bool:
    """Whether everything finite before still is; some optimizers of optax start at infinity."""
    finite = np.asarray(flags)
    return bool(finite.all()) or not (np.asarray(finite_leaves(before)) & ~finite).any()
