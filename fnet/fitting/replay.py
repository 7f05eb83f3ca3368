"""A saved run, looked at again: the state before any of its steps, and the batch of that step."""

import math
from typing import Any

import jax
import numpy as np

from ..core.checks import check_batch_size, check_data, check_split, is_integer
from ..core.values import describe
from ..data.batches import num_samples
from ..data.random_access import RandomAccessData, is_random_access
from ..distributed.sharding import devices_of
from ..files.checkpoints import Checkpoints
from ..training.program import make_program
from ..training.state import TrainState, check_state
from ..training.task import Task
from .fit import copied
from .open_source import open_source
from .source_batches import is_batches
from .source_rows import shuffled
from .sources import Settings, Source


def replay(
    task: Task,
    checkpoints: Checkpoints,
    data: Any,
    step: int,
    *,
    start: TrainState,
    validation_split: float = 0.0,
) -> TrainState:
    """The state before any step of a saved run of `fit`, bit for bit.

    It is read where it was saved. Otherwise the steps of `fit` are taken again from the nearest
    checkpoint before it, or from the start of the run. Batch size and order are those of the run,
    which its checkpoints hold. What callbacks change after an epoch is only in the checkpoint of
    its end: keep those of all epochs if there are such callbacks.

    Args:
        task: that of the run.
        checkpoints: the `fnet.Checkpoints` of the run; its folder is only read.
        data: that of the run: a tree of arrays, rows by number, or None, as for `fit`.
        step: before which step, from that of `start` to the last one saved.
        start: the state in which the run started.
        validation_split: as in the run.

    Returns:
        The state before that step, on one device.

    Raises:
        ValueError: a folder without a run of `fit`, a step outside of the run, a `start` that is
            not that of the run, data of another length or of an iterable, which has no rows by
            number, or an optimizer that a callback changed on the way.
        TypeError: `checkpoints` is not a Checkpoints, or the state is of another model.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp, fnet
        >>> x = jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> task, data = fnet.supervised(fnet.dense(1), "mean_squared_error"), (x, 3 * x)
        >>> start = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (1,))
        >>> checkpoints = fnet.Checkpoints(tempfile.mkdtemp())
        >>> _, history = fnet.fit(
        ...     task, start, data, epochs=3, batch_size=8, callbacks=[checkpoints],
        ...     record=["loss"], progress=False,
        ... )
        >>> state = fnet.replay(task, checkpoints, data, 6, start=start)
        >>> rows, batch = fnet.batch_of(state, data, batch_size=8)
        >>> _, logs = jax.jit(fnet.train_step(task))(state, batch)
        >>> bool(logs["loss"] == history["record"]["loss"][6])
        True
    """
    check_state(start)
    if not isinstance(checkpoints, Checkpoints):
        raise TypeError(
            f"`checkpoints` must be the Checkpoints of a run, got {describe(checkpoints)}. Write "
            f"fnet.Checkpoints(directory)."
        )
    check_numbered(data)
    check_saved(checkpoints, step, int(start.step))
    found = checkpoints.read_latest(start, step)
    known = found or checkpoints.read_latest(start)
    if known is None:
        raise ValueError(
            f"`checkpoints` must hold an intact file, got only damaged ones in "
            f"{checkpoints.directory}. Run again, from `start`."
        )
    about = known[1].get("about", {})
    check_start(checkpoints, about, start)
    state, place = (found[0], found[1]["place"]) if found else (start, {})
    source = source_of(task, state, data, known[1], step, validation_split)

    at = source.begin(source.program.devices.shard_state(copied(state)))
    at = at._replace(steps=int(place.get("steps", 0)))
    epoch_ends = False

    def there() -> bool:
        return int(at.state.step) == step

    while not there():
        if at.steps == source.steps:
            at, epoch_ends = source.begin(at.state), True
        for after in source.epoch(at, there):
            at = after
    if epoch_ends or at.steps == source.steps:
        check_optimizer(checkpoints, at.state, start)
    return at.state


def check_numbered(data: Any) -> None:
    """Refuse an iterable of batches."""
    if is_batches(data) and not is_random_access(data):
        raise ValueError(
            f"`data` must have rows with numbers, got {describe(data)}, an iterable. Pass arrays, "
            f"or an object with rows by number."
        )


def check_saved(checkpoints: Checkpoints, step: int, first: int) -> None:
    """Refuse a folder without checkpoints, and a step that they do not reach."""
    saved = checkpoints.steps()
    if not saved:
        raise ValueError(
            f"`checkpoints` must hold a run, got {checkpoints.directory}, where there is none. "
            f"Pass fnet.Checkpoints(directory) to the `callbacks` of fit first."
        )
    if not is_integer(step, first) or step > saved[-1]:
        raise ValueError(
            f"`step` must be one of the run, from {first} to {saved[-1]}, the last one that is "
            f"saved, got {step!r}. Pass `start` as it was given to fit, or another step."
        )


