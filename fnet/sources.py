"""Where `fit` takes its steps from: arrays on the device, or an iterable of batches.

No call donates its state, so that a call that went wrong can be taken again, a step at a time.
"""

import abc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .checks import check_data, check_finite
from .data import epoch_order
from .diagnosis import explain, finite_leaves
from .hosts import HostBatches, as_first
from .objective import Batch, Objective
from .running import Logs, Tally, empty_tally, recorded, run_steps, step, tallied
from .state import TrainState

CALL_SECONDS = 0.2  # of training in one call: the pace of the bar, and how long Ctrl-C waits
STEPS_TOGETHER = 32  # between two looks where there are many processes

Run = tuple[TrainState, Tally]


class Position(NamedTuple):
    """An epoch on its way. It was looked at: what is in it is finite."""

    state: TrainState
    tally: Tally  # of the steps so far
    steps: int = 0  # done
    samples: int = 0  # whose losses are in the tally
    skipped: int = 0  # steps that were left out
    failure: str | None = None  # why the next step is not finite

    def after(self, run: Run, steps: int, samples: int) -> "Position":
        steps, samples = self.steps + steps, self.samples + samples
        return Position(*run, steps, samples, self.skipped)

    def without(self, tally: Tally) -> "Position":
        """The step counts, so that the order of samples goes on, and so does its record."""
        state = replace(self.state, step=self.state.step + 1)
        after = self.after((state, Tally(self.tally.sums, tally.record)), 1, 0)
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
        """Those for which the tally of an epoch has room from its start on."""

    def begin(self, state: TrainState) -> Position:
        """The start of an epoch, its tally where the steps leave it: one program takes both."""
        tally = empty_tally(self.goal, self.recorded_steps)
        return Position(state, self.goal.devices.copied(tally))

    @abc.abstractmethod
    def epoch(self, at: Position, stop: Callable[[], bool]) -> Iterator[Position]:
        """The rest of the epoch, or of it what is done before `stop()`."""

    def due(self, at: Position) -> float:
        """The step of the epoch at which the next position is wanted."""
        if self.every is None:
            return math.inf
        return at.steps + self.every - int(at.state.step) % self.every

    def judged(
        self, at: Position, run: Run, flags: jax.Array, samples: int, batch: Callable[[], Batch]
    ) -> Position:
        """One step further, if it may be taken."""
        if held((at.state, at.tally), flags):
            return at.after(run, 1, samples)
        if self.skip:
            return at.without(run[1])
        return at._replace(failure=explain(self.goal, at.state, batch()))


class Numbered(Source):
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

    def epoch(self, at: Position, stop: Callable[[], bool]) -> Iterator[Position]:
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
            if held((at.state, at.tally), flags):
                samples = sum(map(self.length, range(at.steps, end)))
                at = at.after(run, steps, samples)
                quick = as_first(time.monotonic() - began < CALL_SECONDS)
                if quick and steps == self.steps_a_call:
                    self.steps_a_call *= 2
            while at.steps < end and not at.failure:
                run, flags = self.call(epoch, at.steps, at.steps + 1, at)
                batch = partial(self.batch, at.state, epoch, at.steps)
                at = self.judged(at, run, flags, self.length(at.steps), batch)
            yield at
            if stop():
                return

    def length(self, index: int) -> int:
        return min(self.batch_size, self.samples - index * self.batch_size)

    @abc.abstractmethod
    def ready(self, epoch: int, at: Position) -> int:
        """The step up to which samples are at hand, of which there is at least one."""

    @abc.abstractmethod
    def call(self, epoch: int, start: int, stop: int, at: Position) -> tuple[Run, jax.Array]:
        """These steps, of one size."""

    @abc.abstractmethod
    def batch(self, state: TrainState, epoch: int, index: int) -> Batch:
        """That of one step."""


