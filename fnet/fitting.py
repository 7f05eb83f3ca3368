"""`fit`: the run of `train`, driven from the host."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .callbacks import STOP
from .checks import check_batch_size, check_count, check_data, check_finite, check_split
from .contract import Layer
from .inference import compiled_means
from .objective import Loss, Objective, objective
from .progress import Progress
from .state import TrainState, check_state
from .training import Batch, Logs, averages, log_names, run_steps, step, zeros
from .values import describe

CALL_SECONDS = 0.2  # of training in one call: the pace of the bar, and how long Ctrl-C waits

Callback = Callable[[int, TrainState, dict[str, float]], Any]


class Position(NamedTuple):
    """An epoch on its way."""

    steps: int  # done
    samples: int  # seen
    sums: Logs  # over these samples
    state: TrainState


def fit(
    net: Layer,
    state: TrainState,
    data: tuple[Any, Any] | Iterable[tuple[Any, Any]],
    *,
    loss: Loss | str,
    epochs: int = 1,
    batch_size: int | None = 32,
    metrics: Sequence[Loss | str] = (),
    validation: tuple[Any, Any] | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> tuple[TrainState, Logs]:
    """The run of `train`, bit for bit, with its progress shown and its end in your hands.

    Ctrl-C ends it and returns what was trained so far; a second Ctrl-C raises.

    Args:
        net: the model.
        state: where the run starts; it stays valid. A run goes on from the state it returns.
        data: `(x, y)`, arrays of the same length; or an iterable of such batches, gone through
            once an epoch, in its own order and batch sizes (each new size is compiled once).
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name, as for `train_step`.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent, 1 for the
            stochastic one.
        metrics: functions like `loss`, or their names.
        validation: `(x, y)` to evaluate after each epoch.
        validation_split: the last fraction of the data, before any shuffling, taken as
            `validation` instead, in [0, 1).
        shuffle: whether the order is a new one each epoch.
        callbacks: functions `callback(epoch, state, logs)`, called after each epoch with its
            number from 0, the state (which stays valid) and the epoch's logs as floats; one that
            returns `fnet.STOP` ends the run.
        progress: whether to show a line an epoch.

    Returns:
        The state after the run, and the history as `train` gives it, an entry a finished epoch.

    Raises:
        ValueError: as `train`, and inputs that are not finite, or a split outside of [0, 1).
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
    goal, state = objective(net, loss, metrics), check_state(state)
    epochs = check_count("epochs", epochs)
    if not isinstance(callbacks, (tuple, list)) or not all(map(callable, callbacks)):
        raise TypeError(
            f"`callbacks` must be a list of functions, got {describe(callbacks)}. Write [callback]."
        )
    arrays = None
    if not is_batches(data):
        arrays, validation = check_split(check_data("`data`", data), validation, validation_split)
    if validation is not None:
        validation = check_data("`validation`", validation)
        check_trainable("validation", goal, state, validation, 1)
    if arrays is None:
        source: Batches | Arrays = Batches(goal, data, epochs, validation_split)
    else:
        batch_size = check_batch_size(batch_size, arrays[0])
        check_trainable("data", goal, state, arrays, batch_size)
        source = Arrays(goal, arrays, batch_size, shuffle)
    validation = jax.tree.map(jnp.asarray, validation)

    names = log_names(goal, validation)
    history: list[Logs] = []
    state = copied(state)  # its own, which each call donates to the next
    with interruptible() as interrupted:
        for epoch in range(epochs):
            line = Progress(epoch + 1, epochs, source.steps, progress)
            for position in source.epoch(state):
                line.update(position.steps, position.samples, position.sums)
                if interrupted.is_set():
                    break
            state = position.state
            if interrupted.is_set() and position.steps != source.steps:
                line.interrupt(position.steps)
                break
            logs = averages(position.sums, position.samples)
            if validation is not None:
                validated = compiled_means(goal, state.params, state.model_state, validation)
                logs |= {f"val_{name}": value for name, value in validated.items()}
            history.append({name: logs[name] for name in names})
            line.close(history[-1])
            if called(callbacks, epoch, state, history[-1]) or interrupted.is_set():
                break
    return state, {name: jnp.asarray([logs[name] for logs in history], float) for name in names}


