"""Evaluating and predicting, a batch at a time in one compiled program."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ..core.checks import check_batch_size, check_data
from ..core.trees import Tree
from ..data.batches import map_batches
from ..distributed.sharding import Devices, devices_of
from ..layers.base import Layer, as_layer
from ..models.model import apply
from .state import TrainState
from .task import Loss, Objective, objective

BATCH_SIZE = 1024  # on a CPU 128 to 4,096 take the same time, less and more take longer


def means(
    goal: Objective, params: Tree, model_state: Tree, data: Any, batch_size: int = BATCH_SIZE
) -> dict[str, jax.Array]:
    """Loss and metrics averaged over all samples; pure."""
    spread = goal.devices.shard_batch
    values = map_batches(
        lambda batch: goal.evaluate(params, model_state, spread(batch))[1], data, batch_size
    )
    return {name: value.mean() for name, value in values.items()}


compiled_means = jax.jit(means, static_argnames=("goal", "batch_size"))


@partial(jax.jit, static_argnames=("net", "batch_size", "devices"))
def outputs(
    net: Layer, params: Tree, model_state: Tree, x: jax.Array, batch_size: int, devices: Devices
) -> jax.Array:
    def output(x: jax.Array) -> jax.Array:
        return apply(net, params, devices.shard_batch(x), model_state)

    return devices.replicate(map_batches(output, x, batch_size))


def evaluate(
    net: Layer,
    state: TrainState | Tree,
    data: tuple[Any, ...],
    *,
    loss: Loss | str,
    metrics: Sequence[Loss | str] = (),
    batch_size: int = BATCH_SIZE,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> dict[str, float]:
    """Loss and metrics at inference, averaged over all samples.

    Args:
        net: the model.
        state: a TrainState, or the parameters alone.
        data: `(x, y)`, arrays of the same length, or `(x, y, weights)` as for `train`.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name.
        metrics: functions like `loss`, or their names.
        batch_size: samples computed at once; the result does not depend on it but for rounding.
        mesh, shardings: the devices to compute on, as for `train`; unless given, those on which
            the parameters lie already.

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
        >>> fnet.evaluate(net, params, data, loss="mean_squared_error")
        {'loss': 1.0}
    """
    goal, (params, model_state) = objective(net, loss, metrics), trees(state)
    data, batch_size = check_data("`data`", data), check_batch_size(batch_size, data[0])
    devices = devices_of(net, params, mesh, shardings)
    goal.check(params, model_state, data, batch_size)
    goal, trees_there = replace(goal, devices=devices), placed(devices, params, model_state)
    logs = compiled_means(goal, *trees_there, devices.replicate(data), batch_size)
    return {name: float(logs[name]) for name in goal.names}  # jit sorts the keys


def predict(
    net: Layer,
    state: TrainState | Tree,
    x: Any,
    batch_size: int = BATCH_SIZE,
    *,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> jax.Array:
    """The model's output at inference for any number of samples, a batch at a time; pure.

    Args:
        net: the model.
        state: a TrainState, or the parameters alone.
        x: `(samples, *in_shape)`.
        batch_size: samples computed at once.
        mesh, shardings: the devices to compute on, as for `evaluate`.

    Returns:
        `(samples, *out_shape)`, on a mesh a copy on each device.

    Raises:
        ValueError: empty data, or features that do not match the parameters; a mesh or shardings
            as for `train`.
        TypeError: the parameters of another model; a mesh or shardings as for `train`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(2), fnet.softmax)
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> fnet.predict(net, params, jnp.zeros((5, 3))).shape
        (5, 2)
    """
    net, (params, model_state) = as_layer(net, "net"), trees(state)
    batch_size = check_batch_size(batch_size, x)
    devices = devices_of(net, params, mesh, shardings)
    params, model_state = placed(devices, params, model_state)
    return outputs(net, params, model_state, devices.replicate(jnp.asarray(x)), batch_size, devices)


def predict_classes(
    net: Layer,
    state: TrainState | Tree,
    x: Any,
    batch_size: int = BATCH_SIZE,
    *,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> jax.Array:
    """The most probable class of each sample; for a single probability, whether it is above 0.5.

    Args:
        net, state, x, batch_size, mesh, shardings: as for `predict`.

    Returns:
        `(samples, ...)`, int32.

    Raises:
        ValueError, TypeError: as `predict`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> fnet.predict_classes(fnet.softmax, {}, jnp.array([[1.0, 2.0], [2.0, 1.0]]))
        Array([1, 0], dtype=int32)
    """
    y = predict(net, state, x, batch_size, mesh=mesh, shardings=shardings)
    return (y[..., 0] > 0.5).astype(int) if y.shape[-1] == 1 else y.argmax(-1)


def trees(state: TrainState | Tree) -> tuple[Tree, Tree]:
    """Parameters and model state."""
    return (state.params, state.model_state) if isinstance(state, TrainState) else (state, {})


def placed(devices: Devices, params: Tree, model_state: Tree) -> tuple[Tree, Tree]:
    state = devices.shard_state({"params": params, "model_state": model_state})
    return state["params"], state["model_state"]
