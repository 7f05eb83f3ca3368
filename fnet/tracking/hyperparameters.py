"""Hyperparameters by name."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..core.trees import by_path
from ..core.values import describe
from ..optimizers.base import Optimizer

Values = dict[str, bool | int | float | str]


def of_optimizer(optimizer: Optimizer) -> Values:
    """What an optimizer is, and its numbers, with the names that `grid` gives them."""
    numbers = {
        re.sub(r"(^|/)optimizers?/", r"\1", path): plain(leaf)
        for path, leaf in by_path(jax.device_get(optimizer)).items()
        if np.ndim(leaf) == 0
    }
    return {"optimizer": kind(optimizer)} | numbers


def plain(number: Any) -> Any:
    """The number as one of Python; a float32 as it was written: 0.1, not 0.10000000149."""
    number = np.asarray(number)
    return float(str(number)) if number.dtype == np.float32 else number.item()


def kind(optimizer: Optimizer) -> str:
    """Such as "clipped(adam)"."""
    inner = getattr(optimizer, "optimizer", None)
    name = type(optimizer).__name__
    return f"{name}({kind(inner)})" if isinstance(inner, Optimizer) else name


def check_hyperparameters(values: Mapping[str, Any] | None) -> Values:
    """Validate the user's own; numbers of NumPy and JAX become Python's."""
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(
            f"`hyperparameters` must be a dict of numbers and texts by name, got "
            f"{describe(values)}. Write {{'batch_size': 128}}."
        )
    checked: Values = {}
    for name, value in (values or {}).items():
        plain = value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
        if not isinstance(name, str) or not isinstance(plain, (bool, int, float, str)):
            raise TypeError(
                f"`hyperparameters` must be numbers and texts by name, got {describe(value)} for "
                f"{name!r}. Pass str(value)."
            )
        checked[name] = plain
    return checked
