"""One step of training, and what the steps of an epoch add up to."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .series import STEP_METRICS
from .state import TrainState
from .task import Batch, Objective

Logs = dict[str, Any]  # arrays by name


class EpochSums(NamedTuple):
    """What the steps of an epoch leave behind."""

    totals: Logs  # of the loss and metrics of every sample so far
    record: Logs  # (steps / every,) of each recorded series, and the number of their `step`


def step(goal: Objective, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    state, (x, *targets) = goal.devices.shard_state(state), goal.devices.shard_batch(batch)

    def mean_loss(params: Any) -> tuple[jax.Array, Any]:
        key = jax.random.fold_in(state.key, state.step)
        output, model_state = goal.forward(params, state.model_state, x, key)
        values = goal.values(output, *targets)
        return values["loss"].mean(), (values, model_state)

    grads, (values, model_state) = jax.grad(mean_loss, has_aux=True)(state.params)
    params, opt_state = state.optimizer.update(grads, state.opt_state, state.params)
    changed = {"params": params, "model_state": model_state, "opt_state": opt_state}
    new = replace(state, **goal.devices.shard_state(changed), step=state.step + 1)
    logs = {name: value.mean() for name, value in values.items()}
    others = sorted(set(recorded(goal)) - logs.keys())
    return new, logs | {name: STEP_METRICS[name](state, grads, new) for name in others}


def empty_sums(goal: Objective, steps: int) -> EpochSums:
    number, count = jnp.result_type(float), jnp.result_type(int)
    kept = -(-steps // goal.every)
    totals = {name: np.zeros((), number) for name in goal.names}
    record = {name: np.zeros(kept, count if name == "step" else number) for name in recorded(goal)}
    return EpochSums(totals, record)


def recorded(goal: Objective) -> list[str]:
    return ["step", *goal.record] if goal.record else []


def add_step(goal: Objective, sums: EpochSums, index: Any, samples: int, logs: Logs) -> EpochSums:
    """The sums after one more step, step `index` of the epoch."""
    totals = {name: total + samples * logs[name] for name, total in sums.totals.items()}
    slot = index // goal.every
    record = {
        name: kept.at[slot].set(jnp.where(index % goal.every == 0, logs[name], kept[slot]))
        for name, kept in sums.record.items()
    }
    return EpochSums(totals, record)


def averages(sums: Logs, samples: int) -> Logs:
    # A product, since XLA makes one of a division by a constant: `fit` divides by a number that
    # is known only when it runs, and is to give the same bits.
    share = 1 / samples if samples else np.nan  # of an epoch of which every step was left out
    return {name: total * np.asarray(share, total.dtype) for name, total in sums.items()}
