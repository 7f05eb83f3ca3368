"""`fit`: the run of `train`, driven by the host."""

import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ..core.checks import check_count
from ..core.tracebacks import api_boundary
from ..core.trees import by_path
from ..core.values import describe
from ..distributed.processes import noting_lost_peers
from ..distributed.sharding import devices_of
from ..files.checkpoints import saving
from ..training.evaluate import compiled_means
from ..training.history import History
from ..training.program import make_program
from ..training.signature import signature_of
from ..training.state import TrainState, check_state
from ..training.step import Logs, averages
from ..training.task import Batch, Task
from .arguments import Callback, check_callbacks, check_choice, check_untraced
from .callbacks import STOP
from .open_source import open_source
from .progress import Progress
from .run_record import RunRecord
from .signals import Interruption, interruptible
from .sources import EpochState, Settings, Source


@api_boundary
def fit(
    task: Task,
    state: TrainState,
    data: Any,
    *,
    epochs: int = 1,
    batch_size: int | None = 32,
    steps: int | None = None,
    validation: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    record: Sequence[str] = (),
    record_every: int = 1,
    on_nonfinite: Literal["stop", "raise", "skip", "ignore"] = "stop",
    callbacks: Sequence[Callback] = (),
    resume: Literal["auto"] | None = None,
    mesh: Mesh | None = None,
    shardings: Any = None,
    progress: bool = True,
) -> tuple[TrainState, History]:
    """The run of `train`, bit for bit, with progress, callbacks and clean interruption.

    Ctrl-C ends the run and returns what was trained so far; a second Ctrl-C raises. With
    `fnet.Checkpoints` among the callbacks the run is saved on its way, SIGTERM saves it and exits,
    and `resume="auto"` continues it.

    Args:
        task: what to minimise, see `supervised` and `fnet.task`.
        state: where the run starts; it stays valid. The next run starts from the returned state.
        data: what the task takes, in one of these forms:

            - a tree of arrays in memory, such as `(x, y)` or `(x, y, weights)`; lists of numbers,
              tensors of torch and TensorFlow, and of pandas, polars and xarray the frames (whose
              columns have one dtype), series and labelled arrays are arrays too, here as in all
              functions that take data, without a copy where their memory allows it;
            - an iterable of such batches, or a list of them, read once an epoch, in its own order
              and batch sizes (each new size is compiled once), such as torch's `DataLoader` or
              a `tf.data.Dataset` with `batch`;
            - data larger than memory, read by a thread beside the training, in the order and to
              the bits it would have in memory: a tree where some leaves are `np.memmap`, an
              HDF5 dataset, or an object with `len` and `x[rows]` for a list of row numbers; or
              one object with `len` that has no `__iter__` (or has `__getitems__`) and gives
              such a tree for `data[rows]`, or else for `data[row]`. Lists of rows increase;
            - None, for a task that draws its own.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent, 1 for the
            stochastic one.
        steps: the length of an epoch where `data` is None, in steps.
        validation: data like `data`, evaluated after each epoch.
        validation_split: the last fraction of the data, before any shuffling, is held out as
            `validation`, in [0, 1); it is read into memory.
        shuffle: whether each epoch has an order of its own.
        record, record_every: what to keep of single steps, as for `train`.
        on_nonfinite: what to do about a step whose loss or gradient is not finite: "stop" warns,
            naming the step and the first layer to blame, and returns the state from before it;
            "raise" raises instead; "skip" leaves the step out and counts it in
            `history["skipped"]`. Nothing waits for a step: a bad one is noticed up to a fifth of a
            second later and taken again from the state before it, which is kept until then.
            "ignore" checks nothing, so numbers that are not finite go through the rest of the run,
            and keeps nothing: the state takes its memory once beside the one passed in. It is
            copied for callbacks.
        callbacks: functions `callback(epoch, state, logs)`, called after each epoch with its
            number from 0, the state (which stays valid) and the epoch's logs as floats. One that
            returns `fnet.STOP` ends the run; one that returns a TrainState of the same form makes
            it go on from there, at the step where it is. What else one may have stands at the top
            of `fnet/fitting/callbacks.py`.
        resume: "auto" continues from the newest checkpoint, or starts where there is none. The
            other arguments must be what they were, except `epochs`, which may be larger.
        mesh, shardings: the devices to train on, as for `train`. A run saved on some devices
            resumes on any others.
        progress: whether to show a line an epoch.

    Returns:
        The state after the run, and the history as from `train`, with an entry for each finished
        epoch.

    Raises:
        ValueError: as `train`; inputs that are not finite, a split outside of [0, 1), rows that
            are missing or unlike the others, a checkpoint of another run, or a new run in a folder
            that holds one. Errors raised while reading come through, with a note of the rows and
            the step.
        TypeError: as `train`; or it is called within `jax.jit` or another transformation.
        FloatingPointError: a step is not finite, with `on_nonfinite="raise"`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(8), fnet.relu, fnet.dense(1))
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> x = jnp.linspace(-1, 1, 100).reshape(100, 1)
        >>> state, history = fnet.fit(
        ...     task, state, (x, x**2), epochs=3, validation_split=0.2
        ... )  # doctest: +ELLIPSIS
        epoch 1/3: ... s, loss ..., val_loss ...
        epoch 2/3: ... s, loss ..., val_loss ...
        epoch 3/3: ... s, loss ..., val_loss ...
        >>> sorted(history)
        ['loss', 'val_loss']
    """
    check_untraced(check_state(state), data, validation)
    devices = devices_of(state.params, mesh, shardings)
    program, epochs = (
        make_program(task, record, record_every, devices),
        check_count("epochs", epochs),
    )
    check_choice("on_nonfinite", on_nonfinite, "stop", "raise", "skip", "ignore")
    checkpoints, callbacks = check_callbacks(callbacks, resume)
    save_every = checkpoints.every if checkpoints else None
    settings = Settings(program, batch_size, shuffle, on_nonfinite, save_every)
    source, validation = open_source(
        data, steps, state, epochs, validation, validation_split, settings
    )
    program, state = source.program, devices.shard_state(state)
    first_step, key = jax.device_get((state.step, jax.random.key_data(state.key)))
    identity = {"first_step": first_step, "key": key} | source.identity
    if source.ignores:
        state = devices.shard_state(copied(state))
    names = [*program.log_names, *["skipped"] * (on_nonfinite == "skip")]

    with (
        noting_lost_peers(),
        saving(checkpoints) as saver,
        interruptible(terminable=saver is not None) as interrupted,
    ):
        begin = source.begin(state)
        run_record = RunRecord(program, names, identity, begin, saver, callbacks, source.ignores)
        if resume:
            run_record.resume()
        run_record.begin(shown(source, run_record.at.state, callbacks), resume is not None)
        try:
            run_epochs(source, run_record, epochs, validation, callbacks, progress, interrupted)
        except BaseException:
            if jax.process_count() == 1:  # of many, the others may not come here
                run_record.save()
            raise
        run_record.save()
    at = run_record.at
    if interrupted.number == signal.SIGTERM:
        print(f"fit: SIGTERM after step {int(at.state.step)}; {run_record.saved}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM)
    if at.failure:
        why = (
            f"fit stopped in epoch {run_record.epochs + 1} with the state from before step "
            f"{at.state.step}, which is not finite: {at.failure}. Lower the learning rate, or look "
            f"at what goes into that step."
        )
        if on_nonfinite == "raise":
            raise FloatingPointError(why)
        warnings.warn(why, RuntimeWarning, stacklevel=3)  # of the caller of `fit`
    state = at.state
    if run_record.ended or run_record.epochs >= epochs:
        for callback in callbacks:
            if hasattr(callback, "end"):
                state = callback.end(state) or state
    return state, run_record.result()


def run_epochs(
    source: Source,
    run_record: RunRecord,
    epochs: int,
    validation: Batch | None,
    callbacks: Sequence[Callback],
    progress: bool,
    interrupted: Interruption,
) -> None:
    """Continue the run until its last epoch, or until something ends it earlier."""
    line = Progress(epochs, source.steps, progress)
    while run_record.epochs < epochs and not (run_record.ended or interrupted()):
        line.begin(run_record.epochs + 1)
        for at in source.epoch(run_record.at, interrupted):
            run_record.at = at
            line.update(at.steps, partial(means_of, source, at))
            if at.steps != source.steps and run_record.due():
                run_record.save()
        at = run_record.at
        if at.failure or (interrupted() and at.steps != source.steps):
            why = "not finite" if at.failure else "interrupted"
            line.end(f"{why} after {at.steps} steps; what was trained is kept")
            return
        logs = means_of(source, at) | {"skipped": at.skipped}
        if validation is not None:
            means = compiled_means(
                source.program, at.state.params, at.state.model_state, validation, at.state.step
            )
            logs |= {f"val_{name}": mean for name, mean in jax.device_get(means).items()}
        record = jax.device_get(at.sums.record)
        record = {name: record[name] for name in source.program.recorded}  # jit sorts them
        logs = run_record.close_epoch(logs, record)
        line.close(logs)
        run_record.save_best(logs)
        run_record.at = source.begin(at.state)  # closed once, even if a callback raises
        before = shown(source, at.state, callbacks)
        state, run_record.ended = called(callbacks, run_record.epochs - 1, before, logs, record)
        if state is not before:
            state = copied(state) if source.ignores else state
            run_record.at = source.begin(source.program.devices.shard_state(state))
        if run_record.due():
            run_record.save()
    line.end()


@jax.jit
def copied(state: TrainState) -> TrainState:
    """The state in memory of its own, for a source that gives away that of its state."""
    return jax.tree.map(jnp.copy, state)


def shown(source: Source, state: TrainState, callbacks: Sequence[Callback]) -> TrainState:
    """The state for callbacks, to whom it stays valid."""
    return copied(state) if source.ignores and callbacks else state


def means_of(source: Source, at: EpochState) -> Logs:
    """The logs of the steps so far."""
    return averages(source.program, jax.device_get(at.sums.totals), at.samples)


def called(
    callbacks: Sequence[Callback], epoch: int, state: TrainState, logs: Logs, record: Logs
) -> tuple[TrainState, bool]:
    """Call every callback; return the state to go on from, and whether one ends the run."""
    ended, floats = False, {name: float(value) for name, value in logs.items()}
    for callback in callbacks:
        if record and hasattr(callback, "recorded"):
            callback.recorded(record)
        result = callback(epoch, state, floats)
        ended |= result is STOP
        if isinstance(result, TrainState):
            check_form(state, result)
            state = replace(result, step=state.step)
    return state, ended


def check_form(ours: TrainState, theirs: TrainState) -> None:
    """Refuse a state that the compiled program does not take."""
    if signature_of(ours) == signature_of(theirs):
        return
    before, after = (
        {
            f"{describe(leaf)} and dtype {leaf.dtype} at {path!r}"
            for path, leaf in by_path(s).items()
        }
        for s in (ours, theirs)
    )
    raise TypeError(
        f"a callback must return a state of the form that it was given, got "
        f"{', '.join(sorted(after - before)) or 'another tree'} for "
        f"{', '.join(sorted(before - after)) or 'this one'}. Change it with dataclasses.replace."
    )