class Arrays:
    """Epochs over arrays: the whole of them on the device, many steps a call."""

    def __init__(self, goal: Objective, data: Batch, batch_size: int, shuffle: bool):
        self.goal, self.data = goal, jax.tree.map(jnp.asarray, data)
        self.batch_size, self.shuffle = batch_size, shuffle
        self.steps = math.ceil(len(data[0]) / batch_size)
        self.steps_a_call = 1

    def epoch(self, state: TrainState) -> Iterator[Position]:
        sums, start, size = zeros(self.goal), 0, len(self.data[0])
        epoch = int(state.step) // self.steps
        while start < self.steps:
            began, stop = time.monotonic(), min(start + self.steps_a_call, self.steps)
            state, sums = array_steps(
                self.goal, state, sums, self.data, epoch, start, stop, self.batch_size, self.shuffle
            )
            jax.block_until_ready(sums)
            if time.monotonic() - began < CALL_SECONDS:
                self.steps_a_call *= 2
            start = stop
            yield Position(start, min(start * self.batch_size, size), sums, state)


array_steps = jax.jit(
    run_steps,
    static_argnames=("goal", "batch_size", "shuffle"),
    donate_argnames=("state", "sums"),
)


class Batches:
    """Epochs over an iterable of batches: a step a call."""

    def __init__(self, goal: Objective, batches: Iterable[Any], epochs: int, split: float):
        if split:
            raise ValueError(
                f"`validation_split` needs arrays to split, got {split} and an iterable of "
                f"batches. Pass `validation` instead."
            )
        if epochs > 1 and iter(batches) is batches:
            raise ValueError(
                f"`data` must be an iterable that can be gone through {epochs} times, got a "
                f"{type(batches).__name__}, which is empty after the first. "
                f"Pass a list, or an object whose __iter__ starts anew."
            )
        self.goal, self.batches = goal, batches
        self.outputs: dict[Any, jax.ShapeDtypeStruct] = {}
        self.steps = len(batches) if isinstance(batches, Sized) else None

    def epoch(self, state: TrainState) -> Iterator[Position]:
        sums, seen, done = zeros(self.goal), 0, 0
        for done, batch in enumerate(self.batches, 1):
            batch = self.check(done, state, batch)
            state, sums = batch_step(self.goal, state, sums, jax.tree.map(jnp.asarray, batch))
            seen += len(batch[0])
            yield Position(done, seen, sums, state)
        if not done:
            raise ValueError("`data` must give at least one batch an epoch, got none. Refill it.")

    def check(self, number: int, state: TrainState, batch: Any) -> tuple[Any, Any]:
        """Every new shape against the model; values where they are on the host, at hand."""
        x, y = check_data(f"batch {number} of `data`", batch)
        kind = x.shape, x.dtype, y.shape, y.dtype
        if kind not in self.outputs:
            self.outputs[kind] = self.goal.check_shapes(
                state.params, state.model_state, (x, y), len(x)
            )
        for name, array in {"x": x, "y": y}.items():
            if isinstance(array, np.ndarray):
                check_finite(f"`{name}` of batch {number}", array)
        if isinstance(y, np.ndarray):
            self.goal.check_labels(y, self.outputs[kind])
        return x, y


@partial(jax.jit, static_argnames="goal", donate_argnames=("state", "sums"))
def batch_step(
    goal: Objective, state: TrainState, sums: Logs, batch: Batch
) -> tuple[TrainState, Logs]:
    state, logs = step(goal, state, batch)
    return state, {name: sums[name] + len(batch[0]) * logs[name] for name in sums}


@jax.jit
def copied(state: TrainState) -> TrainState:
    return jax.tree.map(jnp.copy, state)


def called(callbacks: Sequence[Callback], epoch: int, state: TrainState, logs: Logs) -> bool:
    """Whether one of the callbacks, each of which is called, ends the run."""
    if not callbacks:
        return False
    kept = copied(state)  # the run donates its own
    floats = {name: float(value) for name, value in logs.items()}
    return any([callback(epoch, kept, floats) is STOP for callback in callbacks])


def is_batches(data: Any) -> bool:
    if isinstance(data, (tuple, list)):
        return bool(data) and isinstance(data[0], tuple)
    return isinstance(data, Iterable) and not hasattr(data, "shape") and not isinstance(data, dict)


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
    what: str, goal: Objective, state: TrainState, data: tuple[Any, Any], batch_size: int
) -> None:
    goal.check(state.params, state.model_state, data, batch_size)
    for name, array in zip("xy", data, strict=True):
        check_finite(f"`{name}` of `{what}`", array)
