"""Layouts: which axis of each parameter is cut over which axis of a mesh.

A layout is a function `(params, mesh) -> tree of NamedSharding` that reads names and shapes alone,
so it serves the parameters of any task, of arrays or of shapes.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..core.mesh import DATA, MODEL, check_mesh
from ..core.trees import Tree, by_path
from ..layers.base import Layer, Shape, as_layer
from ..layers.combinators import Combinator, check_known

WIDE = 512  # outputs that make a kernel worth cutting: fewer leave a device too little to do
LARGE = 2**16  # entries that make a parameter worth gathering: fewer cost less to keep than to send

ROWS, COLUMNS = -2, -1  # axes of a kernel, which stacked layers have others in front of
HEADS = "query", "key", "value"  # kernels of attention, all of which take the same input

Cut = Callable[[str, Shape], int | None]  # an axis, by a parameter's name and shape


def shardings(net: Layer, params: Tree, mesh: Mesh) -> Tree:
    """The layout of parameters by default: wide kernels are cut over the mesh's axis "model".

    Kernels are cut in pairs. The first, with at least 512 outputs that the axis divides, is cut by
    columns, `PartitionSpec(None, "model")`, and its bias with it; the next one of its sequence, if
    its inputs are as many as these outputs, by rows, `PartitionSpec("model")`, and its bias is
    whole. So a device computes its part of what is between them alone, and one sum over devices
    follows the pair. In attention the kernels of query, key and value are cut by columns, hence by
    heads, and that of the output by rows; an `embedding` is cut by rows. Each device holds a copy
    of everything else, and of all parameters if the mesh has no axis "model". A wide array of
    another name than a layer of fnet gives is cut along its last axis.

    Args:
        net: the model.
        params: its parameters, or their shapes from `jax.eval_shape`.
        mesh: devices under named axes, one of them "data".

    Returns:
        A tree of NamedSharding like `params`. Change some of them and pass the tree as `shardings`.

    Raises:
        TypeError: `mesh` is not a mesh, or the parameters belong to another model.
        ValueError: `mesh` has no axis "data".

    Example:
        >>> import jax, fnet
        >>> from jax.sharding import PartitionSpec
        >>> mesh = jax.make_mesh((1, 1), ("data", "model"))
        >>> net = fnet.sequential(fnet.dense(512), fnet.relu, fnet.dense(10))
        >>> params = fnet.init(net, jax.random.key(0), (784,))
        >>> layout = fnet.shardings(net, params, mesh)
        >>> layout["dense"]["kernel"].spec == PartitionSpec(None, "model")
        True
        >>> layout["dense_1"]["kernel"].spec == PartitionSpec("model")
        True
        >>> layout["dense_1"]["bias"].is_fully_replicated
        True

    Source: Shoeybi et al. 2019, Megatron-LM, section 3.
    """
    net, mesh = as_layer(net, "net"), check_mesh(mesh)
    if isinstance(net, Combinator):
        check_known("parameters", params, [name for name, _ in net.named()])
    return model_parallel(params, mesh)


def model_parallel(params: Tree, mesh: Mesh) -> Tree:
    """The rule of `shardings`, which needs no model."""
    cut = in_pairs(params, mesh)
    return laid_out(params, mesh, lambda name, shape: {cut(name, shape): MODEL})


def fsdp(params: Tree, mesh: Mesh) -> Tree:
    """The layout of fully sharded data parallelism: large parameters are cut over "data" too.

    Each of at least 65,536 entries is cut along its last axis or, if "data" does not divide that
    one, the axis before it, in addition to what `shardings` cuts over "model". The state that an
    optimizer keeps of it lies as it does. A step gathers the parameters of a layer where the layer
    is computed, and each device updates its part from its part of the gradient; so the memory for
    parameters, gradients and optimizer falls with the number of devices. Samples stay where they
    are: put layers of equal form into `scan_layers`, of which one is gathered at a time.

    Args:
        params: the parameters of a model, or their shapes from `jax.eval_shape`.
        mesh: devices under named axes, one of them "data".

    Returns:
        A tree of NamedSharding like `params`. Pass the function or the tree as `shardings`.

    Raises:
        TypeError: `mesh` is not a mesh.
        ValueError: `mesh` has no axis "data".

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net, mesh = fnet.dense(512), jax.make_mesh((1,), ("data",))
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (784,))
        >>> tuple(fnet.fsdp(state.params, mesh)["kernel"].spec)
        (None, 'data')
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> data = jnp.ones((8, 784)), jnp.ones((8, 512))
        >>> state, _ = fnet.train(task, state, data, epochs=1, mesh=mesh, shardings=fnet.fsdp)
        >>> int(state.step)
        1

    Source: Rajbhandari et al. 2020, ZeRO, section 5.3 (stage 3).
    """
    mesh = check_mesh(mesh)
    cut, parts = in_pairs(params, mesh), mesh.shape[DATA]

    def over_both(name: str, shape: Shape) -> Any:
        over_model = cut(name, shape)
        axes = {over_model: MODEL}
        if math.prod(shape) < LARGE:
            return axes
        for axis in (COLUMNS, ROWS)[: len(shape)]:
            if axis != over_model and shape[axis] % parts == 0:
                return axes | {axis: DATA}
        if over_model is not None and shape[over_model] % (mesh.shape[MODEL] * parts) == 0:
            return {over_model: (MODEL, DATA)}
        return axes

    return laid_out(params, mesh, over_both)


def laid_out(params: Tree, mesh: Mesh, axes: Callable[[str, Shape], Any]) -> Tree:
    """The shardings of parameters, given what cuts each of its axes, counted from the end."""

    def sharding(name: str, shape: Shape) -> NamedSharding:
        over = axes(name, shape)
        spec = [over.get(axis) for axis in range(-len(shape), 0)]
        while spec and spec[-1] is None:  # as jit writes it: one way, one compiled program
            spec.pop()
        return NamedSharding(mesh, PartitionSpec(*spec))

    leaves = [sharding(name, jnp.shape(leaf)) for name, leaf in by_path(params).items()]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def in_pairs(params: Tree, mesh: Mesh) -> Cut:
    """Which axis of a parameter is cut over "model", or None."""
    parts = mesh.shape.get(MODEL, 0)
    kernels = {
        layer: jnp.shape(leaf)
        for (layer, own), leaf in ((split(name), leaf) for name, leaf in by_path(params).items())
        if own == "kernel" and jnp.ndim(leaf) >= 2
    }
    cut_by: dict[str, int | None] = {}
    before: dict[str, int] = {}  # by sequence: the outputs of its last kernel, if it has columns
    columns: set[tuple[Any, ...]] = set()  # sequences and the outputs of their kernels
    others: set[tuple[Any, ...]] = set()
    for layer in sorted(kernels, key=in_order):
        (around, own), (*_, inputs, outputs) = split(layer), kernels[layer]
        second = before.pop(around, None) == inputs and own not in HEADS
        cut_by[layer] = ROWS if second else by_columns(outputs, parts)
        by_outputs = cut_by[layer] == COLUMNS
        (columns if by_outputs else others).add((around, outputs))
        if by_outputs and own not in ("key", "value"):
            before[around] = outputs

    def cut(name: str, shape: Shape) -> int | None:
        layer, own = split(name)
        if own == "kernel" and layer in kernels:
            return cut_by[layer]
        if own == "embeddings":
            rows = in_order(layer)[2] == "embedding" and by_columns(shape[-2], parts)
            return ROWS if rows else None
        wide = by_columns(shape[-1], parts) if shape else None
        if own == "bias" and layer in kernels:
            return wide if cut_by[layer] == COLUMNS else None
        if len(shape) == 1 or own in ("scale", "bias"):  # a normalization: with the kernel before
            around, _ = split(layer)
            return wide if (around, *shape[-1:]) in columns - others else None
        return wide

    return cut


def by_columns(outputs: int, parts: int) -> int | None:
    return COLUMNS if parts and outputs >= WIDE and outputs % parts == 0 else None


def split(name: str) -> tuple[str, str]:
    """What is around a layer or parameter, and its own name."""
    around, _, own = name.rpartition("/")
    return around, own


def in_order(layer: str) -> tuple[bool, bool, str, int]:
    """Sorts layers of a sequence as they are computed: dense, dense_1, ..., dense_10."""
    _, own = split(layer)
    kind, number = re.fullmatch(r"(.*?)_?(\d*)", own).groups()  # type: ignore[union-attr]
    return own == "output", own == "query", kind, int(number or 0)
