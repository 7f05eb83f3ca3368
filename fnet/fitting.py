"""`fit`: the run of `train`, driven from the host."""

import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .callbacks import STOP
from .checks import check_batch_size, check_count, check_data, check_finite, check_split
from .contract import Layer
from .inference import compiled_means
from .objective import Loss, Objective, objective
from .progress import Progress
from .running import History, averages, empty_tally, in_order, log_names
from .sample_weights import with_class_weight, with_sample_weight
from .sources import Arrays, Batches, Position, is_batches
from .state import TrainState, check_state
from .values import describe

Callback = Callable[[int, TrainState, dict[str, float]], Any]


def fit(
    net: Layer,
    state: TrainState,
    data: tuple[Any, ...] | Iterable[tuple[Any, ...]],
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
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> tuple[TrainState, History]:
    """The run of `train`, bit for bit, with its progress shown and its end in your hands.

    Ctrl-C ends it and returns what was trained so far; a second Ctrl-C raises. So does a loss that
    is not finite, with a warning that names the step and the layer: the state that comes back is
    the one from before that step.

    Args:
        net: the model.
        state: where the run starts; it stays valid. A run goes on from the state it returns.
        data: `(x, y)`, arrays of the same length; or an iterable of such batches, gone through
            once an epoch, in its own order and batch sizes (each new size is compiled once). Each
            may be `(x, y, weights)`, as for `train`.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name, as for `train_step`.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent, 1 for the
            stochastic one.
        metrics: functions like `loss`, or their names.
        validation: `(x, y)` to evaluate after each epoch.
        validation_split: the last fraction of the data, before any shuffling, taken as
            `validation` instead, in [0, 1).
        sample_weight: `(samples,)`, what the loss of each sample is multiplied with; the mean is
            still over the number of samples, as Keras has it. `validation_split` splits it too.
        class_weight: from a class to the weight of its samples in training; a class that is left
            out weighs 1. It multiplies `sample_weight`.
        shuffle: whether the order is a new one each epoch.
        record, every: what to keep of single steps, as for `train`.
        compute_dtype: that of training's passes, such as `"bfloat16"`, as for `train`.
        callbacks: functions `callback(epoch, state, logs)`, called after each epoch with its
            number from 0, the state (which stays valid) and the epoch's logs as floats; one that
            returns `fnet.STOP` ends the run.
        progress: whether to show a line an epoch.

    Returns:
        The state after the run, and the history as `train` gives it, an entry a finished epoch.

    Raises:
        ValueError: as `train`, and inputs that are not finite, a split outside of [0, 1), weights
            of another length, a weight of an unknown class, weights beside batches.
        TypeError: as `train`.

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
    epochs = check_count("epochs", epochs)
    if not isinstance(callbacks, (tuple, list)) or not all(map(callable, callbacks)):
        raise TypeError(
            f"`callbacks` must be a list of functions, got {describe(callbacks)}. Write [callback]."
        )
    arrays = None
    if not is_batches(data):
        arrays = with_sample_weight(check_data("`data`", data), sample_weight)
        arrays, validation = check_split(arrays, validation, validation_split)
    if validation is not None:
        validation = check_data("`validation`", validation)
        check_trainable("validation", goal, state, validation, 1)
    if arrays is None:
        refuse_weights(sample_weight=sample_weight, class_weight=class_weight)
        source: Batches | Arrays = Batches(goal, data, epochs, validation_split)
    else:
        batch_size = check_batch_size(batch_size, arrays[0])
        output = check_trainable("data", goal, state, arrays, batch_size)
        arrays = with_class_weight(arrays, class_weight, output.shape[-1] if output.ndim > 1 else 1)
        source = Arrays(goal, arrays, batch_size, shuffle)
    validation = jax.tree.map(jnp.asarray, validation)

    names = log_names(goal, validation)
    none: History = {name: np.zeros(0) for name in names}
    epochs_done = [none | {"record": empty_tally(goal, 0).record}]
    with interruptible() as interrupted:
        for epoch in range(epochs):
            line = Progress(epoch + 1, epochs, source.steps, progress)
            for position in source.epoch(state):
                line.update(position.steps, position.samples, position.tally.sums)
                if unfinished := interrupted.is_set() and position.steps != source.steps:
                    break
            state = position.state
            if position.failure:
                line.end()
                warnings.warn(stopped(epoch, position), RuntimeWarning, stacklevel=2)
                break
            if unfinished:
                line.end(f"interrupted after {position.steps} steps; what was trained is kept")
                break
            sums, series = jax.device_get(position.tally)
            logs = averages(sums, position.samples)
            if validation is not None:
                validated = compiled_means(goal, state.params, state.model_state, validation)
                logs |= {f"val_{name}": value for name, value in jax.device_get(validated).items()}
            logs = {name: logs[name] for name in names}
            epochs_done.append(logs | {"record": series})
            line.close(logs)
            if called(callbacks, epoch, state, logs) or interrupted.is_set():
                break
    joined = jax.tree.map(lambda *parts: jnp.asarray(np.hstack(parts)), *epochs_done)
    return state, in_order(goal, validation, joined)


def stopped(epoch: int, position: Position) -> str:
    return (
        f"fit stopped in epoch {epoch + 1} with the state from before step "
        f"{position.state.step}, whose loss is not finite: {position.failure}. Lower the learning "
        f"rate, or look at what goes into that step."
    )


def called(callbacks: Sequence[Callback], epoch: int, state: TrainState, logs: History) -> bool:
    """Whether one of the callbacks, each of which is called, ends the run."""
    if not callbacks:
        return False
    floats = {name: float(value) for name, value in logs.items()}
    return any([callback(epoch, state, floats) is STOP for callback in callbacks])


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C only sets the event, so that no call is cut off with the state inside."""
    interrupted = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield interrupted
        return

    def interrupt(number: int, frame: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def check_trainable(
    what: str, goal: Objective, state: TrainState, data: tuple[Any, ...], batch_size: int
) -> jax.ShapeDtypeStruct:
    output = goal.check(state.params, state.model_state, data, batch_size)
    for name, array in zip("xy", data[:2], strict=True):
        check_finite(f"`{name}` of `{what}`", array)
    return output


def refuse_weights(**weights: Any) -> None:
    for name, value in weights.items():
        if value is not None:
            raise ValueError(
                f"`{name}` needs arrays to weigh, got an iterable of batches. "
                f"Put the weights into the batches: (x, y, weights)."
            )