class Arrays(Numbered):
    """The whole of the data on the device."""

    def __init__(self, data: Batch, *how: Any):
        super().__init__(len(data[0]), *how)
        self.data = data

    def ready(self, epoch: int, at: Position) -> int:
        return self.steps

    def call(self, epoch: int, start: int, stop: int, at: Position) -> tuple[Run, jax.Array]:
        return array_steps(
            self.goal, at.state, at.tally, self.data, epoch, start, stop, self.batch_size,
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
    tally: Tally,
    data: Batch,
    epoch: jax.Array,
    start: jax.Array,
    stop: jax.Array,
    batch_size: int,
    length: int,
    shuffle: bool,
) -> tuple[Run, jax.Array]:
    run = run_steps(goal, state, tally, data, epoch, start, stop, batch_size, length, shuffle)
    return run, finite_leaves(run)


class Batches(Source):
    """An iterable of batches, a step a call."""

    def __init__(self, batches: Iterable[Any], *how: Any):
        super().__init__(*how)
        self.batches = batches
        self.outputs: dict[Any, jax.ShapeDtypeStruct] = {}

    @property
    def steps(self) -> int | None:
        return len(self.batches) if isinstance(self.batches, Sized) else None

    @property
    def recorded_steps(self) -> int:
        return 0

    def epoch(self, at: Position, stop: Callable[[], bool]) -> Iterator[Position]:
        # Looking at a step waits for the device, which is to run ahead: so not at every one.
        run, recent, looked = without_record(at), [], time.monotonic()
        try:
            for number, batch in enumerate(self.given(at), 1):
                if number <= at.steps:
                    continue  # it was taken before this run was resumed
                batch = self.goal.devices.spread(self.check(number, at.state, batch))
                run, logs = batch_step(self.goal, *run, batch)
                recent.append((batch, logs))
                stopped, late = stop(), time.monotonic() - looked > CALL_SECONDS
                if jax.process_count() > 1:  # which look at the same steps, or wait for ever
                    late = len(recent) == STEPS_TOGETHER
                if stopped or late or number == self.due(at):
                    at, recent = self.look(at, run, recent), []
                    yield at
                    if at.failure or stop():
                        return
                    run, looked = without_record(at), time.monotonic()
        except Exception:
            if recent:
                yield self.look(at, run, recent)
            raise
        if recent:
            yield self.look(at, run, recent)
        elif not at.steps:
            raise ValueError("`data` must give at least one batch an epoch, got none. Refill it.")

    def given(self, at: Position) -> Iterator[Any]:
        batches, number = self.begun(at), 0
        while True:
            number += 1
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                error.add_note(f"raised by `data` in place of batch {number} of the epoch")
                raise
            yield batch

    def begun(self, at: Position) -> Iterator[Any]:
        if not isinstance(self.batches, HostBatches):
            return iter(self.batches)
        return self.batches.epoch((int(at.state.step) - at.steps) // len(self.batches))

    def look(self, at: Position, run: Run, recent: list[tuple[Batch, Logs]]) -> Position:
        """The position after these batches; a step at a time if they left what is not finite."""
        first, record, done = at.steps, at.tally.record, [logs for _, logs in recent]
        at = at._replace(tally=without_record(at)[1])
        if held((at.state, at.tally), finite_leaves(run)):
            at = at.after(run, len(recent), sum(len(batch[0]) for batch, _ in recent))
        else:
            done = []
            for batch, _ in recent:
                one, logs = batch_step(self.goal, at.state, at.tally, batch)
                at = self.judged(at, one, finite_leaves(one), len(batch[0]), partial(tuple, batch))
                if at.failure:
                    break
                done.append(logs)
        kept = jax.device_get(done[-first % self.goal.every :: self.goal.every])
        record = {
            name: np.append(series, [logs[name] for logs in kept]).astype(series.dtype)
            for name, series in record.items()
        }
        return at._replace(tally=at.tally._replace(record=record))

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


def without_record(at: Position) -> Run:
    return at.state, Tally(at.tally.sums, {})


def held(before: Run, flags: jax.Array) -> bool:
    """Whether all is finite that was: an optimizer of another library may start at infinity."""
    finite = np.asarray(flags)
    return bool(finite.all()) or not (np.asarray(finite_leaves(before)) & ~finite).any()


def is_batches(data: Any) -> bool:
    if isinstance(data, (tuple, list)):
        return bool(data) and isinstance(data[0], tuple)
    return isinstance(data, Iterable) and not hasattr(data, "shape") and not isinstance(data, dict)
