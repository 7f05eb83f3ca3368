"""Argument validation, on the host and before any computation."""

import os
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from .foreign_arrays import from_foreign
from .trees import as_arrays, by_path
from .values import describe


def check_data(argument: str, data: Any) -> Any:
    """Validate a tree with the samples in axis 0 of every leaf; lists and frames become arrays."""
    data = numbers_of(argument, data)
    leaves = by_path(data)
    if not leaves:
        raise TypeError(
            f"{argument} must be a tree of arrays, such as (x, y) or a dict, got {describe(data)}. "
            f"Pass at least one array."
        )
    first, *others = leaves
    check_samples(leaf_of(argument, data, first), leaves[first])
    for name in others:
        if np.shape(leaves[name])[:1] != np.shape(leaves[first])[:1]:
            raise ValueError(
                f"{argument} must hold as many samples in every leaf, got "
                f"`{leaf_name(data, first)}` of shape {np.shape(leaves[first])} and "
                f"`{leaf_name(data, name)}` of shape {np.shape(leaves[name])}. Take all from the "
                f"same rows."
            )
    return data


def numbers_of(argument: str, data: Any, every_list: bool = False) -> Any:
    """The tree with arrays of numbers as leaves, of lists, frames, series and tensors too."""
    data = as_arrays(data, every_list)

    def numbers(path: Any, leaf: Any) -> Any:
        what = leaf_of(argument, data, jax.tree_util.keystr(path, simple=True, separator="/"))
        leaf = from_foreign(what, leaf)
        check_numeric(what, leaf)
        return leaf

    return jax.tree_util.tree_map_with_path(numbers, data)


def leaf_name(data: Any, path: str) -> str:
    """The path of a leaf for an error; a pair or triple is `(x, y, weights)`."""
    if isinstance(data, tuple) and len(data) in (2, 3):
        number, *rest = path.split("/")
        return "/".join((("x", "y", "weights")[int(number)], *rest))
    return path


def leaf_of(argument: str, data: Any, path: str) -> str:
    """A leaf of an argument, in the words of an error."""
    if not path:
        return argument or "an array"
    return f"`{leaf_name(data, path)}`" + (f" of {argument}" if argument else "")


def check_weights(what: str, weights: Any, samples: int) -> Any:
    """Validate a weight for each sample, or for each of its steps; return them as floats."""
    weights = weights if hasattr(weights, "shape") else np.asarray(weights)
    check_numeric(what, weights)
    real = weights.dtype != bool and not jnp.issubdtype(weights.dtype, jnp.complexfloating)
    if np.shape(weights)[:1] != (samples,) or not real:
        raise ValueError(
            f"{what} must be a real number for each of {samples}, shape ({samples},), got shape "
            f"{np.shape(weights)} and dtype {weights.dtype}. 1 is the weight of a plain sample."
        )
    weights = weights.astype(jnp.result_type(float))
    check_finite(what, weights)
    if not isinstance(weights, jax.core.Tracer) and (weights < 0).any():
        raise ValueError(
            f"{what} must not be negative, got {weights.min()}. 0 leaves a sample out."
        )
    return weights


FIXES = {
    "M": "Count from one of them: (x - x.min()) / np.timedelta64(1, 's').",
    "m": "Divide it by a unit: x / np.timedelta64(1, 's').",
    "V": "Take one of its fields: x['name'].",
}


def check_numeric(what: str, array: Any) -> None:
    """Refuse an array of what is no number, or of which some numbers are masked."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{what} must be a plain array, got a masked array of shape {array.shape}. Fill it, "
            f"x.filled(0), or drop the samples that have gaps."
        )
    dtype = getattr(array, "dtype", None)  # of a typed key, of torch: no dtype of NumPy
    if not isinstance(dtype, np.dtype) or dtype.kind in "biufc":
        return
    if dtype.kind != "V" or not jnp.issubdtype(dtype, jnp.number):  # bfloat16 is a V
        fix = "Convert it, x.astype('float32'), or number its classes: np.unique(x, "
        fix = FIXES.get(dtype.kind, fix + "return_inverse=True)[1].")
        raise TypeError(f"{what} must hold numbers, got dtype {dtype}. {fix}")


def check_samples(what: str, x: Any) -> None:
    if not np.shape(x) or np.shape(x)[0] == 0:
        raise ValueError(
            f"{what} must hold at least one sample, got shape {np.shape(x)}. Check its source."
        )


def check_batch_size(batch_size: int | None, samples: int) -> int:
    """Return the samples per batch, at most all of them; None means all."""
    return samples if batch_size is None else min(check_count("batch_size", batch_size), samples)


def is_integer(value: Any, least: int | None = None) -> TypeGuard[int]:
    """Whether `value` is an integer, which a boolean is not, and at least `least`."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and (least is None or bool(value >= least))


def check_count(argument: str, count: int) -> int:
    if not is_integer(count, 1):
        raise ValueError(
            f"`{argument}` must be an integer of at least 1, got {count!r}. Count from one."
        )
    return int(count)


def check_path(argument: str, path: str | os.PathLike[str]) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"`{argument}` must be a path, got {describe(path)}. Write it as a text or as a "
            f"pathlib.Path."
        )
    return os.fspath(path)


def check_split(data: Any, validation: Any, validation_split: float) -> tuple[Any, Any]:
    """Split the last fraction off `data`; return the rest and the validation data."""
    if not 0 <= validation_split < 1:
        raise ValueError(
            f"`validation_split` must be in [0, 1), got {validation_split!r}. "
            f"0.2 holds back the last fifth."
        )
    if not validation_split:
        return data, validation
    if validation is not None:
        raise ValueError(
            f"`validation` and `validation_split` must exclude each other, got both, a split of "
            f"{validation_split}. Drop one of them."
        )
    if data is None:
        raise ValueError(
            f"`validation_split` must be 0 without data to split, got {validation_split} and None. "
            f"Pass `validation` instead."
        )
    size = len(jax.tree.leaves(data)[0])
    cut = int(size * (1 - validation_split))
    if cut in (0, size):
        raise ValueError(
            f"`validation_split` must leave samples on both sides, got {validation_split} of "
            f"{size} samples. Use more data, or pass `validation`."
        )
    kept, held_out = (
        jax.tree.map(lambda a, s=s: a[s], data) for s in (slice(cut), slice(cut, None))
    )
    return kept, held_out


def check_finite_data(argument: str, data: Any) -> None:
    """Raise if any array holds NaN or infinity."""
    for path, array in by_path(data).items():
        check_finite(leaf_of(argument, data, path), array)


def check_finite(what: str, array: Any) -> None:
    """Raise if `array` holds NaN or infinity, which spoil a run; integers cannot hold them."""
    if isinstance(array, jax.core.Tracer) or not jnp.issubdtype(array.dtype, jnp.inexact):
        return
    numpy = np if isinstance(array, np.ndarray) else jnp
    finite = numpy.isfinite(array)
    if not finite.all():
        bad = np.argwhere(~np.asarray(finite))
        raise ValueError(
            f"{what} must be finite, got {np.asarray(array)[tuple(bad[0])]} at index "
            f"{tuple(bad[0].tolist())}, {len(bad)} of {array.size} entries in all. "
            f"Drop or fill these samples."
        )
