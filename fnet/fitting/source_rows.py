"""Steps from data larger than memory: rows, read in chunks."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.checks import check_batch_size, check_finite_data
from ..core.trees import Tree
from ..data.batches import Samples
from ..data.random_access import RandomAccessData, native
from ..data.shuffle import index_shuffle
from ..training.program import training_values
from ..training.signature import abstract, batch_like
from ..training.state import TrainState
from ..training.task import Batch
from .sources import EpochState, IndexedSource, Segment, Settings

CHUNK_BYTES = 2**24  # in whole batches, at least one
LOOKS = 16  # reads a chunk: each has a price, and what it brings should fit a cache


class Chunk(NamedTuple):
    """The rows of some steps in their order, on the device."""

    data: Samples
    start: int  # the first of the steps
    stop: int
    error: Exception | None  # why it ends early


class Rows(IndexedSource):
    """A double-buffered reader: while one chunk is used, the next, up to twice as long, is read."""

    rows: RandomAccessData
    trees: tuple[Tree, Tree]
    like: Batch
    steps_a_chunk: int
    steps_a_look: int
    ended: threading.Event
    thread: ThreadPoolExecutor

    def __init__(self, rows: RandomAccessData, state: TrainState, settings: Settings):
        self.rows, task = rows, settings.program.task
        self.trees = abstract(state.params), abstract(state.model_state)
        batch_size = check_batch_size(settings.batch_size, rows.samples)
        ends = task.check_data("`data`", rows.ends)
        values = training_values(task, *self.trees, batch_like(ends, batch_size), state.key)
        super().__init__(rows.samples, batch_size, values, settings)
        self.like = self.checked(np.array([0]))
        row = sum(array.size * native(array.dtype).itemsize for array in jax.tree.leaves(self.like))
        steps = CHUNK_BYTES // (row * batch_size)
        self.steps_a_chunk = min(max(steps, 1), self.steps)
        self.steps_a_look = max(self.steps_a_chunk // LOOKS, 1)
        self.chunk: Chunk | None = None
        self.coming: Future[Chunk] | None = None
        self.ended = threading.Event()

    def epoch(self, at: EpochState, stop: Callable[[], bool]) -> Iterator[EpochState]:
        self.ended.clear()
        with ThreadPoolExecutor(1, "rows") as self.thread:
            try:
                yield from super().epoch(at, stop)
            finally:
                self.ended.set()
                self.chunk = self.coming = None

    def segment(self, at: EpochState) -> Segment:
        if self.chunk is None or at.steps == self.chunk.stop:
            self.chunk = None  # before the one after the next is read: two are enough
            try:
                if self.coming is None:  # the device waits for this one, so it is short
                    self.coming = self.submit(at, at.steps, self.steps_a_look)
                self.chunk = self.coming.result()
            except Exception as error:
                error.add_note(
                    f"in place of batch {at.steps + 1} of the epoch, before step {at.state.step}; "
                    f"what was trained until then is saved where `callbacks` hold Checkpoints"
                )
                raise
            self.coming = self.following(self.chunk, at)
        return Segment(self.chunk.data, self.chunk.start, self.chunk.stop, order=None)

    def following(self, chunk: Chunk, at: EpochState) -> Future[Chunk] | None:
        if chunk.error:
            failed: Future[Chunk] = Future()
            failed.set_exception(chunk.error)
            return failed
        twice = 2 * (chunk.stop - chunk.start)
        return self.submit(at, chunk.stop, twice) if chunk.stop < self.steps else None

    def submit(self, at: EpochState, start: int, steps: int) -> Future[Chunk]:
        """Start to read the chunk from here; the device computes its order before it is busy."""
        stop = min(start + min(steps, self.steps_a_chunk), self.steps)
        rows = start * self.batch_size + np.arange(self.steps_a_chunk * self.batch_size)
        rows = np.minimum(rows, self.samples - 1)
        if self.settings.shuffle:
            key, epoch = at.state.key, self.number(at)
            rows = np.asarray(shuffled(key, jnp.asarray(rows), epoch, self.samples))
        return self.thread.submit(self.read, rows, start, stop)

    def read(self, rows: np.ndarray, start: int, stop: int) -> Chunk:
        """Read a chunk, in the thread; it ends before a batch that cannot be read."""
        buffers = jax.tree.map(
            lambda a: np.empty((len(rows), *a.shape[1:]), native(a.dtype)), self.like
        )
        step, together, error = start, self.steps_a_look, None
        while step < stop and not self.ended.is_set():
            end = min(step + together, stop)
            first, last = (step - start) * self.batch_size, (end - 1 - start) * self.batch_size
            part = slice(first, last + self.length(end - 1))
            try:
                batch = self.checked(rows[part])
            except Exception as caught:
                if together > 1:
                    together = 1  # to find which one it is, and to train those before it
                    continue
                if step == start:
                    raise
                stop, error = step, caught
                break
            for buffer, array in zip(*map(jax.tree.leaves, (buffers, batch)), strict=True):
                buffer[part] = array
            step = end
        samples = self.program.devices.replicate(Samples.of(buffers))
        return Chunk(jax.block_until_ready(samples), start, stop, error)

    def checked(self, rows: np.ndarray) -> Batch:
        """The batch, its values checked; an error names the bad row."""
        batch = self.rows.read(rows)
        try:
            return self.good(batch)
        except ValueError:
            for i, row in enumerate(rows):
                try:
                    self.good(jax.tree.map(lambda array, i=i: array[i : i + 1], batch))
                except ValueError as error:
                    raise ValueError(f"row {row} of `data`: {error}") from None
            raise

    def good(self, batch: Batch) -> Batch:
        """The batch as the task takes it, its values checked."""
        batch = self.program.task.check_data("`data`", batch)
        check_finite_data("", batch)
        self.program.task.check_values("`data`", *self.trees, batch)
        return batch


@partial(jax.jit, static_argnames="size")
def shuffled(key: jax.Array, rows: jax.Array, epoch: int, size: int) -> jax.Array:
    return index_shuffle(key, rows, size, epoch)
