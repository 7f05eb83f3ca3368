"""Runs saved in a folder during training."""

import math
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from ..core.checks import check_count, check_path
from ..losses.monitor import Mode, Monitor
from ..training.state import TrainState
from .lock import sole_writer
from .state import read_run, write_run
from .tensor_file import CorruptFileError
from .trees import named, nested

Extra = dict[str, Any]  # a nested dict of the arrays that `fit` adds to the state


class Checkpoints:
    """A callback of `fit` that keeps the newest states of a run in a folder, one file each.

    `fit` saves in a thread while it trains, and once more when an interrupt, SIGTERM or an error
    stops it. With `resume="auto"` it resumes from the newest intact file, even within an epoch, and
    the result is the same to the bit. Files are written atomically, and an old one is deleted only
    once a new one is safe on the disk. A folder has one writer at a time.

    Args:
        directory: the folder; it is created if it does not exist.
        keep: how many files to keep.
        every: the number of steps between saves; by default, `fit` saves after each epoch.
        best: the name of a loss or metric, such as "val_loss": the state of the best epoch by it
            is kept beside the newest ones, for `checkpoints.best(like)`.
        mode: "min" where lower is better, "max" where higher is; by default as `best` has it.

    In your own loop, call the object: `checkpoints(epoch, state)` saves `state` and returns.

    Raises:
        ValueError: `keep` or `every` is below 1. Later: another run writes to the folder, or it
            holds a run and `resume` is not given.
        TypeError: `directory` is not a path.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp, fnet
        >>> net, x = fnet.dense(1), jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> data, options = (x, 3 * x), dict(epochs=3, progress=False)
        >>> checkpoints = fnet.Checkpoints(tempfile.mkdtemp(), keep=2)
        >>> trained, _ = fnet.fit(task, state, data, callbacks=[checkpoints], **options)
        >>> checkpoints.steps()
        [2, 3]
        >>> again, history = fnet.fit(
        ...     task, state, data, callbacks=[checkpoints], resume="auto", **options
        ... )  # the run is complete: nothing is trained
        >>> int(again.step), history["loss"].shape
        (3, (3,))
    """

    suffix = ".safetensors"
    directory: Path
    keep: int
    every: int | None
    monitor: Monitor | None

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep: int = 3,
        every: int | None = None,
        best: str | None = None,
        mode: Mode = None,
    ):
        self.directory = self.located(Path(check_path("directory", directory)))
        self.keep = check_count("keep", keep)
        self.every = None if every is None else check_count("every", every)
        self.monitor = None if best is None else Monitor(best, mode)

    def located(self, directory: Path) -> Path:
        return directory

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({str(self.directory)!r}, keep={self.keep}, every={self.every})"
        )

    def __call__(self, epoch: int, state: TrainState, logs: Any = None) -> None:
        with self.locked():
            self.write(state, {})

    def steps(self) -> list[int]:
        """The saved steps, in order."""
        paths = self.directory.glob(f"step-*{self.suffix}")
        names = (path.name for path in paths if self.is_one(path))
        numbers = (name.removeprefix("step-").removesuffix(self.suffix) for name in names)
        return sorted(int(number) for number in numbers if number.isdecimal())

    def path(self, step: int) -> Path:
        return self.directory / f"step-{step}{self.suffix}"

    def latest(self, like: TrainState) -> TrainState | None:
        """The newest intact state, in the form of `like`, or None if there is none.

        Raises:
            ValueError, TypeError: the state is of another model or optimizer.
        """
        found = self.read_latest(like)
        return None if found is None else found[0]

    def best(self, like: TrainState) -> TrainState | None:
        """The state of the best epoch, in the form of `like`, or None if there is none.

        Raises:
            CorruptFileError: the file is damaged.
            ValueError, TypeError: the state is of another model or optimizer.
        """
        path = self.directory / f"best{self.suffix}"
        return self.read(path, like)[0] if self.is_one(path) else None

    def write_best(self, state: TrainState) -> None:
        self.put(self.directory / f"best{self.suffix}", state, {})

    def read_latest(
        self, like: TrainState, until: float = math.inf
    ) -> tuple[TrainState, Extra] | None:
        for step in reversed([step for step in self.steps() if step <= until]):
            try:
                return self.read(self.path(step), like)
            except (CorruptFileError, OSError) as error:
                warnings.warn(
                    f"a checkpoint is skipped, and the one before it used: {error}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return None

    def read(self, path: Path, like: TrainState) -> tuple[TrainState, Extra]:
        state, extra, _ = read_run(path, like)
        return state, nested(extra)

    def write(self, state: TrainState, extra: Extra) -> None:
        """Save the state, then delete old checkpoints."""
        step = int(state.step)
        self.put(self.path(step), state, extra)
        older = [number for number in self.steps() if number <= step]
        for number in older[: -self.keep]:
            self.delete(self.path(number))

    def put(self, path: Path, state: TrainState, extra: Extra) -> None:
        write_run(path, state, named(extra), {})

    def is_one(self, path: Path) -> bool:
        return path.is_file()

    def delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out; the lock of a killed process is released."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with sole_writer(self.directory):
            for litter in self.directory.glob(".*.tmp"):  # of a killed process
                litter.unlink(missing_ok=True)
            yield


class Saver:
    """Writes checkpoints in a thread, one at a time; a failure only warns."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.thread: ThreadPoolExecutor = ThreadPoolExecutor(1, "checkpoints")
        self.going: Future[None] | None = None

    def save(self, state: TrainState, extra: Extra) -> None:
        self.submit(self.checkpoints.write, state, extra)

    def save_best(self, state: TrainState) -> None:
        self.submit(self.checkpoints.write_best, state)

    def submit(self, write: Callable[..., None], *arguments: Any) -> None:
        self.wait()
        self.going = self.thread.submit(write, *arguments)
        if jax.process_count() > 1:  # all processes must communicate in the same order
            self.wait()

    def wait(self) -> None:
        going, self.going = self.going, None
        if going is None:
            return
        try:
            going.result()
        except OSError as error:
            warnings.warn(
                f"a checkpoint could not be written, and training goes on: {error}. The newest is "
                f"that of step {max(self.checkpoints.steps(), default=None)}.",
                RuntimeWarning,
                stacklevel=2,
            )


@contextmanager
def saving(checkpoints: Checkpoints | None) -> Iterator[Saver | None]:
    if checkpoints is None:
        yield None
        return
    with checkpoints.locked():
        saver = Saver(checkpoints)
        try:
            yield saver
            saver.wait()
        finally:
            saver.thread.shutdown()
