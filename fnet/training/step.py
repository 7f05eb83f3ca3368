"""One step of training, and what the steps of an epoch add up to."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..core.tracebacks import api_boundary
from ..losses.statistics import finished, mean_over_samples
from ..optimizers.base import Objective
from .program import Program
from .recording import STEP_METRICS
from .state import TrainState
from .task import Batch, Task, check_task

Logs = dict[str, Any]  # arrays by name

SCOPE = "fnet_step"  # the name of a step in profiles, and in compiled programs that are read


def train_step(task: Task) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """One step of training as a pure function: forward pass, loss, gradient, update.

    Args:
        task: what to minimise, see `supervised`.

    Returns:
        `step(state, batch) -> (state, logs)`; `logs` holds the batch's mean `loss` and metrics,
        from before the update. Jit it, or use it inside a function of your own.

    Raises:
        TypeError: `task` is not a task.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> state = fnet.train_state(net, fnet.sgd(0.1), jax.random.key(0), (1,))
        >>> step = jax.jit(fnet.train_step(fnet.supervised(net, "mean_squared_error")))
        >>> x = jnp.linspace(-1, 1, 8).reshape(8, 1)
        >>> for _ in range(200):
        ...     state, logs = step(state, (x, 3 * x + 1))
        >>> params = state.params
        >>> round(params["kernel"].item(), 2), round(params["bias"].item(), 2)
        (3.0, 1.0)
    """
    return partial(finished_step, Program(check_task(task)))


@api_boundary
def finished_step(program: Program, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    state, values = step(program, state, batch)
    return state, finished(mean_over_samples(values))


@jax.named_scope(SCOPE)
def step(program: Program, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    """The state after a step, and the task's values of its samples, with what is recorded."""
    devices = program.devices
    state, batch = devices.shard_state(state), devices.shard_batch(batch)

    def mean_loss(params: Any) -> tuple[jax.Array, Any]:
        key = jax.random.fold_in(state.key, state.step)
        with devices.gathering():
            values, model_state = program.task.loss(params, state.model_state, batch, key)
        return values["loss"].mean(), (values, model_state)

    (loss, (values, model_state)), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    objective = Objective(loss, lambda params: mean_loss(params)[0])
    params, opt_state = state.optimizer.update(grads, state.opt_state, state.params, objective)
    changed = {"params": params, "model_state": model_state, "opt_state": opt_state}
    new = replace(state, **devices.shard_state(changed), step=state.step + 1)
    others = sorted(set(program.recorded) - values.keys())
    return new, values | {name: STEP_METRICS[name](state, grads, new) for name in others}


class EpochSums(NamedTuple):
    """What the steps of an epoch leave behind."""

    totals: Logs  # of the task's values so far; numbers a sample are added up place by place
    record: Logs  # (steps / record_every,) of each recorded series, and the number of their `step`


def empty_sums(program: Program, steps: int, places: int | None = None) -> EpochSums:
    """Sums for an epoch of `steps`, whose batches have at most `places` samples.

    One sum for each place in the batch takes no reduction in a step, and no exchange on a mesh.
    """
    number, count = jnp.result_type(float), jnp.result_type(int)
    kept = -(-steps // program.record_every)
    totals = {value.name: value.zeros(places) for value in program.values}
    record = {
        name: np.zeros(kept, count if name == "step" else number) for name in program.recorded
    }
    return EpochSums(totals, record)


def on_devices(program: Program, sums: EpochSums) -> EpochSums:
    """The sums on the devices on which steps leave them: a place lies where its samples do."""
    devices = program.devices
    totals = {
        value.name: value.map_sums(devices.shard_batch, devices.replicate, sums.totals[value.name])
        for value in program.values
    }
    return EpochSums(totals, devices.replicate(sums.record))


def add_step(
    program: Program, sums: EpochSums, index: Any, samples: int, values: Logs
) -> EpochSums:
    """The sums after one more step, step `index` of the epoch."""

    def added(total: jax.Array, value: jax.Array) -> jax.Array:
        if total.ndim and total.ndim == value.ndim:
            places = max(len(total), len(value))
            total, value = (jnp.pad(sums, (0, places - len(sums))) for sums in (total, value))
            return total + value
        return total + samples * mean_over_samples(value)

    named = {name: values[name] for name in sums.totals}
    totals = jax.tree.map(added, sums.totals, named)
    logs = recorded(program, values) if sums.record else {}
    slot = index // program.record_every
    due = index % program.record_every == 0
    record = {
        name: kept.at[slot].set(jnp.where(due, logs[name], kept[slot]))
        for name, kept in sums.record.items()
    }
    return EpochSums(totals, record)


def recorded(program: Program, values: Logs) -> Logs:
    """What is recorded of a step."""
    return finished(mean_over_samples({name: values[name] for name in program.recorded}))


def averages(program: Program, totals: Logs, samples: int) -> Logs:
    """The logs of an epoch, from its totals."""
    sums = {
        value.name: value.map_sums(added_up, lambda total: total, totals[value.name])
        for value in program.values
    }
    # A product, since XLA makes one of a division by a constant: `fit` divides by a number that
    # is known only when it runs, and must give the same bits.
    share = 1 / samples if samples else np.nan  # if every step of the epoch was skipped
    numpy = jnp if isinstance(share, jax.Array) else np  # of a symbolic number of samples
    return finished(jax.tree.map(lambda total: total * numpy.asarray(share, total.dtype), sums))


def added_up(array: Any) -> Any:
    """The sum of an array, in an order of its own: NumPy and all compilers get the same bits."""
    numpy = jnp if isinstance(array, jax.Array) else np
    array = numpy.pad(array, (0, (1 << (len(array) - 1).bit_length()) - len(array)))
    while len(array) > 1:
        one, other = array.reshape(2, -1)
        array = one + other
    return array[0]
