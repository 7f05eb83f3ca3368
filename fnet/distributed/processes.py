"""Programs on many processes, each with its own devices."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from ..core.checks import check_batch_size, check_data, check_finite
from ..core.mesh import check_mesh
from ..core.trees import Tree
from ..data.batches import num_samples
from ..data.shuffle import epoch_order
from .sharding import over_data


def host_batches(
    data: Tree, batch_size: int | None, mesh: Mesh, *, key: jax.Array | None = None
) -> "HostBatches":
    """Batches over the devices of all processes; each process reads only its own rows.

    Args:
        data: a tree, such as `(x, y)`, whose leaves have rows to index, as many in each, such as
            `numpy.memmap`. The same in all processes; only their own rows are looked at.
        batch_size: samples a batch of all processes together; None for all of them.
        mesh: devices under named axes, one of them "data". A batch whose size the axis does not
            divide, often the last one, lies on every device as a whole.
        key: the `key` of the TrainState, for the order that `train` and `fit` take; without one,
            the order of the data.

    Returns:
        `data` for `fit`, in each process. A resumed run keeps its order.

    Raises:
        ValueError: the mesh has no axis "data", or as `batches`.
        TypeError: as `batches`.

    Example:
        >>> import jax, numpy as np, fnet
        >>> mesh, x = jax.make_mesh((jax.device_count(),), ("data",)), np.arange(5.0)
        >>> [x.tolist() for x, y in fnet.host_batches((x, x), 2, mesh)]
        [[0.0, 1.0], [2.0, 3.0], [4.0]]
    """
    data = check_data("`data`", data)
    samples = num_samples(data)
    batch_size = check_batch_size(batch_size, samples)
    return HostBatches(data, samples, batch_size, check_mesh(mesh), key)


@dataclass(frozen=True, eq=False)
class HostBatches:
    """Epochs of batches that lie on a mesh; see `host_batches`."""

    data: Tree
    samples: int
    batch_size: int
    mesh: Mesh
    key: jax.Array | None

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Tree]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[Tree]:
        size, order = self.samples, None
        if self.key is not None:  # computed by each process for itself
            data = jnp.asarray(np.asarray(jax.random.key_data(self.key)))
            key = jax.random.wrap_key_data(data, impl=jax.random.key_impl(self.key))
            order = np.asarray(epoch_order(key, number, size))
        for start in range(0, size, self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, size))
            rows = rows if order is None else order[rows]
            sharding = over_data(self.mesh, len(rows))
            yield jax.tree.map(partial(lying, rows=rows, sharding=sharding), self.data)


def lying(array: Any, rows: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Put rows of an array on the devices; rows for other processes are not read."""

    def part(index: Any) -> np.ndarray:
        read = np.asarray(array[rows[index[0]]])
        check_finite("`data` of host_batches", read)
        return read

    return jax.make_array_from_callback((len(rows), *array.shape[1:]), sharding, part)


def is_primary() -> bool:
    """Whether this process writes and prints for all."""
    return jax.process_index() == 0


@contextmanager
def together(what: str) -> Iterator[None]:
    """Do something on every process or none: if one fails, all raise.

    The processes wait for each other at the end, so all of them must come here.

    Raises:
        OSError: another process failed; the one that did raises its own error.
    """
    try:
        yield
    except Exception:
        where(True)
        raise
    if failed := where(False):
        raise OSError(
            f"every process must {what}, got an error in {', '.join(map(str, failed))} of "
            f"{jax.process_count()}. See what that one says."
        )


def where(flag: bool) -> list[int]:
    """The processes in which the flag is set."""
    if jax.process_count() == 1:
        return [0] * flag
    from jax.experimental import multihost_utils

    return np.flatnonzero(multihost_utils.process_allgather(np.array(flag))).tolist()


def as_first(flag: bool) -> bool:
    """The flag of the first process, for decisions that depend on the clock."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.array(flag)))


def preempted(count: int) -> bool:
    """Whether SIGTERM came to any process, so that all must stop here.

    All processes ask at the same, numbered points of the program.
    """
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(count)


@contextmanager
def noting_lost_peers() -> Iterator[None]:
    """Explain an error of the runtime that a lost process causes.

    If process 0 is lost, JAX ends the others itself, in C++ and in its own words, unless their next
    exchange fails first. Where that is the first call of a program, JAX raises a ValueError.

    Raises:
        JaxRuntimeError: with the explanation, in either case.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        of_users = isinstance(error, ValueError) and not re.match("[A-Z_]+: ", str(error))
        if jax.process_count() == 1 or of_users:
            raise
        lost = jax.errors.JaxRuntimeError(str(error))
        lost.add_note(
            f"fit: one of the {jax.process_count()} processes is gone, if this is an error of "
            f"communication. End all of them and start them again, with resume='auto'."
        )
        raise lost from error
