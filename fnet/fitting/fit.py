"""`fit`: the run of `train`, driven from the host."""

import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import jax
from jax.sharding import Mesh

from ..core.checks import check_batch_size, check_count, check_data, check_finite, check_split
from ..core.values import describe
from ..data.random_access import RandomAccessData, is_random_access
from ..data.sample_weights import with_class_weight, with_sample_weight
from ..distributed.processes import noting_lost_peers
from ..distributed.sharding import devices_of
from ..files.checkpoints import Checkpoints, saving
from ..layers.base import Layer
from ..training.epochs import History, log_names
from ..training.evaluate import compiled_means
from ..training.state import TrainState, check_state
from ..training.step import Logs, averages
from ..training.task import Batch, Loss, Objective, objective
from .callbacks import STOP
from .progress import Progress
from .run_record import RunRecord
from .signals import Interruption, interruptible
from .source_batches import Batches, check_batches, is_batches, refuse_weights
from .source_rows import Rows
from .sources import Arrays, IndexedSource, Source

Callback = Callable[[int, TrainState, dict[str, float]], Any]


def fit(
    net: Layer,
    state: TrainState,
    data: Any,
    *,
    loss: Loss | str,
    epochs: int = 1,
    batch_size: int | None = 32,
    metrics: Sequence[Loss | str] = (),
    validation: tuple[Any, ...] | None = None,
    validation_split: float = 0.0,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    shuffle: bool = True,
    record: Sequence[str] = (),
    every: int = 1,
    compute_dtype: Any = None,
    on_nan: Literal["raise", "stop", "skip"] = "stop",
    callbacks: Sequence[Callback] = (),
    resume: Literal["auto"] | None = None,
    mesh: Mesh | None = None,
    shardings: Any = None,
    progress: bool = True,
) -> tuple[TrainState, History]:
    """The run of `train`, bit for bit, with its progress shown and its end in your hands.

    Ctrl-C ends it and returns what was trained so far; a second Ctrl-C raises. With
    `fnet.Checkpoints` among the callbacks the run is saved on its way, SIGTERM saves it and exits,
    and `resume="auto"` goes on with it.

    Args:
        net: the model.
        state: where the run starts; it stays valid. A run goes on from the state it returns.
        data: `(x, y)`, arrays of the same length; or an iterable of such batches, gone through
            once an epoch, in its own order and batch sizes (each new size is compiled once). Each
            may be `(x, y, weights)`, as for `train`. Data larger than the memory is read in a
            thread beside the training, in the order and to the bits that it would have in memory:
            `(x, y)` where one or both are `np.memmap`, an HDF5 dataset or an object with `len`
            that gives the rows of a list of their numbers, `x[rows]`; or one object with `len`
            that has no `__iter__` (or has `__getitems__`) and gives `(x, y)` of a list of rows,
            `data[rows]`, or else of a single one, `data[row]`. Lists are in increasing order.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name, as for `train_step`.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent, 1 for the
            stochastic one.
        metrics: functions like `loss`, or their names.
        validation: `(x, y)` to evaluate after each epoch.
        validation_split: the last fraction of the data, before any shuffling, taken as
            `validation` instead, in [0, 1); it is read into memory.
        sample_weight: `(samples,)`, what the loss of each sample is multiplied with; the mean is
            still over the number of samples, as Keras has it. `validation_split` splits it too.
        class_weight: from a class to the weight of its samples in training; a class that is left
            out weighs 1. It multiplies `sample_weight`.
        shuffle: whether the order is a new one each epoch.
        record, every: what to keep of single steps, as for `train`.
        compute_dtype: that of training's passes, such as `"bfloat16"`, as for `train`.
        on_nan: what to do about a step whose loss or gradient is not finite: "stop" warns, with
            the step and the first layer to blame, and returns the state from before it; "raise"
            raises that instead; "skip" leaves the step out, and counts such steps in
            `history["skipped"]`. A step is found out up to a fifth of a second later, and taken
            again from the state before it; until then nothing waits for it.
        callbacks: functions `callback(epoch, state, logs)`, called after each epoch with its
            number from 0, the state (which stays valid) and the epoch's logs as floats; one that
            returns `fnet.STOP` ends the run. One that remembers has a `resume(history)` besides.
        resume: "auto" goes on from the newest checkpoint, or starts where there is none. All other
            arguments are to be what they were, but for `epochs`, which may be more.
        mesh, shardings: the devices to train on, as for `train`. A run that was saved on some goes
            on on any others.
        progress: whether to show a line an epoch.

    Returns:
        The state after the run, and the history as `train` gives it, an entry a finished epoch.

    Raises:
        ValueError: as `train`, and inputs that are not finite, a split outside of [0, 1), weights
            of another length, a weight of an unknown class, weights beside batches; rows that are
            missing or unlike the others; a checkpoint of another run, or one in the way of a new
            run. What reading raises comes through, with a note of the rows and the step.
        TypeError: as `train`.
        FloatingPointError: a step that is not finite, with `on_nan="raise"`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(8), fnet.relu, fnet.dense(1))
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> x = jnp.linspace(-1, 1, 100).reshape(100, 1)
        >>> state, history = fnet.fit(
        ...     net, state, (x, x**2), loss="mean_squared_error", epochs=3, validation_split=0.2
        ... )  # doctest: +ELLIPSIS
        epoch 1/3: ... s, loss ..., val_loss ...
        epoch 2/3: ... s, loss ..., val_loss ...
        epoch 3/3: ... s, loss ..., val_loss ...
        >>> sorted(history)
        ['loss', 'val_loss']
    """
    goal = objective(net, loss, metrics, record, every, compute_dtype)
    state = check_state(state)
    goal = replace(goal, devices=devices_of(net, state.params, mesh, shardings))
    epochs = check_count("epochs", epochs)
    check_choice("on_nan", on_nan, "stop", "raise", "skip")
    checkpoints, callbacks = check_callbacks(callbacks, resume)
    arrays = table = None
    if is_random_access(data):
        if jax.process_count() > 1:  # each would read all rows, at a pace of its own
            raise ValueError(
                f"`data` must be fnet.host_batches(...) on many processes, got {describe(data)} on "
                f"{jax.process_count()} of them. It takes arrays on the disk too."
            )
        table = RandomAccessData(data, sample_weight)
        validation = table.split(validation, validation_split)
    elif not is_batches(data):
        arrays = with_sample_weight(check_data("`data`", data), sample_weight)
        arrays, validation = check_split(arrays, validation, validation_split)
    if validation is not None:
        validation = check_data("`validation`", validation)
        check_trainable("validation", goal, state, validation, 1)
    state = goal.devices.shard_state(state)
    how = goal, on_nan == "skip", checkpoints and checkpoints.every
    about: dict[str, Any] = {"first_step": state.step, "key": jax.random.key_data(state.key)}
    if table is not None:
        source: Source = Rows(table, state, class_weight, batch_size, shuffle, *how)
    elif arrays is None:
        check_batches(data, epochs, validation_split)
        refuse_weights(sample_weight=sample_weight, class_weight=class_weight)
        source = Batches(data, *how)
    else:
        batch_size = check_batch_size(batch_size, arrays[0])
        output = check_trainable("data", goal, state, arrays, batch_size)
        arrays = with_class_weight(arrays, class_weight, output.shape[-1] if output.ndim > 1 else 1)
        source = Arrays(goal.devices.replicate(arrays), batch_size, shuffle, *how)
    if isinstance(source, IndexedSource):
        about |= {name: getattr(source, name) for name in ("samples", "batch_size", "shuffle")}
    validation = goal.devices.replicate(validation)
    names = log_names(goal, validation) + ["skipped"] * (on_nan == "skip")

    with saving(checkpoints) as saver, interruptible(terminable=saver is not None) as interrupted:
        run_record = RunRecord(goal, names, about, source.begin(state), saver)
        if resume and run_record.resume():
            for callback in callbacks:
                getattr(callback, "resume", lambda history: None)(run_record.history)
        try:
            with noting_lost_peers():
                run_epochs(
                    goal, source, run_record, epochs, validation, callbacks, progress, interrupted
                )
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
        if on_nan == "raise":
            raise FloatingPointError(why)
        warnings.warn(why, RuntimeWarning, stacklevel=2)
    return at.state, run_record.result()


