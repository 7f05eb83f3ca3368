"""Sharding: how the arrays of a run lie on the devices of a mesh.

All of it is `jit` over arrays with a `NamedSharding`: the compiler adds the communication, so a
mean over the batch is a mean over the whole batch on any number of devices.
"""

import math
import operator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..core.mesh import DATA, by_compiler, check_mesh, samples_stay
from ..core.platform import absent, platform
from ..core.trees import Tree, by_path, on_device
from ..core.values import describe
from ..layers.base import Shape
from .layouts import model_parallel

COPIES = PartitionSpec()  # one on each device
DATA_SHARE = 1 / 4  # of a device's memory for a copy of the data: the rest is for training

T = TypeVar("T")


class ParamSharding(NamedTuple):
    """A parameter and how it lies on the mesh."""

    name: str  # dense/kernel
    shape: Shape
    spec: PartitionSpec


@dataclass(frozen=True)
class Devices:
    """A mesh and the layout of the parameters on it, as a static value; one device unless given."""

    mesh: Mesh | None = None
    layout: tuple[ParamSharding, ...] = ()  # longer names first
    platform: str = "cpu"

    def shard_batch(self, batch: T) -> T:
        """Put a batch on the devices, see `over_data`."""
        if self.mesh is None or batch is None:
            return jax.tree.map(on_device, batch)
        return put(batch, over_data(self.mesh, len(jax.tree.leaves(batch)[0])))

    def shard_batches(self, batches: T) -> T:
        """The same for several batches, one for each entry of the first axis."""
        if self.mesh is None:
            return batches
        sharding = over_data(self.mesh, jax.tree.leaves(batches)[0].shape[1])
        return put(batches, NamedSharding(self.mesh, PartitionSpec(None, *sharding.spec)))

    def replicate(self, tree: T) -> T:
        """Put a copy of the arrays on each device."""
        if self.mesh is None:
            return jax.tree.map(on_device, tree)
        return put(tree, NamedSharding(self.mesh, COPIES))

    def spread(self, data: T) -> T:
        """Put data on the devices, whose samples any device may need: a copy on each or, where that
        would take more than DATA_SHARE of its memory, a part of the samples on each.

        Then each step sends its batch. Samples whose number the mesh's axis "data" does not divide
        are copied, and so are those of many processes.
        """
        leaves = jax.tree.leaves(data)
        if self.mesh is None or not leaves:
            return self.replicate(data)
        size = sum(math.prod(jnp.shape(leaf)) * jnp.result_type(leaf).itemsize for leaf in leaves)
        parts = over_data(self.mesh, len(leaves[0]))
        here = parts.is_fully_addressable
        if here and size > DATA_SHARE * (memory_limit(self.mesh) or math.inf):
            return put(data, parts)
        return self.replicate(data)

    def shard_state(self, state: T) -> T:
        """Put a TrainState, or a dict of some of its fields, on the devices.

        The state that an optimizer keeps of a parameter lies as the parameter does, and so do
        running statistics with the shape of a parameter of their layer. Each device holds a copy
        of everything else.
        """
        mesh = self.mesh
        if mesh is None:
            return state
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: put(leaf, NamedSharding(mesh, self.spec(path, jnp.shape(leaf)))),
            state,
        )

    def gathering(self) -> AbstractContextManager[Any]:
        """Within it, layers gather parameters that are cut over the axis of the samples."""
        cut = any(DATA in axes_of(part) for one in self.layout for part in one.spec)
        return samples_stay(self.mesh if cut else None)

    def spec(self, path: Any, shape: Shape) -> PartitionSpec:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        layer, _, _ = name.rpartition("/")
        for laid in self.layout:
            its_layer, _, _ = f"model_state/{laid.name}".rpartition("/")
            if shape == laid.shape and (name.endswith(f"/{laid.name}") or layer == its_layer):
                return laid.spec
        return COPIES


def over_data(mesh: Mesh, size: int) -> NamedSharding:
    """Split a batch over the mesh's axis "data", or copy it to each device if that does not divide.

    A batch computed everywhere needs no padding, which batch statistics would see.
    """
    return NamedSharding(mesh, PartitionSpec(DATA) if size % mesh.shape[DATA] == 0 else COPIES)


