"""Steps from an iterable of batches."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from itertools import chain, islice
from typing import Any

import jax
import numpy as np

from ..core.checks import check_finite_data
from ..data.batches import num_samples
from ..distributed.processes import HostBatches
from ..training.program import Program, training_values
from ..training.signature import signature_of
from ..training.state import TrainState
from ..training.step import EpochSums, Logs, add_step, recorded, step
from ..training.task import Batch, Task
from .nonfinite import finite_leaves
from .sources import CALL_SECONDS, EpochState, Run, Settings, Source, still_finite

STEPS_TOGETHER = 32  # between two checks, on many processes


class Batches(Source):
    """An iterable of batches, a step a call."""

    batches: Iterable[Any]
    task: Task

    def __init__(self, batches: Iterable[Any], state: TrainState, settings: Settings):
        self.batches, self.task = batches, settings.program.task
        self.seen: set[Any] = set()  # shapes that were checked
        opened = iter(batches)
        first = list(islice(self.given(opened), 1))
        if not first:
            raise ValueError("`data` must give at least one batch, got none. Refill it.")
        self.opened: Iterator[Any] | None = chain(first, opened)
        batch = self.check(1, state, first[0])
        values = training_values(self.task, state.params, state.model_state, batch, state.key)
        super().__init__(values, num_samples(batch), settings)

    @property
    def steps(self) -> int | None:
        try:
            return len(self.batches) if isinstance(self.batches, Sized) else None
        except TypeError:  # of torch and TensorFlow, where the length is not known
            return None

    @property
    def recorded_steps(self) -> int:
        return 0

    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        # Checking a step waits for the device, which should run ahead: so not at every step.
        run, recent, looked = without_record(at), [], time.monotonic()
        next_save, take = self.next_save(at), step_in_place if self.ignores else batch_step
        try:
            for number, batch in enumerate(self.given(self.begun(at)), 1):
                if number <= at.steps:
                    continue  # taken before the run was resumed
                batch = self.program.devices.shard_batch(self.check(number, run[0], batch))
                run, logs = take(self.program, *run, batch)
                recent.append((batch, logs))
                stopped, late = stop(), time.monotonic() - looked > CALL_SECONDS
                if jax.process_count() > 1:  # they must check the same steps, or wait for ever
                    late = len(recent) == STEPS_TOGETHER
                if stopped or late or number == next_save:
                    at, recent = self.look(at, run, recent), []
                    yield at
                    if at.failure or stop():
                        return
                    run, looked = without_record(at), time.monotonic()
                    next_save = self.next_save(at)
        except Exception:
            if recent:
                yield self.look(at, run, recent)
            raise
        if recent:
            yield self.look(at, run, recent)
        elif not at.steps:
            raise ValueError("`data` must give at least one batch an epoch, got none. Refill it.")

    def given(self, batches: Iterator[Any]) -> Iterator[Any]:
        number = 0
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

    def begun(self, at: EpochState) -> Iterator[Any]:
        """An epoch's batches; those of the first epoch were opened when the run was checked."""
        opened, self.opened = self.opened, None
        if not isinstance(self.batches, HostBatches):
            return opened or iter(self.batches)
        return self.batches.epoch((int(at.state.step) - at.steps) // len(self.batches))

    def look(self, at: EpochState, run: Run, recent: list[tuple[Batch, Logs]]) -> EpochState:
        """The state after these batches; a step at a time if they left what is not finite."""
        first, record, done = at.steps, at.sums.record, [logs for _, logs in recent]
        at = at._replace(sums=without_record(at)[1])
        if self.ignores or still_finite((at.state, at.sums), finite_leaves(run)):
            at = at.after(
                jax.block_until_ready(run),
                len(recent),
                sum(num_samples(batch) for batch, _ in recent),
            )
        else:
            done = []
            for batch, _ in recent:
                one, logs = batch_step(self.program, at.state, at.sums, batch)
                at = self.accept_step(
                    at,
                    one,
                    finite_leaves(one),
                    num_samples(batch),
                    partial(lambda batch: batch, batch),
                )
                if at.failure:
                    break
                done.append(logs)
        kept = jax.device_get(done[-first % self.program.record_every :: self.program.record_every])
        record = {
            name: np.append(series, [logs[name] for logs in kept]).astype(series.dtype)
            for name, series in record.items()
        }
        return at._replace(sums=at.sums._replace(record=record))

    def check(self, number: int, state: TrainState, batch: Any) -> Batch:
        """Check every new shape against the task, and values where they are on the host."""
        refuse_sample(number, batch)
        task, what = self.task, f"batch {number} of `data`"
        batch = task.check_data(what, batch)
        kind = signature_of(batch)
        if kind not in self.seen:
            training_values(task, state.params, state.model_state, batch, state.key)
            self.seen.add(kind)
        on_host = jax.tree.map(lambda a: a if isinstance(a, np.ndarray) else None, batch)
        check_finite_data(f"batch {number}", on_host)
        for part in self.at_hand(batch):
            task.check_values(what, state.params, state.model_state, part)
        return batch

    def at_hand(self, batch: Batch) -> list[Batch]:
        """The batch if its numbers are on the host; of a batch for many processes our own parts."""
        leaves, structure = jax.tree.flatten(batch)
        if isinstance(self.batches, HostBatches):
            shards = zip(*(leaf.addressable_shards for leaf in leaves), strict=True)
            return [jax.tree.unflatten(structure, [part.data for part in own]) for own in shards]
        return [batch] if any(isinstance(leaf, np.ndarray) for leaf in leaves[1:]) else []


def take_step(
    program: Program, state: TrainState, sums: EpochSums, batch: Batch
) -> tuple[Run, Logs]:
    new, values = step(program, state, batch)
    sums = add_step(program, sums, 0, num_samples(batch), values)
    return (new, sums), recorded(program, values)


batch_step: Any = jax.jit(take_step, static_argnames="program")
# In the memory of the state, which is gone then.
step_in_place: Any = jax.jit(take_step, static_argnames="program", donate_argnames="state")


def without_record(at: EpochState) -> Run:
    return at.state, EpochSums(at.sums.totals, {})


def is_batches(data: Any) -> bool:
    """Whether data is an iterable of batches; a tuple or a dict is a tree, and so is a pair."""
    if isinstance(data, list):
        return bool(data) and all(isinstance(batch, (tuple, dict)) for batch in data)
    if isinstance(data, tuple):
        return False
    return isinstance(data, Iterable) and not hasattr(data, "shape") and not isinstance(data, dict)


def check_batches(batches: Iterable[Any], epochs: int, split: float) -> None:
    if split:
        raise ValueError(
            f"`validation_split` must be 0 without arrays to split, got {split} and an iterable of "
            f"batches. Pass `validation` instead."
        )
    if epochs > 1 and iter(batches) is batches:
        raise ValueError(
            f"`data` must be an iterable that can be iterated {epochs} times, got a "
            f"{type(batches).__name__}, which is empty after the first. "
            f"Pass a list, or an object whose __iter__ starts anew."
        )


def refuse_sample(number: int, batch: Any) -> None:
    if isinstance(batch, (tuple, list)) and len(batch) > 1 and not np.ndim(batch[1]):
        raise ValueError(
            f"`data` must give batches where it is an iterable, got one sample "
            f"in place of batch {number}, since its label has no axis. Put samples together, or "
            f"pass an object with __len__ and __getitem__ but no __iter__, to look them up in."
        )
