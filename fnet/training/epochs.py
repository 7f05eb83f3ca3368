"""The run itself: a step, the steps of an epoch, the epochs; what `train` and `fit` compile."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ..data.batches import Samples, num_samples
from ..data.shuffle import epoch_order
from ..distributed.sharding import Devices
from .evaluate import means
from .history import History
from .program import Program
from .scan import scan, unrolled
from .state import TrainState
from .step import EpochSums, Logs, add_step, averages, empty_sums, on_devices, step
from .task import Batch

FEW = 16  # parameters: a kernel and a bias of each of eight layers
AHEAD_BYTES = 2**26  # at most, of samples that are gathered before the steps that take them

Carry = tuple[TrainState, EpochSums]


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

    def rows(begin: jax.Array, steps: int) -> Batch:
        """The rows of some steps, one after the other."""
        begin = (begin - first) * batch_size
        # A slice of data that lies in order would be faster, but changes the last bits.
        numbers = begin + jnp.arange(steps * length)
        if order is not None:
            numbers = lax.dynamic_slice_in_dim(order, begin, steps * length)
        return data.gather(program.devices.replicate(numbers))  # none waits for another's part

    def ahead(begin: jax.Array, steps: int) -> Batch | None:
        """The same before the loop over these steps, on a TPU; elsewhere it gains nothing."""
        size = steps * length * data.sample_bytes
        if program.devices.platform != "tpu" or not 0 < size <= AHEAD_BYTES:
            return None
        together = rows(begin, steps)
        by_step = jax.tree.map(lambda leaf: leaf.reshape(steps, length, *leaf.shape[1:]), together)
        return program.devices.shard_batches(by_step)

    def one_step(index: jax.Array, carry: Carry, gathered: Batch | None) -> tuple[Carry, None]:
        state, sums = carry
        batch = data.shaped(rows(index, 1) if gathered is None else gathered)
        state, values = step(program, state, batch)
        return (state, add_step(program, sums, index, length, values)), None

    def one_block(number: jax.Array, carry: Carry) -> Carry:
        if block == 1:
            return one_step(start + number, carry, None)[0]
        begin = start + number * block

        def counted(
            at: tuple[jax.Array, Carry], batch: Batch
        ) -> tuple[tuple[jax.Array, Carry], None]:
            index, carry = at
            return (index + 1, one_step(index, carry, batch)[0]), None

        return unrolled(counted, (begin, carry), ahead(begin, block), block, unroll)[0][1]

    carry, unroll = (state, on_devices(program, sums)), steps_a_turn(program, state)
    if isinstance(start, int) and stop == start + 1 and program.devices == Devices():
        state, sums = apart(lambda carry: one_step(jnp.asarray(start), carry, None)[0], carry)
    elif isinstance(start, int) and isinstance(stop, int):
        (state, sums), _ = scan(one_step, carry, start, stop - start, ahead, unroll)
    else:
        state, sums = lax.fori_loop(0, (stop - start) // block, one_block, carry)
    return program.devices.shard_state(state), sums


def apart(step: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """A step as a computation of its own, on a CPU.

    XLA makes a loop of one turn a part of what stands around it, fuses the two, and may contract
    other products and sums than in the loops of `fit`, which changes the last bits. It cannot know
    that the step is always taken.
    """
    return lax.cond(carry[0].step >= 0, step, lambda carry: carry, carry)


def steps_a_turn(program: Program, state: TrainState) -> int:
    """Two on a GPU for models of few layers, whose time is that of launching their kernels.

    Of two steps it launches 31 instead of 40 in the headline job, and takes twice as long to
    compile.
    """
    few = len(jax.tree.leaves(state.params)) <= FEW
    return 2 if few and program.devices.platform == "gpu" else 1


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
) -> tuple[TrainState, Logs]:
    size = num_samples(data) if steps is None else steps
    whole, rest = divmod(size, batch_size)
    steps, samples = whole + bool(rest), Samples.of(data)

    def one_epoch(
        epoch: jax.Array, state: TrainState, _: None
    ) -> tuple[TrainState, tuple[Logs, Logs]]:
        carry = state, empty_sums(program, steps, batch_size)
        order = None
        if shuffle and data is not None:
            order = program.devices.replicate(epoch_order(state.key, epoch, size))
        for start, stop, length in ((0, whole, batch_size), (whole, steps, rest)):
            if start < stop:
                carry = run_steps(program, *carry, samples, order, start, stop, batch_size, length)
        state, sums = carry
        logs = averages(program, sums.totals, size)
        if validation is not None:
            validated = means(program, state.params, state.model_state, validation, state.step)
            logs |= {f"val_{name}": validated[name] for name in program.val_names}
        return state, (logs, sums.record)

    state, (logs, record) = scan(one_epoch, state, state.step // steps, epochs)
    record = {name: series.ravel() for name, series in record.items()}
    return program.devices.shard_state(state), logs | {"record": record}


def in_order(program: Program, history: Logs) -> History:
    """The history as it was asked for; jit sorts the names that it returns."""
    ordered = History((name, history[name]) for name in program.log_names)
    if program.record:
        ordered["record"] = {name: history["record"][name] for name in program.recorded}
    return ordered