def memory_limit(mesh: Mesh) -> int | None:
    """The bytes that a device of the mesh has, if it says so: a CPU does not."""
    if there := absent.get():
        return there.memory
    try:
        stats = mesh.devices.flat[0].memory_stats()
    except jax.errors.JaxRuntimeError:  # of a device that is only compiled for
        return None
    return stats and stats.get("bytes_limit")


def put(tree: T, sharding: NamedSharding) -> T:
    """The arrays with that sharding; in a program, a constraint for the compiler."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, jax.core.Tracer):
            return lax.with_sharding_constraint(leaf, sharding)
        own = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
        if own and not sharding.is_fully_addressable:
            return sent(leaf, sharding)
        return jax.device_put(leaf, sharding)

    return jax.tree.map(one, tree)


def sent(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array that each process holds, on the devices of all; JAX takes it from the host."""
    if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
        data = sent(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    weak = getattr(leaf, "weak_type", False) and not leaf.ndim
    return jax.device_put(leaf.item() if weak else np.asarray(leaf), sharding)


def devices_of(params: Tree, mesh: Mesh | None, given: Tree | None) -> Devices:
    """The devices that `mesh` and `shardings` describe.

    `given` is a tree like `params`, or a function `(params, mesh)` that makes one.
    """
    if mesh is None:
        if given is not None:
            raise ValueError(
                f"`shardings` must come with `mesh`, got {describe(given)} without one. Pass the "
                f"mesh of its devices too."
            )
        return Devices(platform=platform())
    mesh = check_mesh(mesh)
    given = model_parallel if given is None else given
    leaves, chosen = by_path(params), by_path(given(params, mesh) if callable(given) else given)
    if leaves.keys() != chosen.keys():
        raise TypeError(
            f"`shardings` must be a tree like the parameters, or a function (params, mesh) that "
            f"gives one, got unknown {sorted(chosen.keys() - leaves.keys())}, missing "
            f"{sorted(leaves.keys() - chosen.keys())}. Change what fnet.shardings gives."
        )
    layout = [laid(name, leaf, chosen[name], mesh) for name, leaf in leaves.items()]
    layout.sort(key=lambda one: len(one.name), reverse=True)
    return Devices(mesh, tuple(layout), platform())


def laid(name: str, leaf: Any, sharding: Any, mesh: Mesh) -> ParamSharding:
    if not isinstance(sharding, NamedSharding) or by_compiler(sharding.mesh) != mesh:
        raise TypeError(
            f"`shardings` must hold a NamedSharding of `mesh` for each parameter, got "
            f"{sharding!r} for {name!r}. Write NamedSharding(mesh, PartitionSpec(...))."
        )
    shape = jnp.shape(leaf)
    parts = [math.prod(mesh.shape[axis] for axis in axes_of(cut)) for cut in sharding.spec]
    if len(parts) > len(shape) or any(map(operator.mod, shape, parts)):
        raise ValueError(
            f"`shardings` must cut each parameter into even parts, got {sharding.spec} for "
            f"{name!r} of shape {shape} on a mesh of {dict(mesh.shape)}. Cut another axis, or "
            f"write PartitionSpec() for a copy on each device."
        )
    return ParamSharding(name, shape, sharding.spec)


def axes_of(cut: Any) -> tuple[str, ...]:
    """The axes of the mesh that a part of a PartitionSpec names."""
    if cut is None:
        return ()
    return cut if isinstance(cut, tuple) else (cut,)


def spread_members(states: T, devices: Devices) -> T:
    """Deal the members out over the mesh's axis "data", as many to each device."""
    mesh = devices.mesh
    if mesh is None:
        return states
    members, parts = len(jax.tree.leaves(states)[0]), mesh.shape[DATA]
    if members % parts:
        raise ValueError(
            f"`states` must hold a number of members that the mesh's axis {DATA!r} divides, got "
            f"{members} members and {parts} parts. Add members, or use fewer devices."
        )
    return put(states, NamedSharding(mesh, PartitionSpec(DATA)))
