"""Arrays of other libraries, known by what they can do: frames, series, tensors and others."""

import re
from typing import Any

import jax
import numpy as np

ARRAYS = np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct
NUMBERS = re.compile(r"(u?int|float|complex)\d+\b|float|double|bool", re.IGNORECASE)
SHOWN = 5  # columns in an error


def from_foreign(what: str, value: Any) -> Any:
    """An array of another library as one of NumPy, which shares its memory where that can be."""
    if isinstance(value, ARRAYS) or not hasattr(value, "__array__"):
        return value
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        check_columns(what, value)
    return np.asarray(value)


def check_columns(what: str, frame: Any) -> None:
    """Refuse a frame of pandas or polars whose columns are not numbers of one dtype."""
    dtypes = {
        str(name): str(dtype) for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
    }
    numbers = [name for name, dtype in dtypes.items() if NUMBERS.match(dtype)]
    others = {name: dtype for name, dtype in dtypes.items() if name not in numbers}
    if others:
        kept = f"x[{numbers}], " if 0 < len(numbers) <= SHOWN else ""
        raise TypeError(
            f"{what} must be a frame of numbers, got columns {listed(others)}. Leave them out, "
            f"{kept}or make numbers of them: of classes pd.get_dummies(x), of dates the days since "
            f"one of them."
        )
    if len(set(dtypes.values())) > 1:
        fix = "x.cast(pl.Float32)" if hasattr(frame, "cast") else "x.astype('float32')"
        raise TypeError(
            f"{what} must be a frame whose columns have one dtype, got columns {listed(dtypes)}. "
            f"Convert it, {fix}, or pass the columns apart: a dict of arrays."
        )


def listed(dtypes: dict[str, str]) -> str:
    names = [f"{name!r} of {dtype}" for name, dtype in list(dtypes.items())[:SHOWN]]
    return ", ".join(names) + (", ..." if len(dtypes) > SHOWN else "")
