"""Loss and metrics at inference, a batch at a time in one compiled program."""

from typing import Any

import jax
from jax.sharding import Mesh

from ..core.checks import check_batch_size
from ..core.trees import Tree
from ..data.batches import map_batches
from ..distributed.sharding import devices_of
from .program import Program, value_names
from .shapes import batch_like
from .state import TrainState, params_and_state
from .task import Task, check_task

BATCH_SIZE = 1024  # on a CPU 128 to 4,096 take the same time, less and more take longer


def evaluate(
    task: Task,
    state: TrainState | Tree,
    data: Any,
    *,
    batch_size: int = BATCH_SIZE,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> dict[str, float]:
    """Loss and metrics at inference, averaged over all samples.

    Args:
        task: what to evaluate, see `supervised`.
        state: a TrainState, or the parameters alone.
        data: what the task takes, such as `(x, y)`, arrays of the same length.
        batch_size: samples computed at once; the result depends on it only by rounding.
        mesh, shardings: the devices to compute on, as for `train`; by default those that hold the
            parameters.

    Returns:
        `loss` and each metric, as floats.

    Raises:
        ValueError: empty data, lengths or shapes that do not fit, labels out of range; a mesh or
            shardings as for `train`.
        TypeError: the parameters of another model; a mesh or shardings as for `train`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> params = fnet.init(net, jax.random.key(0), (2,))
        >>> data = jnp.zeros((4, 2)), jnp.ones((4, 1))
        >>> fnet.evaluate(fnet.supervised(net, "mean_squared_error"), params, data)
        {'loss': 1.0}
    """
    params, model_state = params_and_state(state)
    data = check_task(task).check_data("`data`", data)
    batch_size = check_batch_size(batch_size, jax.tree.leaves(data)[0])
    devices = devices_of(params, mesh, shardings)
    names = value_names(task, params, model_state, batch_like(data, batch_size))
    task.check_values("`data`", params, model_state, data)
    there = devices.shard_state({"params": params, "model_state": model_state})
    logs = compiled_means(
        Program(task, names, devices=devices),
        there["params"],
        there["model_state"],
        devices.replicate(data),
        batch_size,
    )
    logs = jax.device_get(logs)
    return {name: float(logs[name]) for name in names}  # jit sorts the keys


def means(
    program: Program, params: Tree, model_state: Tree, data: Any, batch_size: int = BATCH_SIZE
) -> dict[str, jax.Array]:
    """Loss and metrics averaged over all samples; pure."""
    shard_batch = program.devices.shard_batch
    values = map_batches(
        lambda batch: program.task.evaluate(params, model_state, shard_batch(batch)),
        data,
        batch_size,
    )
    return {name: value.mean() for name, value in values.items()}


compiled_means = jax.jit(means, static_argnames=("program", "batch_size"))