def run_epochs(
    goal: Objective,
    source: Source,
    run_record: RunRecord,
    epochs: int,
    validation: Batch | None,
    callbacks: Sequence[Callback],
    progress: bool,
    interrupted: Interruption,
) -> None:
    """Go on from where the run is until the last epoch, or whatever ends the run before."""
    while run_record.epochs < epochs and not (run_record.ended or interrupted()):
        line = Progress(run_record.epochs + 1, epochs, source.steps, progress)
        for at in source.epoch(run_record.at, interrupted):
            run_record.at = at
            line.update(at.steps, at.samples, at.sums.totals)
            if at.steps != source.steps and run_record.due():
                run_record.save()
        at = run_record.at
        if at.failure or (interrupted() and at.steps != source.steps):
            why = "not finite" if at.failure else "interrupted"
            line.end(f"{why} after {at.steps} steps; what was trained is kept")
            return
        sums, record = jax.device_get(at.sums)
        logs = averages(sums, at.samples) | {"skipped": at.skipped}
        if validation is not None:
            means = compiled_means(goal, at.state.params, at.state.model_state, validation)
            logs |= {f"val_{name}": mean for name, mean in jax.device_get(means).items()}
        logs = run_record.close_epoch(logs, record)
        line.close(logs)
        run_record.ended = called(callbacks, run_record.epochs - 1, at.state, logs)
        run_record.at = source.begin(at.state)
        if run_record.due():
            run_record.save()


