"""A run that is compiled and not run: whether it fits, what a step does, how fast it can be."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ..core.checks import check_batch_size, is_integer, numbers_of
from ..core.flops import count_flops
from ..core.mesh import DATA
from ..core.platform import made_for
from ..core.tracebacks import api_boundary
from ..core.trees import Tree
from ..core.values import describe
from ..data.batches import num_samples
from ..models.model import count_params
from ..training.signature import batch_like
from ..training.state import TrainState, check_state
from ..training.step import train_step
from ..training.task import Task, check_task
from ..training.train import train
from .compiled import read
from .exchanges import exchanges
from .limits import limits_of
from .memory import memory_of, size_of
from .report import Plan
from .targets import Target, target


@api_boundary
def plan(
    task: Task,
    state: TrainState,
    data: Any,
    *,
    batch_size: int | None = 32,
    steps: int | None = None,
    validation: Any = None,
    devices: str | None = None,
    mesh_shape: Mapping[str, int] | None = None,
    shardings: Any = None,
) -> Plan:
    """A run of `train`, compiled and not run: does it fit, what does a step do, how fast can it be?

    It is compiled for the devices at hand, or for others, which are not needed for it: a laptop
    plans a run on 256 chips. Nothing is computed, and state and data may be shapes.

    The least time of a step is the largest of four, each what the step does at least over what a
    device does at most, by the figures that its maker publishes: FLOPs of products; bytes of the
    state, read and written, beyond 160 MiB, which a chip may keep to itself; bytes sent to other
    devices; and the launches of kernels. A real step does more than that, and not all at once.

    Args:
        task, state, data, batch_size, steps, validation: as for `train`, or shapes in place of
            arrays: `jax.eval_shape(lambda: fnet.train_state(...))`, `jax.ShapeDtypeStruct(...)`.
        devices: the name of devices: `"v5e:16x16"`, a kind of TPU and the shape of a slice of
            them (v4, v5e, v5p, v6e); `"h100:8"`, a GPU and how many, 8 a host. None for those at
            hand.
        mesh_shape: the axes of the mesh and their lengths, `{"data": 16, "model": 16}`, which
            must use all devices. By default all of those named lie along "data"; at hand it is
            one device without a mesh, as in `train`.
        shardings: as for `train`; a function, such as `fnet.fsdp`, for devices that are not here.

    Returns:
        A `Plan`: print it, read its attributes, or turn it into JSON with its `to_dict()`. A run
        that does not fit has a plan too, whose `fits` is False.

    Raises:
        ValueError: unknown devices, a mesh that does not use all of them or has no axis "data", or
            as `train`.
        TypeError: `devices` is not a name, `mesh_shape` not a dict of lengths, or as `train`.
        ImportError: what compiles for the devices is not installed.

    Example:
        >>> import jax, fnet
        >>> net = fnet.sequential(fnet.dense(512), fnet.relu, fnet.dense(10), fnet.softmax)
        >>> task = fnet.supervised(net, "sparse_categorical_crossentropy")
        >>> state = jax.eval_shape(
        ...     lambda: fnet.train_state(net, "rmsprop", jax.random.key(0), (784,))
        ... )
        >>> x = jax.ShapeDtypeStruct((60000, 784), "float32")
        >>> y = jax.ShapeDtypeStruct((60000,), "int32")
        >>> plan = fnet.plan(task, state, (x, y), batch_size=128)
        >>> plan.fits, plan.steps, plan.last_batch, plan.flops
        (True, 469, 96, {'float32': 209453056})

    Source of the idea of limits: Williams, Waterman and Patterson 2009, Roofline, section 3.
    """
    task, state, where = check_task(task), check_state(state), target(devices)
    state = shapes_of("state", state)
    data, validation = (
        shapes_of(name, numbers_of(f"`{name}`", tree))
        for name, tree in (("data", data), ("validation", validation))
    )
    mesh = mesh_of(where, mesh_shape)

    def run(state: TrainState, data: Any, validation: Any) -> Any:
        with made_for(where.absent):
            return train(
                task, state, data, epochs=1, batch_size=batch_size, steps=steps,
                validation=validation, mesh=mesh, shardings=shardings,
            )  # fmt: skip

    began = time.perf_counter()
    arguments = on_devices(run, (state, data, validation), where, mesh)
    compiled, problem = compile_for(where, run, arguments)
    seconds = time.perf_counter() - began

    samples = num_samples(data) if steps is None else steps
    length = 1 if data is None else check_batch_size(batch_size, samples)
    count = 1 if mesh is None else mesh.size
    parts = 1 if mesh is None else mesh.shape[DATA]
    divided = length % parts == 0
    batch = batch_like(data, length)
    flops = count_flops(train_step(task), state, batch)
    flops_a_device = {
        dtype: number // (count if divided else count // parts) for dtype, number in flops.items()
    }
    figures = read(compiled) if compiled else None
    mesh_shape = {} if mesh is None else dict(mesh.shape)
    sent = exchanges(compiled.as_text(), mesh_shape) if compiled and mesh_shape else ()
    memory = memory_of(where, arguments, figures, problem)
    return Plan(
        devices=where.name,
        device_count=count,
        mesh_shape=mesh_shape,
        optimizer=type(state.optimizer).__name__,
        parameters=count_params(state.params),
        samples=samples,
        batch_size=length,
        divided=divided,
        steps=-(-samples // length),
        last_batch=samples % length,
        memory=memory,
        flops=flops,
        flops_a_device=flops_a_device,
        kernels=figures.kernels if figures else None,
        host_waits=figures.host_waits(where.platform) if figures else None,
        cycles=figures.cycles if figures else None,
        exchanges=sent,
        limits=limits_of(
            where.chip,
            flops_a_device,
            size_of(arguments[0]),
            sum(one.sent for one in sent),
            figures.kernels if figures else 0,
        ),
        compile_seconds=seconds,
        problem=problem,
    )


def shapes_of(argument: str, tree: Tree) -> Tree:
    """The arrays of a tree as shapes; shapes stay."""
    try:
        return jax.eval_shape(lambda tree: tree, tree)
    except TypeError as error:
        raise TypeError(
            f"`{argument}` must hold arrays or their shapes, got {describe(tree)}. Write "
            f"jax.ShapeDtypeStruct(shape, dtype) in place of an array that is not here."
        ) from error


def mesh_of(where: Target, shape: Mapping[str, int] | None) -> Mesh | None:
    """All of the devices under named axes; None for one device, which needs no mesh."""
    count = len(where.devices)
    if shape is None:
        if where.here or count == 1:
            return None
        shape = {DATA: count}
    named = isinstance(shape, Mapping) and all(isinstance(name, str) for name in shape)
    if not named or not all(is_integer(size, 1) for size in shape.values()):
        raise TypeError(
            f"`mesh_shape` must be a dict of the axes and their lengths, got {shape!r}. "
            f"Write {{'data': {count}}}."
        )
    if math.prod(shape.values()) != count or DATA not in shape:
        raise ValueError(
            f"`mesh_shape` must have an axis 'data' and lengths whose product is the number of "
            f"devices, {count}, got {dict(shape)}. Write {{'data': {count}}}."
        )
    axes = (AxisType.Auto,) * len(shape)
    return jax.make_mesh(
        tuple(shape.values()), tuple(shape), axis_types=axes, devices=where.devices
    )


def on_devices(
    run: Callable[..., Any], shapes: tuple[Any, ...], where: Target, mesh: Mesh | None
) -> tuple[Any, ...]:
    """The arguments of a run with the shardings that they have there.

    On a mesh these are the first constraints that the run puts on them.
    """
    leaves, structure = jax.tree.flatten(shapes)
    jaxpr = jax.make_jaxpr(run)(*shapes).jaxpr  # checks everything, too
    put: dict[Any, Any] = {}
    for equation in jaxpr.eqns:
        if equation.primitive.name == "sharding_constraint":
            put.setdefault(id(equation.invars[0]), equation.params["sharding"])
    alone = SingleDeviceSharding(where.devices[0])
    whole = alone if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.tree.unflatten(
        structure,
        [
            jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, weak_type=leaf.weak_type, sharding=put.get(id(var), whole)
            )
            for leaf, var in zip(leaves, jaxpr.invars, strict=True)
        ],
    )


def compile_for(
    where: Target, run: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, str | None]:
    """The compiled run, or the words of a compiler that finds that it does not fit."""
    lowered = jax.jit(run).lower(*arguments)
    try:
        return lowered.compile(compiler_options=dict(where.compiler_options)), None
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None, str(error).splitlines()[0]
