"""Programs of fnet compiled for devices that are not here, and read."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import fnet
from bench.child import Clock, Result
from bench.data import BATCH_SIZE, SAMPLES
from bench.jobs import with_fnet
from bench.jobs.tasks import vae_loss, vae_params
from fnet.core.platform import made_for
from fnet.data.batches import Samples
from fnet.distributed.sharding import Devices
from fnet.fitting.sources import BLOCK, segment_steps
from fnet.planning.compiled import Figures, read
from fnet.planning.exchanges import Exchange, exchanges
from fnet.planning.targets import Target, target
from fnet.training.program import make_program, training_values
from fnet.training.signature import batch_like
from fnet.training.step import empty_sums

EVEN = SAMPLES // BATCH_SIZE * BATCH_SIZE  # no smaller last batch, which is a second step
IMAGES, LABELS = ((28, 28), np.uint8), ((), np.int32)
ONE = {"data": 1}
CROSSENTROPY = "sparse_categorical_crossentropy"

Axes = Mapping[str, int]  # of a mesh: names and numbers of devices


class Lowered(NamedTuple):
    """A program before it is compiled, the data it takes, and the mesh it is for."""

    program: Any
    data: Any
    mesh: Mesh


def mesh_of(devices: Target, axes: Axes = ONE) -> Mesh:
    """The first devices under named axes."""
    chosen = np.array(devices.devices[: math.prod(axes.values())]).reshape(tuple(axes.values()))
    return Mesh(chosen, tuple(axes))


def there(mesh: Mesh, tree: Any) -> Any:
    """The shapes of a tree, a copy of which lies on each device of a mesh."""
    copies = NamedSharding(mesh, PartitionSpec())

    def one(leaf: Any) -> jax.ShapeDtypeStruct:
        weak = getattr(leaf, "weak_type", False)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=copies, weak_type=weak)

    return jax.tree.map(one, tree)


def samples(mesh: Mesh, number: int, *leaves: Any) -> Any:
    """The shapes of a tuple of arrays with so many samples."""
    return there(mesh, tuple(jax.ShapeDtypeStruct((number, *shape), of) for shape, of in leaves))


def started(net: Any, optimizer: Any, in_shape: Any) -> Any:
    return jax.eval_shape(lambda: fnet.train_state(net, optimizer, jax.random.key(0), in_shape))


def trained(
    devices: Target,
    task: Any,
    state: Any,
    leaves: Any = (IMAGES, LABELS),
    number: int = EVEN,
    batch_size: int = BATCH_SIZE,
    run: Callable[..., Any] = fnet.train,
    axes: Axes = ONE,
) -> Lowered:
    """Five epochs of `train`, with a mesh if it has several devices."""
    mesh = mesh_of(devices, axes)
    data = samples(mesh, number, *leaves)
    data = data if len(leaves) > 1 else data[0]
    on: dict[str, Any] = {"mesh": mesh} if axes != ONE else {}

    def program(state: Any, data: Any) -> Any:
        return run(task, state, data, epochs=5, batch_size=batch_size, **on)

    return Lowered(jax.jit(program).lower(there(mesh, state), data), data, mesh)


def headline(**options: Any) -> tuple[Any, Any]:
    """Its task and its state."""
    net = with_fnet.network()
    task = fnet.supervised(net, CROSSENTROPY, ["accuracy"], **options)
    return task, started(net, with_fnet.optimizer(), IMAGES[0])


def ensemble(devices: Target, members: int) -> Lowered:
    task, state = headline()
    stacked = jax.eval_shape(lambda s: jax.tree.map(lambda x: jnp.stack([x] * members), s), state)
    return trained(devices, task, stacked, run=partial(fnet.train_many, form="vmap"))


def convnet() -> tuple[Any, Any]:
    """The one of examples/convnet.py."""
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.reshape((28, 28, 1)),
        fnet.conv(32, (5, 5), strides=2, padding="same"),
        fnet.relu,
        fnet.max_pool((2, 2)),
        fnet.conv(64, (3, 3), padding="same"),
        fnet.relu,
        fnet.flatten,
        fnet.dropout(0.5),
        fnet.dense(10),
        fnet.softmax,
    )
    task = fnet.supervised(net, CROSSENTROPY, ["accuracy"])
    return task, started(net, "adam", IMAGES[0])


def transformer(
    layers: int, width: int, heads: int, length: int, letters: int, **options: Any
) -> tuple[Any, Any]:
    """A causal one, with layers in a loop whose insides are computed again on the way back."""
    block = fnet.sequential(
        fnet.residual(fnet.rms_norm(), fnet.attention(heads, causal=True)),
        fnet.residual(fnet.rms_norm(), fnet.dense(4 * width), fnet.gelu, fnet.dense(width)),
    )
    net = fnet.sequential(
        fnet.embedding(letters, width),
        fnet.learned_positions(),
        fnet.scan_layers(fnet.remat(block), layers),
        fnet.rms_norm(),
        fnet.dense(letters),
        fnet.softmax,
    )
    state = started(net, fnet.adamw(1e-3), (length,))
    return fnet.supervised(net, CROSSENTROPY, **options), state


def small_transformer(devices: Target) -> Lowered:
    task, state = transformer(layers=2, width=64, heads=4, length=64, letters=96)
    return trained(devices, task, state, [((64,), np.int32)] * 2, number=4000, batch_size=32)


def large_transformer(devices: Target, batch_size: int, axes: Axes) -> Lowered:
    """One of 0.11 billion parameters, ten steps an epoch."""
    task, state = transformer(
        layers=12, width=768, heads=12, length=1024, letters=32_768, compute_dtype="bfloat16"
    )
    leaves = [((1024,), np.int32)] * 2
    return trained(devices, task, state, leaves, 10 * batch_size, batch_size, axes=axes)


def own_task(devices: Target) -> Lowered:
    """The VAE of the part "tasks"."""
    state = jax.eval_shape(
        lambda: fnet.TrainState.create(
            vae_params(jax.random.key(0)), fnet.adam(), jax.random.key(1)
        )
    )
    return trained(devices, fnet.task(vae_loss), state, [((784,), np.uint8)])


def segment(devices: Target) -> Lowered:
    """A call of `fit`, of many steps."""
    task, state = headline()
    mesh = mesh_of(devices)
    state, data = there(mesh, state), samples(mesh, EVEN, IMAGES, LABELS)
    batch = batch_like(data, BATCH_SIZE)
    values = training_values(task, state.params, state.model_state, batch, state.key)
    program = make_program(task, (), 1, Devices(platform=devices.platform)).with_values(values)
    sums = there(mesh, empty_sums(program, EVEN // BATCH_SIZE, BATCH_SIZE))
    rows = there(mesh, jax.eval_shape(Samples.of, data))
    order = there(mesh, jax.ShapeDtypeStruct((EVEN,), np.int32))
    first = start = stop = jax.ShapeDtypeStruct((), np.int32)
    lowered = segment_steps.lower(
        program, state, sums, rows, order, first, start, stop,
        BATCH_SIZE, BATCH_SIZE, BLOCK.get(devices.platform, 1),
    )  # fmt: skip
    return Lowered(lowered, rows, mesh)


def predicted(devices: Target) -> Lowered:
    task, state = headline()
    mesh = mesh_of(devices)
    data = samples(mesh, SAMPLES, IMAGES)[0]
    program = jax.jit(lambda state, x: fnet.predict(task.net, state, x))
    return Lowered(program.lower(there(mesh, state), data), data, mesh)


def evaluated(devices: Target) -> Lowered:
    task, state = headline()
    mesh = mesh_of(devices)
    data = samples(mesh, SAMPLES, IMAGES, LABELS)
    program = jax.jit(lambda state, data: fnet.evaluate(task, state, data))
    return Lowered(program.lower(there(mesh, state), data), data, mesh)


PROGRAMS: dict[str, Callable[[Target], Lowered]] = {
    "headline": lambda on: trained(on, *headline()),
    "bfloat16": lambda on: trained(on, *headline(compute_dtype="bfloat16")),
    "fit's segment": segment,
    "16 models": lambda on: ensemble(on, 16),
    "convnet": lambda on: trained(on, *convnet()),
    "transformer": small_transformer,
    "VAE": own_task,
    "mesh of 4": lambda on: trained(on, *headline(), axes={"data": 4}),
    "mesh of 2 x 2": lambda on: trained(on, *headline(), axes={"data": 2, "model": 2}),
    "evaluate": evaluated,
    "predict": predicted,
}
TARGETS = {"v5e": "v5e:2x2", "h100": "h100:4"}


class Compiled(NamedTuple):
    """What a program is found to be."""

    figures: Figures
    exchanges: tuple[Exchange, ...]
    data: int  # bytes of the data on a device, as its layout pads them
    seconds: float  # of compiling, on all cores together


def compiled(lowered: Lowered, devices: Target) -> Compiled:
    options = dict(devices.compiler_options)
    began = time.process_time()  # which does not grow when the machine has other work
    program = lowered.program.compile(compiler_options=options)
    seconds = time.process_time() - began
    sent = exchanges(program.as_text(), dict(lowered.mesh.shape))
    first = jax.jit(lambda data: jax.tree.map(lambda leaf: leaf[0], data))
    taken = read(first.lower(lowered.data).compile(compiler_options=options)).arguments
    return Compiled(read(program), sent, taken, seconds)


def programs(clock: Clock, name: str) -> Result:
    """All of them, for the devices of that name."""
    devices = target(TARGETS[name])
    return {title: row(lowered(title, devices), devices) for title in PROGRAMS}


def lowered(title: str, devices: Target) -> Lowered:
    with made_for(devices.absent):
        return PROGRAMS[title](devices)


def row(lowered: Lowered, devices: Target) -> Result:
    found = compiled(lowered, devices)
    return asdict(found.figures) | {
        "host_waits": found.figures.host_waits(devices.platform),
        "exchanges": [asdict(one) for one in found.exchanges],
        "peak": found.figures.peak,
        "data": found.data,
        "seconds": found.seconds,
    }


def scaled(clock: Clock, name: str, program: str) -> Result:
    """One program with 128 samples, or 8 sequences, a device."""
    devices = target(name)
    count = len(devices.devices)
    axes = {"data": count}
    with made_for(devices.absent):
        if program == "headline":
            size = BATCH_SIZE * count
            task, state = headline()
            lowered = trained(devices, task, state, number=10 * size, batch_size=size, axes=axes)
        else:
            lowered = large_transformer(devices, 8 * count, axes)
    return row(lowered, devices)
