"""The mesh of devices: its axes by name, and where the samples of a batch lie on it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, PartitionSpec

from .values import describe

DATA, MODEL = "data", "model"  # the axes of a mesh that are used, by name


def check_mesh(mesh: Mesh) -> Mesh:
    """Check the mesh, and leave its axes to the compiler."""
    if not isinstance(mesh, Mesh):
        raise TypeError(
            f"`mesh` must be a jax.sharding.Mesh, got {describe(mesh)}. "
            f'Make one: jax.make_mesh((jax.device_count(),), ("data",)).'
        )
    if DATA not in mesh.shape:
        raise ValueError(
            f"`mesh` must have an axis {DATA!r}, over which batches lie, got axes "
            f'{mesh.axis_names}. Name one so: jax.make_mesh((jax.device_count(),), ("data",)).'
        )
    return by_compiler(mesh)


def by_compiler(mesh: Any) -> Mesh:
    """The same devices with automatic axes; `jax.make_mesh` gives explicit ones by default."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * np.ndim(mesh.devices))


def samples_stay(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """Within it, what layers compute stays with the devices of its samples, see `with_samples`."""
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh) if mesh else nullcontext()


def with_samples(tree: Any) -> Any:
    """What a layer computed of a batch, on the devices that hold the batch's samples.

    Where parameters are cut over the axis that the samples are split over, the compiler might send
    samples to the parameters instead, which are far less.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axis = dict(zip(mesh.axis_names, mesh.axis_types, strict=True)).get(DATA)
    if axis != AxisType.Auto:
        return tree

    def one(leaf: Any) -> Any:
        if not leaf.ndim or leaf.shape[0] % mesh.shape[DATA]:
            return leaf
        others = (PartitionSpec.UNCONSTRAINED for _ in leaf.shape[1:])
        return lax.with_sharding_constraint(leaf, PartitionSpec(DATA, *others))

    return jax.tree.map(one, tree)
