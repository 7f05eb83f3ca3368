"""Random access: data that stays where it is, read by row numbers when needed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from ..core.checks import check_numeric, check_split
from ..core.foreign_arrays import from_foreign
from ..core.trees import Tree, as_arrays, from_list

BLOCK = 1024  # rows read at a time for validation

Kinds = tuple[Any, list[tuple[tuple[int, ...], Any]]]  # structure, and shape and dtype of leaves
LookUp = Callable[[list[int]], Tree]


def is_random_access(data: Any) -> bool:
    """Whether to read rows: `data` is an object with rows, or a tree that has one as a leaf."""
    if isinstance(data, (tuple, list, dict)):
        return any(map(is_looked_up, jax.tree.leaves(indexable(data))))
    if isinstance(data, Iterable) and not hasattr(data, "__getitems__"):
        return False
    return is_looked_up(data)


def indexable(data: Any) -> Tree:
    """The tree with lists as arrays, but for a list at its top, which is a tuple."""
    data = tuple(data) if isinstance(data, list) else data
    return jax.tree.map(
        lambda column: from_list(column) if isinstance(column, list) else column,
        data,
        is_leaf=lambda node: isinstance(node, list),
    )


def is_looked_up(column: Any) -> bool:
    """Whether a column has rows, but is not an array in memory."""
    if isinstance(column, np.memmap):
        return True
    if hasattr(column, "chunks"):  # as HDF5 and Zarr have them, and xarray where it reads them
        labelled = hasattr(column, "to_numpy") or isinstance(column, Mapping)
        return not labelled or isinstance(column.chunks, tuple)
    in_memory = isinstance(column, (Sequence, Mapping)) or hasattr(column, "__array__")
    return not in_memory and hasattr(column, "__getitem__") and hasattr(column, "__len__")


def in_memory_or_looked_up(column: Any) -> Any:
    """The column, which gives rows for a list of their numbers: a frame would give columns."""
    return column if is_looked_up(column) else from_foreign("`data`", column)


class RandomAccessData:
    """Samples by number: `read(rows)` gives the tree of these rows.

    Rows are read in increasing order, which HDF5 needs and disks like. All must have the shapes and
    dtypes of the first.
    """

    size: int
    samples: int  # without those held out
    ends: Tree  # the first row and the last

    def __init__(self, data: Any):
        is_tree = isinstance(data, (tuple, list, dict))
        columns = jax.tree.map(in_memory_or_looked_up, indexable(data)) if is_tree else data
        self.size = self.samples = common_length(jax.tree.leaves(columns) if is_tree else [data])
        rows = list(range(min(self.size, 2)))
        if is_tree:
            self.look_up: LookUp = partial(by_column, columns)
        elif answers_lists(data, rows):
            self.look_up = partial(by_batch, data)
        else:
            self.look_up = partial(by_sample, data)
        self.kinds: Kinds | None = None
        self.ends = self.read(np.array([0, self.size - 1][: self.size]))  # the last is there too
        self.kinds = kinds(jax.tree.map(lambda array: array[0], self.ends))

    def read(self, rows: np.ndarray) -> Tree:
        order = np.argsort(rows)
        try:
            batch = self.look_up(rows[order].tolist())
        except IndexError as error:
            raise ValueError(
                f"`data` must have as many rows as its length says, {self.size}, got an "
                f"IndexError for {numbers(rows)}: {error}. Correct its __len__, or fill it up."
            ) from error
        except Exception as error:
            error.add_note(f"raised by `data` for {numbers(rows)}")
            raise
        self.check(rows, batch)
        back = np.argsort(order)
        return jax.tree.map(lambda array: array[back], batch)

    def check(self, rows: np.ndarray, batch: Tree) -> None:
        lengths = [len(array) if array.ndim else None for array in jax.tree.leaves(batch)]
        if any(length != len(rows) for length in lengths):
            raise ValueError(
                f"`data` must give as many rows as it is asked for, {len(rows)}, got {lengths} "
                f"for {numbers(rows)}. Its length is {self.size}: correct its __len__, or fill "
                f"it up."
            )
        found = kinds(jax.tree.map(lambda array: array[0], batch))
        check_kinds(numbers(rows), found, self.kinds or found)

    def split(self, validation: Any, fraction: float) -> Any:
        """Read the last fraction of the rows as validation data, and hold it out."""
        (kept, *_), validation = check_split((range(self.size),), validation, fraction)
        self.samples = len(kept)
        if not fraction:
            return validation
        starts = range(self.samples, self.size, BLOCK)
        blocks = [self.read(np.arange(i, min(i + BLOCK, self.size))) for i in starts]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)


def common_length(columns: Sequence[Any]) -> int:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"`data` must hold as many samples in every leaf, at least one, got lengths {lengths}. "
            f"Take all from the same rows."
        )
    return lengths[0]


def answers_lists(source: Any, rows: list[int]) -> bool:
    """Whether the source gives a batch for a list of rows, and not a sample for a row."""
    if hasattr(source, "__getitems__"):
        return False
    try:
        batch = source[rows]
    except Exception as error:
        try:
            source[rows[0]]
        except Exception as second:
            second.add_note(f"raised by `data[{rows[0]}]`, after `data[{rows}]` raised {error!r}")
            raise
        return False
    return all(np.shape(array)[:1] == (len(rows),) for array in jax.tree.leaves(arrays(batch)))


def by_column(data: Tree, rows: list[int]) -> Tree:
    return jax.tree.map(lambda column: plain(column[rows]), data)


def by_batch(source: Any, rows: list[int]) -> Tree:
    return arrays(source[rows])


def by_sample(source: Any, rows: list[int]) -> Tree:
    look_up = getattr(source, "__getitems__", lambda rows: [source[row] for row in rows])
    samples = [arrays(sample) for sample in look_up(rows)]
    for row, sample in zip(rows, samples, strict=False):  # too few are refused where all are
        check_kinds(f"row {row}", kinds(sample), kinds(samples[0]))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *samples)


def arrays(batch: Any) -> Tree:
    """The tree with NumPy arrays as leaves; a list at its top is a tuple."""
    return jax.tree.map(plain, as_arrays(tuple(batch) if isinstance(batch, list) else batch))


def plain(array: Any) -> np.ndarray:
    """An array of NumPy, which would forget that some of its numbers are masked."""
    array = from_foreign("`data`", array)
    check_numeric("`data`", array)
    return np.asarray(array)


def kinds(sample: Tree) -> Kinds:
    leaves, structure = jax.tree.flatten(sample)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def check_kinds(where: str, found: Kinds, first: Kinds) -> None:
    if found != first:
        theirs, ours = (
            " and ".join(f"{dtype} of shape {shape}" for shape, dtype in leaves)
            for _, leaves in (found, first)
        )
        raise ValueError(
            f"`data` must give every row with the same shapes and dtypes, {ours} at first, got "
            f"{theirs} in {where}. Convert these rows."
        )


def numbers(rows: np.ndarray) -> str:
    """A few of the rows, in words."""
    first = ", ".join(map(str, rows[:3].tolist()))
    return f"rows {first}{', ...' if len(rows) > 3 else ''}"


def native(dtype: Any) -> Any:
    """The dtype that JAX has for it, in the byte order of the machine."""
    return jax.dtypes.canonicalize_dtype(np.dtype(dtype).newbyteorder("="))
