"""The run itself: a step, the steps of an epoch, the epochs; what `train` and `fit` compile."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .data import feistel, round_keys
from .inference import means
from .loops import loop, scan
from .objective import Batch, Objective
from .series import SERIES
from .state import TrainState

Logs = dict[str, Any]  # arrays by name
History = dict[str, Any]  # Logs, and under "record" the Logs of single steps


class Tally(NamedTuple):
    """What the steps of an epoch leave behind."""

    sums: Logs  # of the loss and metrics of every sample so far
    record: Logs  # (steps / every,) of each recorded series, and the number of their `step`


def step(goal: Objective, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    state, (x, *targets) = goal.devices.place(state), goal.devices.spread(batch)

    def mean_loss(params: Any) -> tuple[jax.Array, Any]:
        key = jax.random.fold_in(state.key, state.step)
        output, model_state = goal.forward(params, state.model_state, x, key)
        values = goal.values(output, *targets)
        return values["loss"].mean(), (values, model_state)

    grads, (values, model_state) = jax.grad(mean_loss, has_aux=True)(state.params)
    params, opt_state = state.optimizer.update(grads, state.opt_state, state.params)
    changed = {"params": params, "model_state": model_state, "opt_state": opt_state}
    new = replace(state, **goal.devices.place(changed), step=state.step + 1)
    logs = {name: value.mean() for name, value in values.items()}
    others = sorted(set(recorded(goal)) - logs.keys())
    return new, logs | {name: SERIES[name](state, grads, new) for name in others}


def empty_tally(goal: Objective, steps: int) -> Tally:
    number, count = jnp.result_type(float), jnp.result_type(int)
    kept = -(-steps // goal.every)
    sums = {name: np.zeros((), number) for name in goal.names}
    record = {name: np.zeros(kept, count if name == "step" else number) for name in recorded(goal)}
    return Tally(sums, record)


def recorded(goal: Objective) -> list[str]:
    return ["step", *goal.record] if goal.record else []


def tallied(goal: Objective, tally: Tally, index: Any, samples: int, logs: Logs) -> Tally:
    """The tally after one more step, step `index` of the epoch."""
    sums = {name: total + samples * logs[name] for name, total in tally.sums.items()}
    slot = index // goal.every
    record = {
        name: kept.at[slot].set(jnp.where(index % goal.every == 0, logs[name], kept[slot]))
        for name, kept in tally.record.items()
    }
    return Tally(sums, record)


def averages(sums: Logs, samples: int) -> Logs:
    # A product, since XLA makes one of a division by a constant: `fit` divides by a number that
    # is known only when it runs, and is to give the same bits.
    share = 1 / samples if samples else np.nan  # of an epoch of which every step was left out
    return {name: total * np.asarray(share, total.dtype) for name, total in sums.items()}


def run_steps(
    goal: Objective,
    state: TrainState,
    tally: Tally,
    data: Batch,
    epoch: jax.Array,
    start: int | jax.Array,
    stop: int | jax.Array,
    batch_size: int,
    length: int,
    shuffle: bool,
) -> tuple[TrainState, Tally]:
    """Steps `start` to `stop` of an epoch, which have `length` samples each.

    That is `batch_size`, but for the last batch, which is a step of its own size where it is
    smaller: no padding, so batch statistics are its own.
    """
    size = len(data[0])
    order = round_keys(state.key, epoch)

    def one_step(index: jax.Array, carry: tuple[TrainState, Tally]) -> tuple[TrainState, Tally]:
        state, tally = carry
        rows = index * batch_size + jnp.arange(length)
        if shuffle:
            rows = feistel(order, rows, size)
        rows = goal.devices.copied(rows)  # all compute the order, so that none waits for another
        state, logs = step(goal, state, tuple(array[rows] for array in data))
        return state, tallied(goal, tally, index, length, logs)

    state, tally = loop(start, stop, one_step, (state, tally))
    return goal.devices.place(state), tally


@partial(jax.jit, static_argnames=("goal", "epochs", "batch_size", "shuffle"))
def run(
    goal: Objective,
    state: TrainState,
    data: Batch,
    validation: Batch | None,
    epochs: int,
    batch_size: int,
    shuffle: bool,
) -> tuple[TrainState, History]:
    size = len(data[0])
    whole, rest = divmod(size, batch_size)
    steps = whole + bool(rest)

    def one_epoch(state: TrainState, epoch: jax.Array) -> tuple[TrainState, tuple[Logs, Logs]]:
        carry = state, empty_tally(goal, steps)
        for start, stop, length in ((0, whole, batch_size), (whole, steps, rest)):
            if start < stop:
                carry = run_steps(
                    goal, *carry, data, epoch, start, stop, batch_size, length, shuffle
                )
        state, tally = carry
        logs = averages(tally.sums, size)
        if validation is not None:
            validated = means(goal, state.params, state.model_state, validation)
            logs |= {f"val_{name}": value for name, value in validated.items()}
        return state, (logs, tally.record)

    first = state.step // steps
    state, (logs, record) = scan(one_epoch, state, first + jnp.arange(epochs, dtype=first.dtype))
    record = {name: series.ravel() for name, series in record.items()}
    return goal.devices.place(state), logs | {"record": record}


def log_names(goal: Objective, validation: Any) -> list[str]:
    """What there is of an epoch, in the order in which it is shown."""
    return goal.names + [f"val_{name}" for name in goal.names if validation is not None]


def in_order(goal: Objective, validation: Any, history: History) -> History:
    """The history as it was asked for; jit sorts the names that it returns."""
    ordered = {name: history[name] for name in log_names(goal, validation)}
    if goal.record:
        ordered["record"] = {name: history["record"][name] for name in recorded(goal)}
    return ordered
