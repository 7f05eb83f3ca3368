"""Random access: data that stays where it is, read by row numbers when needed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from ..core.checks import check_data, check_split
from ..core.values import describe

BLOCK = 1024  # rows read at a time for validation

Kinds = list[tuple[tuple[int, ...], Any]]  # shape and dtype of what a row holds
LookUp = Callable[[list[int]], tuple[np.ndarray, ...]]


def is_random_access(data: Any) -> bool:
    """Whether to read rows: `data` is an object with rows, or has one as x, y or weights."""
    if isinstance(data, (tuple, list)):
        return any(map(is_looked_up, data))
    if isinstance(data, Iterable) and not hasattr(data, "__getitems__"):
        return False
    return is_looked_up(data)


def is_looked_up(column: Any) -> bool:
    """Whether a column has rows, but is not an array in memory."""
    if isinstance(column, np.memmap) or hasattr(column, "chunks"):  # as HDF5 and Zarr have them
        return True
    in_memory = isinstance(column, (Sequence, Mapping)) or hasattr(column, "__array__")
    return not in_memory and hasattr(column, "__getitem__") and hasattr(column, "__len__")


class RandomAccessData:
    """Samples by number: `read(rows)` gives `(x, y)` or `(x, y, weights)` of these rows.

    Rows are read in increasing order, which HDF5 needs and disks like. All must have the shapes and
    dtypes of the first.
    """

    def __init__(self, data: Any):
        self.size = self.samples = common_length(
            data if isinstance(data, (tuple, list)) else (data,)
        )
        rows = list(range(min(self.size, 2)))
        if isinstance(data, (tuple, list)):
            columns = tuple(c if is_looked_up(c) else np.asarray(c) for c in data)
            self.look_up: LookUp = partial(by_column, columns)
        elif answers_lists(data, rows):
            self.look_up = partial(by_batch, data)
        else:
            self.look_up = partial(by_sample, data)
        self.kinds: Kinds = []
        ends = self.read(np.array([0, self.size - 1][: self.size]))  # the last one is there too
        check_data("`data`", ends)
        self.kinds = kinds(array[0] for array in ends)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
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
        return tuple(array[back] for array in batch)

    def check(self, rows: np.ndarray, batch: tuple[np.ndarray, ...]) -> None:
        lengths = [len(array) if array.ndim else None for array in batch]
        if any(length != len(rows) for length in lengths):
            raise ValueError(
                f"`data` must give as many rows as it is asked for, {len(rows)}, got {lengths} "
                f"for {numbers(rows)}. Its length is {self.size}: correct its __len__, or fill "
                f"it up."
            )
        found = kinds(array[0] for array in batch)
        check_kinds(numbers(rows), found, self.kinds or found)

    def split(self, validation: Any, fraction: float) -> Any:
        """Read the last fraction of the rows as validation data, and hold it out."""
        (kept, *_), validation = check_split((range(self.size),), validation, fraction)
        self.samples = len(kept)
        if not fraction:
            return validation
        starts = range(self.samples, self.size, BLOCK)
        blocks = [self.read(np.arange(i, min(i + BLOCK, self.size))) for i in starts]
        return tuple(map(np.concatenate, zip(*blocks, strict=True)))


def common_length(columns: Sequence[Any]) -> int:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(
            f"`data` must hold as many labels as samples, at least one, got lengths {lengths}. "
            f"Take them from the same rows."
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
    return all(np.shape(array)[:1] == (len(rows),) for array in check_tuple(batch))


def by_column(columns: tuple[Any, ...], rows: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(column[rows]) for column in columns)


def by_batch(source: Any, rows: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(map(np.asarray, check_tuple(source[rows])))


def by_sample(source: Any, rows: list[int]) -> tuple[np.ndarray, ...]:
    look_up = getattr(source, "__getitems__", lambda rows: [source[row] for row in rows])
    samples = [tuple(map(np.asarray, check_tuple(sample))) for sample in look_up(rows)]
    for row, sample in zip(rows, samples, strict=False):  # too few are refused where all are
        check_kinds(f"row {row}", kinds(sample), kinds(samples[0]))
    return tuple(map(np.stack, zip(*samples, strict=True)))


def check_tuple(sample: Any) -> Any:
    if not isinstance(sample, (tuple, list)) or len(sample) not in (2, 3):
        raise TypeError(
            f"`data` must give tuples (x, y) or (x, y, weights) for its rows, got "
            f"{describe(sample)}. Put the sample and its label into one tuple."
        )
    return sample


def kinds(sample: Iterable[np.ndarray]) -> Kinds:
    return [(array.shape, array.dtype) for array in sample]


def check_kinds(where: str, found: Kinds, first: Kinds) -> None:
    if found != first:
        theirs, ours = (
            " and ".join(f"{dtype} of shape {shape}" for shape, dtype in which)
            for which in (found, first)
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
