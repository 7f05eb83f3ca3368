"""Argument validation, on the host and before any computation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .values import describe


def check_data(argument: str, data: Any) -> tuple[Any, ...]:
    """Validate `(x, y)` or `(x, y, weights)`: equal lengths, not empty; lists become arrays."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError(
            f"{argument} must be a pair of arrays (x, y), or (x, y, weights), got "
            f"{describe(data)}. Pass the samples and their labels as one tuple."
        )
    x, y, *weights = (a if hasattr(a, "shape") else np.asarray(a) for a in data)
    if np.shape(x)[:1] != np.shape(y)[:1] or not np.shape(x):
        raise ValueError(
            f"{argument} must hold as many labels as samples, got x of shape {np.shape(x)} and "
            f"y of shape {np.shape(y)}. Take both from the same rows."
        )
    check_samples(f"`x` of {argument}", x)
    return x, y, *(check_weights(f"`weights` of {argument}", w, np.shape(x)[0]) for w in weights)


def check_weights(what: str, weights: Any, samples: int) -> Any:
    """Validate one weight per sample and return the weights as floats."""
    weights = weights if hasattr(weights, "shape") else np.asarray(weights)
    if np.shape(weights) != (samples,) or not jnp.issubdtype(weights.dtype, jnp.number):
        raise ValueError(
            f"{what} must be a number for each of {samples}, shape ({samples},), got shape "
            f"{np.shape(weights)} and dtype {weights.dtype}. 1 is the weight of a plain sample."
        )
    weights = weights.astype(jnp.result_type(float))
    check_finite(what, weights)
    if not isinstance(weights, jax.core.Tracer) and (weights < 0).any():
        raise ValueError(
            f"{what} must not be negative, got {weights.min()}. 0 leaves a sample out."
        )
    return weights


def check_samples(what: str, x: Any) -> None:
    if not np.shape(x) or np.shape(x)[0] == 0:
        raise ValueError(
            f"{what} must hold at least one sample, got shape {np.shape(x)}. Check its source."
        )


def check_batch_size(batch_size: int | None, x: Any) -> int:
    """Return the samples per batch, at most the length of `x`; None means all of `x`."""
    check_samples("`x`", x)
    size = np.shape(x)[0]
    return size if batch_size is None else min(check_count("batch_size", batch_size), size)


def check_count(argument: str, count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(
            f"`{argument}` must be an integer of at least 1, got {count!r}. Count from one."
        )
    return int(count)


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


def check_finite_data(where: str, data: Any) -> None:
    """Raise if any array holds NaN or infinity; `where` follows the array's name in the message."""
    for path, array in jax.tree_util.tree_leaves_with_path(data):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if isinstance(data, tuple):
            number, _, rest = name.partition("/")
            name = "/".join(filter(None, (("x", "y", "weights")[int(number)], rest)))
        check_finite(f"`{name}`{where}", array)


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
