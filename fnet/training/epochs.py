"""The run itself: a step, the steps of an epoch, the epochs; what `train` and `fit` compile."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..data.shuffle import feistel, round_keys
from .evaluate import means
from .scan import loop, scan
from .state import TrainState
from .step import EpochSums, Logs, add_step, averages, empty_sums, recorded, step
from .task import Batch, Objective

History = dict[str, Any]  # Logs, and under "record" the Logs of single steps


def run_steps(
    goal: Objective,
    state: TrainState,
    sums: EpochSums,
    data: Batch,
    epoch: jax.Array,
    start: int | jax.Array,
    stop: int | jax.Array,
    batch_size: int,
    length: int,
    shuffle: bool,
) -> tuple[TrainState, EpochSums]:
    """Steps `start` to `stop` of an epoch, which have `length` samples each.

    That is `batch_size`, but for the last batch, which is a step of its own size where it is
    smaller: no padding, so batch statistics are its own.
    """
    size = len(data[0])
    order = round_keys(state.key, epoch)

    def one_step(
        index: jax.Array, carry: tuple[TrainState, EpochSums]
    ) -> tuple[TrainState, EpochSums]:
        state, sums = carry
        rows = index * batch_size + jnp.arange(length)
        if shuffle:
            rows = feistel(order, rows, size)
        rows = goal.devices.replicate(rows)  # all compute the order, so that none waits for another
        state, logs = step(goal, state, tuple(array[rows] for array in data))
        return state, add_step(goal, sums, index, length, logs)

    state, sums = loop(start, stop, one_step, (state, sums))
    return goal.devices.shard_state(state), sums


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
        carry = state, empty_sums(goal, steps)
        for start, stop, length in ((0, whole, batch_size), (whole, steps, rest)):
            if start < stop:
                carry = run_steps(
                    goal, *carry, data, epoch, start, stop, batch_size, length, shuffle
                )
        state, sums = carry
        logs = averages(sums.totals, size)
        if validation is not None:
            validated = means(goal, state.params, state.model_state, validation)
            logs |= {f"val_{name}": value for name, value in validated.items()}
        return state, (logs, sums.record)

    first = state.step // steps
    state, (logs, record) = scan(one_epoch, state, first + jnp.arange(epochs, dtype=first.dtype))
    record = {name: series.ravel() for name, series in record.items()}
    return goal.devices.shard_state(state), logs | {"record": record}


def log_names(goal: Objective, validation: Any) -> list[str]:
    """What there is of an epoch, in the order in which it is shown."""
    return goal.names + [f"val_{name}" for name in goal.names if validation is not None]


def in_order(goal: Objective, validation: Any, history: History) -> History:
    """The history as it was asked for; jit sorts the names that it returns."""
    ordered = {name: history[name] for name in log_names(goal, validation)}
    if goal.record:
        ordered["record"] = {name: history["record"][name] for name in recorded(goal)}
    return ordered
