"""The run itself: a step, the steps of an epoch, the epochs; what `train` and `fit` compile."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..data.batches import Samples, num_samples
from ..data.shuffle import epoch_order
from .evaluate import means
from .program import Program
from .scan import loop, scan
from .state import TrainState
from .step import EpochSums, Logs, add_step, averages, empty_sums, step
from .task import Batch

History = dict[str, Any]  # Logs, and under "record" the Logs of single steps


def run_steps(
    program: Program,
    state: TrainState,
    sums: EpochSums,
    data: Samples,
    order: jax.Array | None,
    start: int | jax.Array,
    stop: int | jax.Array,
    batch_size: int,
    length: int,
    first: int | jax.Array = 0,
    block: int = 1,
) -> tuple[TrainState, EpochSums]:
    """Steps `start` to `stop` of an epoch, with `length` samples each.

    That is `batch_size`, but for the last batch, which is a step of its own size where it is
    smaller: no padding, so batch statistics are its own. Step `first` begins with the first of the
    rows in `order`, or with row 0 of `data` without one. Data that is None gives steps of one
    sample, which the task draws. `block` divides the number of steps: where `stop` is not known
    before the run, the loop over blocks has no known end, but the one over the steps of each has.
    """

    def one_step(
        index: jax.Array, carry: tuple[TrainState, EpochSums]
    ) -> tuple[TrainState, EpochSums]:
        state, sums = carry
        begin = (index - first) * batch_size
        # A slice of data that lies in order would be faster, but changes the last bits.
        rows = begin + jnp.arange(length)
        if order is not None:
            rows = lax.dynamic_slice_in_dim(order, begin, length)
        rows = program.devices.replicate(rows)  # so that no device waits for another's part
        state, logs = step(program, state, data.take(rows))
        return state, add_step(program, sums, index, length, logs)

    def one_block(
        number: jax.Array, carry: tuple[TrainState, EpochSums]
    ) -> tuple[TrainState, EpochSums]:
        begin = start + number * block
        return lax.fori_loop(0, block, lambda index, carry: one_step(begin + index, carry), carry)

    if block == 1:
        state, sums = loop(start, stop, one_step, (state, sums))
    else:
        state, sums = loop(0, (stop - start) // block, one_block, (state, sums))
    return program.devices.shard_state(state), sums


@partial(jax.jit, static_argnames=("program", "epochs", "batch_size", "shuffle", "steps"))
def run(
    program: Program,
    state: TrainState,
    data: Batch,
    validation: Batch | None,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    steps: int | None,
) -> tuple[TrainState, History]:
    size = num_samples(data) if steps is None else steps
    whole, rest = divmod(size, batch_size)
    steps, samples = whole + bool(rest), Samples.of(data)

    def one_epoch(epoch: jax.Array, state: TrainState) -> tuple[TrainState, tuple[Logs, Logs]]:
        carry = state, empty_sums(program, steps)
        order = None
        if shuffle and data is not None:
            order = program.devices.replicate(epoch_order(state.key, epoch, size))
        for start, stop, length in ((0, whole, batch_size), (whole, steps, rest)):
            if start < stop:
                carry = run_steps(program, *carry, samples, order, start, stop, batch_size, length)
        state, sums = carry
        logs = averages(sums.totals, size)
        if validation is not None:
            validated = means(program, state.params, state.model_state, validation, state.step)
            logs |= {f"val_{name}": validated[name] for name in program.val_names}
        return state, (logs, sums.record)

    state, (logs, record) = scan(one_epoch, state, state.step // steps, epochs)
    record = {name: series.ravel() for name, series in record.items()}
    return program.devices.shard_state(state), logs | {"record": record}


def in_order(program: Program, history: History) -> History:
    """The history as it was asked for; jit sorts the names that it returns."""
    ordered = {name: history[name] for name in program.log_names}
    if program.record:
        ordered["record"] = {name: history["record"][name] for name in program.recorded}
    return ordered
