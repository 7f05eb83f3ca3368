"""Batches of data: an epoch of them, and a function mapped over them."""

from collections.abc import Callable, Iterator
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


def map_batches(function: Callable[[Any], Any], arrays: Any, batch_size: int) -> Any:
    """`function` of the rows of `arrays`, a batch at a time, in one loop of one body.

    The last batch is filled up by repeating the last row, whose extra outputs are dropped: each
    output must depend on its own row alone.
    """
    size = num_samples(arrays)
    batch_size = min(batch_size, size)

    def batch(start: jax.Array) -> Any:
        rows = jnp.minimum(start + jnp.arange(batch_size), size - 1)
        return function(jax.tree.map(lambda array: array[rows], arrays))

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
