"""Loss and metrics at inference, a batch at a time in one compiled program."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from ..core.checks import check_batch_size
from ..core.tracebacks import api_boundary
from ..core.trees import Tree
from ..data.batches import Samples, num_samples
from ..distributed.sharding import devices_of
from ..losses.statistics import finished, mean_over_samples
from .program import Program, evaluation_key, evaluation_names
from .signature import batch_like
from .state import TrainState, params_and_state
from .task import Task, check_task

BATCH_SIZE = 1024  # on a CPU 128 to 4,096 take the same time, less and more take longer


@api_boundary
def evaluate(
    task: Task,
    state: TrainState | Tree,
    data: Any,
    *,
    batch_size: int = BATCH_SIZE,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> dict[str, Any]:
    """Loss and metrics at inference, averaged over all samples.

    Args:
        task: what to evaluate, see `supervised` and `fnet.task`.
        state: a TrainState, or the parameters alone.
        data: what the task takes, such as `(x, y)`: a tree of arrays of the same length. None for
            a task that draws its own, which is evaluated once.
        batch_size: samples computed at once; where a sample's values depend on that sample alone,
            the result depends on it only by rounding.
        mesh, shardings: the devices to compute on, as for `train`; by default those that hold the
            parameters.

    Returns:
        `loss` and each metric, as floats; as arrays within `jax.vmap`, `jax.grad` or `jax.jit`.

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
    check_task(task)
    devices = devices_of(params, mesh, shardings)
    data = task.check_data("`data`", data)
    batch_size = 1 if data is None else check_batch_size(batch_size, num_samples(data))
    names = check_evaluation(task, params, model_state, "`data`", data, batch_size)
    there = devices.shard_state({"params": params, "model_state": model_state})
    program = Program(task, devices=devices)
    logs: dict[str, Any] = compiled_means(
        program, there["params"], there["model_state"], devices.spread(data), 0, batch_size
    )
    if not any(isinstance(value, jax.core.Tracer) for value in logs.values()):
        logs = {name: float(value) for name, value in jax.device_get(logs).items()}
    return {name: logs[name] for name in names}  # jit sorts the keys


def check_evaluation(
    task: Task, params: Tree, model_state: Tree, argument: str, data: Any, batch_size: int
) -> tuple[str, ...]:
    """Refuse data that does not fit; the names of what it evaluates to."""
    names = evaluation_names(task, params, model_state, batch_like(data, batch_size))
    task.check_values(argument, params, model_state, data)
    return names


def means(
    program: Program,
    params: Tree,
    model_state: Tree,
    data: Any,
    step: jax.Array,
    batch_size: int = BATCH_SIZE,
) -> dict[str, jax.Array]:
    """Loss and metrics averaged over all samples; pure.

    They are computed in a branch, always taken, which the compiler does not know: so it cannot mix
    them with what is around them, and `train` and `fit` get the same bits.
    """
    compute = partial(average, program, params, model_state, data, batch_size)
    zeros = jax.tree.map(lambda mean: jnp.zeros(mean.shape, mean.dtype), jax.eval_shape(compute))
    return lax.cond(step >= 0, compute, lambda: zeros)


def average(
    program: Program, params: Tree, model_state: Tree, data: Any, batch_size: int
) -> dict[str, jax.Array]:
    """Loss and metrics averaged over all samples.

    The last batch is one of its own size, but where samples are independent: then it is filled up
    by repeating the last row, and there is one body to compile.
    """

    def values(number: jax.Array, batch: Any) -> Tree:
        key = jax.random.fold_in(evaluation_key(), number)
        batch = program.devices.shard_batch(batch)
        with program.devices.gathering():
            return program.task.evaluate(params, model_state, batch, key)

    if data is None:
        return finished(mean_over_samples(values(jnp.zeros((), int), None)))
    size, padded = num_samples(data), program.task.independent
    batch_size, samples = min(batch_size, size), Samples.of(data)

    def totals(number: jax.Array, length: int) -> Tree:
        rows = number * batch_size + jnp.arange(length)
        batch = samples.take(jnp.minimum(rows, size - 1))

        def total(value: jax.Array) -> jax.Array:
            if not value.ndim:
                return value * length
            counted = jnp.expand_dims(rows < size, range(1, value.ndim))
            return jnp.where(counted, value, 0).sum(0)

        return jax.tree.map(total, values(number, batch))

    whole, rest = divmod(size, batch_size)
    together = lax.map(lambda i: totals(i, batch_size), jnp.arange(whole + (padded and rest > 0)))
    sums = jax.tree.map(lambda each: each.sum(0), together)
    if rest and not padded:
        sums = jax.tree.map(jnp.add, sums, totals(jnp.asarray(whole), rest))
    share = 1 / size  # a product, since XLA makes one of some divisions by a constant
    return finished(jax.tree.map(lambda total: total * np.asarray(share, total.dtype), sums))


jitted_means: Any = jax.jit(means, static_argnames=("program", "batch_size"))


def compiled_means(
    program: Program,
    params: Tree,
    model_state: Tree,
    data: Any,
    step: Any,
    batch_size: int = BATCH_SIZE,
) -> dict[str, jax.Array]:
    """`means` in one program, the same for `evaluate` as for the validation of `fit`."""
    program = Program(program.task, devices=program.devices)
    size = min(batch_size, 1 if data is None else num_samples(data))
    return jitted_means(program, params, model_state, data, np.asarray(step, np.int32), size)
