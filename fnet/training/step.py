"""One step of training, and what the steps of an epoch add up to."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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


def finished_step(program: Program, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    state, means = step(program, state, batch)
    return state, finished(means)


@jax.named_scope(SCOPE)
def step(program: Program, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    """The state after a step, and the means over the batch: of statistics, unfinished."""
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
    logs = mean_over_samples(values)
    others = sorted(set(program.recorded) - logs.keys())
    return new, logs | {name: STEP_METRICS[name](state, grads, new) for name in others}


class EpochSums(NamedTuple):
    """What the steps of an epoch leave behind."""

    totals: Logs  # of the task's values of every sample so far
    record: Logs  # (steps / record_every,) of each recorded series, and the number of their `step`


def empty_sums(program: Program, steps: int) -> EpochSums:
    number, count = jnp.result_type(float), jnp.result_type(int)
    kept = -(-steps // program.record_every)
    totals = {value.name: value.zeros for value in program.values}
    record = {
        name: np.zeros(kept, count if name == "step" else number) for name in program.recorded
    }
    return EpochSums(totals, record)


def add_step(program: Program, sums: EpochSums, index: Any, samples: int, logs: Logs) -> EpochSums:
    """The sums after one more step, step `index` of the epoch."""
    means = {name: logs[name] for name in sums.totals}
    totals = jax.tree.map(lambda total, mean: total + samples * mean, sums.totals, means)
    logs = finished(logs)
    slot = index // program.record_every
    due = index % program.record_every == 0
    record = {
        name: kept.at[slot].set(jnp.where(due, logs[name], kept[slot]))
        for name, kept in sums.record.items()
    }
    return EpochSums(totals, record)


def averages(totals: Logs, samples: int) -> Logs:
    """The logs of an epoch, from its totals."""
    # A product, since XLA makes one of a division by a constant: `fit` divides by a number that
    # is known only when it runs, and must give the same bits.
    share = 1 / samples if samples else np.nan  # if every step of the epoch was skipped
    return finished(jax.tree.map(lambda total: total * np.asarray(share, total.dtype), totals))
