"""Batches of data: an epoch of them, and a function mapped over them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..core.checks import check_batch_size, check_data
from ..core.trees import Tree
from .shuffle import epoch_order


def num_samples(data: Tree) -> int:
    """The length of axis 0 of the leaves."""
    return jax.tree.leaves(data)[0].shape[0]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Samples:
    """Data laid out for its rows to be gathered: each sample lies in one piece.

    A TPU would store images of bytes with the samples next to each other, and fetch 146 times the
    bytes of a batch. Made once, before the loop over batches.
    """

    rows: Tree  # (samples, entries) each, or (samples,)
    shapes: tuple[tuple[int, ...], ...] = field(metadata={"static": True})  # of a sample

    @classmethod
    def of(cls, data: Tree) -> "Samples":
        shapes = tuple(leaf.shape[1:] for leaf in jax.tree.leaves(data))
        return cls(jax.tree.map(one_axis_a_sample, data), shapes)

    @property
    def sample_bytes(self) -> int:
        sizes = (
            math.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in jax.tree.leaves(self.rows)
        )
        return sum(sizes)

    def gather(self, numbers: Any) -> Tree:
        """The rows of these numbers."""
        return jax.tree.map(lambda leaf: leaf[numbers], self.rows)

    def shaped(self, rows: Tree) -> Tree:
        """The samples that lie in these rows, as a tree like the data."""
        leaves, structure = jax.tree.flatten(rows)
        samples = [
            leaf.reshape(len(leaf), *shape) for leaf, shape in zip(leaves, self.shapes, strict=True)
        ]
        return jax.tree.unflatten(structure, samples)

    def take(self, numbers: Any) -> Tree:
        """The samples of these numbers, as a tree like the data."""
        return self.shaped(self.gather(numbers))


def one_axis_a_sample(array: Any) -> Any:
    samples, *shape = array.shape
    return array.reshape(samples, math.prod(shape)) if len(shape) > 1 else array


def map_batches(function: Callable[[Any], Any], arrays: Any, batch_size: int) -> Any:
    """`function` of the rows of `arrays`, a batch at a time, in one loop of one body.

    The last batch is filled up by repeating the last row, whose extra outputs are dropped: each
    output must depend on its own row alone.
    """
    size, samples = num_samples(arrays), Samples.of(arrays)
    batch_size = min(batch_size, size)

    def batch(start: jax.Array) -> Any:
        return function(samples.take(jnp.minimum(start + jnp.arange(batch_size), size - 1)))

    outputs = lax.map(batch, jnp.arange(0, size, batch_size))
    return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:])[:size], outputs)


def batches(
    data: Tree, batch_size: int | None, *, key: jax.Array | None = None, epoch: int = 0
) -> Iterator[Tree]:
    """One epoch of batches, in the order in which `train` and `fit` take them.

    Args:
        data: a tree with the samples in axis 0 of every leaf, such as `(x, y)`.
        batch_size: samples a batch; the last batch holds what is left. None for all of them.
        key: the `key` of the TrainState; without one, the order of the data.
        epoch: the number of the epoch.

    Returns:
        An iterator over the batches, trees like `data`.

    Raises:
        ValueError: the data is empty, lengths differ, or the batch size is below 1.
        TypeError: `data` holds no array.

    Example:
        >>> import numpy as np, fnet
        >>> x = np.arange(5)
        >>> [x.tolist() for x, y in fnet.batches((x, x), 2)]
        [[0, 1], [2, 3], [4]]
    """
    data = check_data("`data`", data)
    size = num_samples(data)
    length = check_batch_size(batch_size, size)
    order = np.arange(size) if key is None else np.asarray(epoch_order(key, epoch, size))
    parts = (order[start : start + length] for start in range(0, size, length))
    return (jax.tree.map(lambda array, rows=rows: array[rows], data) for rows in parts)