def check_start(checkpoints: Checkpoints, about: dict[str, Any], start: TrainState) -> None:
    """Refuse a run whose steps cannot be taken again, and a start of another one."""
    if "samples" not in about:
        was = "batches of an iterable, which have no numbers" if about else "no run of `fit`"
        raise ValueError(
            f"`checkpoints` must hold a run of `fit` over arrays, rows by number or None, got "
            f"{was} in {checkpoints.directory}. Continue from checkpoints.latest(start) instead."
        )
    key = np.asarray(jax.random.key_data(start.key))
    if int(about["first_step"]) != int(start.step) or (about["key"] != key).any():
        raise ValueError(
            f"`start` must be the state in which the run started, at step {about['first_step']} "
            f"with key {about['key'].tolist()}, got step {start.step} and key {key.tolist()}. Make "
            f"it as it was made for fit."
        )


def source_of(
    task: Task, state: TrainState, data: Any, run: dict[str, Any], step: int, split: float
) -> Source:
    """The steps of the run, up to the step where to stop."""
    about = run["about"]
    samples, batch_size = int(about["samples"]), int(about["batch_size"])
    # A run that goes on after a step that is not finite is one that ignores it, or counts it.
    on_nonfinite = "skip" if "skipped" in run["history"] else "ignore"
    program = make_program(task, (), 1, devices_of(state.params, None, None))
    # Steps that are multiples of `step` are saved, and that is where a call ends.
    settings = Settings(program, batch_size, bool(about["shuffle"]), on_nonfinite, max(step, 1))
    steps = samples if data is None else None
    source, _ = open_source(data, steps, state, 1, None, split, settings)
    if source.identity["samples"] != samples:
        raise ValueError(
            f"`data` must be that of the run, {samples} samples, got "
            f"{source.identity['samples']}. Pass what fit was given, with its `validation_split`."
        )
    return source


def check_optimizer(checkpoints: Checkpoints, state: TrainState, like: TrainState) -> None:
    """Refuse hyperparameters that are not those of the run, as its next checkpoint has them."""
    after = min(step for step in checkpoints.steps() if step >= int(state.step))
    theirs, _ = checkpoints.read(checkpoints.path(after), like)
    ours = jax.tree.leaves(jax.device_get(state.optimizer))
    pairs = zip(ours, jax.tree.leaves(jax.device_get(theirs.optimizer)), strict=True)
    if not all(np.array_equal(one, other) for one, other in pairs):
        raise ValueError(
            f"`checkpoints` must hold each state that a callback changed, got another optimizer in "
            f"that of step {after} than its steps lead to, and none between. Keep the checkpoints "
            f"of all epochs: fnet.Checkpoints(directory, keep=epochs)."
        )


def batch_of(
    state: TrainState,
    data: Any,
    batch_size: int | None,
    step: int | None = None,
    *,
    shuffle: bool = True,
    first_step: int = 0,
    validation_split: float = 0.0,
) -> tuple[np.ndarray, Any]:
    """The rows that a step of a run takes: their numbers, and their values.

    With n steps in an epoch, step s is number `s % n` of epoch `s // n`, and takes the rows at the
    positions from `(s % n) * batch_size` on in the order of `(state.key, epoch)`.

    Args:
        state: any state of the run, for its key and, without `step`, its step.
        data: that of the run: a tree of arrays with the samples in axis 0, or rows by number.
        batch_size, shuffle, validation_split: as in the run.
        step: which one; by default the next one of `state`.
        first_step: the step of the state in which the run started.

    Returns:
        The numbers of the rows, of shape `(samples,)`, and a tree like `data` with these rows.

    Raises:
        ValueError: None as data, which has no rows; an iterable; a step before the first; or as
            `fit`.

    Example:
        >>> import jax, numpy as np, fnet
        >>> state = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (1,))
        >>> rows, x = fnet.batch_of(state, np.arange(10.0), batch_size=4, step=5)
        >>> bool((rows == x).all()), rows.shape  # the last of the second epoch
        (True, (2,))
    """
    check_state(state)
    check_numbered(data)
    if data is None:
        raise ValueError(
            "`data` must have rows, got None. A task that draws its own draws it from the key "
            "jax.random.fold_in(state.key, step)."
        )
    step = int(state.step) if step is None else step
    if not is_integer(step, first_step):
        raise ValueError(
            f"`step` must be one of the run, from `first_step`, {first_step}, on, got {step!r}. "
            f"Count the first step of the first epoch as 0."
        )
    by_number = RandomAccessData(data) if is_random_access(data) else None
    arrays = None if by_number else check_data("`data`", data)
    samples = by_number.size if by_number else num_samples(arrays)
    (kept, *_), _ = check_split((range(samples),), None, validation_split)
    samples = len(kept)
    batch_size = check_batch_size(batch_size, samples)
    steps = math.ceil(samples / batch_size)
    epochs, index = divmod(step - first_step, steps)
    rows = np.arange(index * batch_size, min((index + 1) * batch_size, samples))
    if shuffle:
        epoch = first_step // steps + epochs
        rows = np.asarray(shuffled(state.key, rows, epoch, samples))
    if by_number:
        return rows, by_number.read(rows)
    return rows, jax.tree.map(lambda array: array[rows], arrays)
