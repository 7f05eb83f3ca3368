"""The outputs of a model for any number of samples, a batch at a time in one compiled program."""

from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from ..core.checks import check_batch_size, check_data
from ..core.tracebacks import api_boundary
from ..core.trees import Tree, as_arrays
from ..data.batches import map_batches, num_samples
from ..distributed.sharding import Devices, devices_of
from ..layers.base import Layer, as_layer
from ..models.model import apply, output_shape
from .evaluate import BATCH_SIZE
from .state import TrainState, params_and_state


@api_boundary
def predict(
    net: Layer,
    state: TrainState | Tree,
    x: Any,
    batch_size: int = BATCH_SIZE,
    *,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> Any:
    """The model's output at inference for any number of samples, a batch at a time; pure.

    Args:
        net: the model.
        state: a TrainState, or the parameters alone.
        x: `(samples, *in_shape)`; a dict or tuple of arrays for a model of several.
        batch_size: samples computed at once.
        mesh, shardings: the devices to compute on, as for `evaluate`.

    Returns:
        `(samples, *out_shape)`, one array or a tree of them, on a mesh a copy on each device.

    Raises:
        ValueError: empty data, arrays of different lengths, features that do not match the
            parameters, or a sample without its batch axis; a mesh or shardings as for `train`.
        TypeError: the parameters of another model; a mesh or shardings as for `train`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.sequential(fnet.dense(2), fnet.softmax)
        >>> params = fnet.init(net, jax.random.key(0), (3,))
        >>> fnet.predict(net, params, jnp.zeros((5, 3))).shape
        (5, 2)
    """
    net, (params, model_state) = as_layer(net, "net"), params_and_state(state)
    x = check_data("`x`", as_arrays(x, every_list=True))
    batch_size = check_batch_size(batch_size, num_samples(x))
    devices = devices_of(params, mesh, shardings)
    there = devices.shard_state({"params": params, "model_state": model_state})
    x = devices.spread(x)
    return outputs(net, there["params"], there["model_state"], x, batch_size, devices)


@api_boundary
def predict_classes(
    net: Layer,
    state: TrainState | Tree,
    x: Any,
    batch_size: int = BATCH_SIZE,
    *,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> Any:
    """The most probable class of each sample; for a single probability, whether it is above 0.5.

    Args:
        net, state, x, batch_size, mesh, shardings: as for `predict`.

    Returns:
        `(samples, ...)`, int32, for each output of the model.

    Raises:
        ValueError, TypeError: as `predict`.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> fnet.predict_classes(fnet.softmax, {}, jnp.array([[1.0, 2.0], [2.0, 1.0]]))
        Array([1, 0], dtype=int32)
    """
    y = predict(net, state, x, batch_size, mesh=mesh, shardings=shardings)
    return jax.tree.map(
        lambda y: (y[..., 0] > 0.5).astype(int) if y.shape[-1] == 1 else y.argmax(-1), y
    )


@partial(jax.jit, static_argnames=("net", "batch_size", "devices"))
def outputs(
    net: Layer, params: Tree, model_state: Tree, x: Tree, batch_size: int, devices: Devices
) -> Any:
    if any(array.ndim == 1 for array in jax.tree.leaves(x)):  # are samples numbers, or is it one?
        output_shape(net, jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x))

    def output(x: Tree) -> Any:
        with devices.gathering():
            return apply(net, params, devices.shard_batch(x), model_state)

    return devices.replicate(map_batches(output, x, batch_size))