def called(callbacks: Sequence[Callback], epoch: int, state: TrainState, logs: Logs) -> bool:
    """Whether one of the callbacks, each of which is called, ends the run."""
    if not callbacks:
        return False
    floats = {name: float(value) for name, value in logs.items()}
    return any([callback(epoch, state, floats) is STOP for callback in callbacks])


def check_choice(argument: str, value: Any, *choices: str) -> None:
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(repr, choices))}, got {describe(value)}. "
            f"Leave it out for {choices[0]!r}."
        )


def check_callbacks(
    callbacks: Sequence[Callback], resume: str | None
) -> tuple[Checkpoints | None, list[Callback]]:
    """The checkpoints among the callbacks, and the others."""
    if not isinstance(callbacks, (tuple, list)) or not all(map(callable, callbacks)):
        raise TypeError(
            f"`callbacks` must be a list of functions, got {describe(callbacks)}. Write [callback]."
        )
    found = [callback for callback in callbacks if isinstance(callback, Checkpoints)]
    if len(found) > 1:
        raise ValueError(
            f"`callbacks` must hold one Checkpoints, got {len(found)}. A run has one folder."
        )
    if resume not in (None, "auto") or (resume and not found):
        raise ValueError(
            f'`resume` must be None, or "auto" with fnet.Checkpoints(directory) in `callbacks`, '
            f"got {resume!r}{'' if found else ' and no Checkpoints'}. Add what is missing."
        )
    if found and not resume and found[0].steps():
        raise ValueError(
            f"`callbacks` must save a new run in a new folder, got {found[0].directory}, which "
            f"holds step {found[0].steps()[-1]} of a run. Go on with it by resume='auto', or use "
            f"another folder."
        )
    return (found[0] if found else None), [c for c in callbacks if c not in found]


def check_trainable(
    what: str, goal: Objective, state: TrainState, data: tuple[Any, ...], batch_size: int
) -> jax.ShapeDtypeStruct:
    output = goal.check(state.params, state.model_state, data, batch_size)
    for name, array in zip("xy", data[:2], strict=True):
        check_finite(f"`{name}` of `{what}`", array)
    return output
