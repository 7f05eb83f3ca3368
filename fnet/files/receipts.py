"""Receipts as JSON: digests of arrays, and where a receipt is kept."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.trees import Tree
from ..core.values import describe
from ..data.random_access import native
from .tensor_file import read_tensors
from .trees import named

Receipt = dict[str, Any]
Digests = dict[str, str]
SHOWN = 3  # leaves in an error
NEEDED = {"options", "environment", "program", "data", "start"}


def digests_of(arrays: Mapping[str, Any]) -> Digests:
    """Of each array its dtype and shape in words, and the SHA-256 of its values."""
    values = {name: seen(array) for name, array in arrays.items()}
    return {
        name: f"{kind(array.dtype, array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()}"
        for name, array in values.items()
    }


def kind(dtype: Any, shape: tuple[int, ...]) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"


def seen(array: Any) -> np.ndarray:
    """The values as a run sees them: the dtype that JAX has for it, in the machine's byte order."""
    values = np.asarray(array)
    return np.ascontiguousarray(values.astype(native(values.dtype), copy=False))


def differences(theirs: Digests, ours: Digests, what: str) -> list[str]:
    """What differs, in words: names, then dtypes and shapes, then values."""
    if theirs.keys() != ours.keys():
        return [f"leaves {sorted(ours)} for {sorted(theirs)} in {what}"]
    kinds = {name: (ours[name].split()[0], theirs[name].split()[0]) for name in theirs}
    changed = [f"{o} for {t} in {what} at {name!r}" for name, (o, t) in kinds.items() if o != t]
    if changed:
        return changed
    values = [name for name in theirs if theirs[name] != ours[name]]
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    places = ", ".join(map(repr, values[:SHOWN])) + more
    return [f"other values in {what} at {places}"] if values else []


def read_receipt(receipt: Any) -> Receipt:
    """A receipt, or that in a file of JSON, or that in a file of `save`."""
    if not isinstance(receipt, (str, os.PathLike)):
        return check_receipt(receipt, receipt)
    return check_receipt(json_in(Path(receipt)), receipt)


def json_in(path: Path) -> Any:
    with path.open("rb") as file:
        begins_with_length = file.read(8)[4:] == bytes(4)  # as `save` has it; JSON has no zeros
    if begins_with_length:
        text: Any = read_tensors(path)[1].get("receipt", "null")
    else:
        text = path.read_bytes()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"`receipt` must be a file of JSON or of fnet.save, got {os.fspath(path)!r}: {error}. "
            f"Write it anew with fnet.receipt(..., path=...)."
        ) from error


def check_receipt(found: Any, given: Any) -> Receipt:
    if not isinstance(found, Mapping) or not NEEDED <= found.keys():
        raise ValueError(
            f"`receipt` must be what fnet.receipt returned, with {', '.join(sorted(NEEDED))}, or a "
            f"file of it, got {describe(given)}. Make it with fnet.receipt(task, state, ...)."
        )
    return dict(found)


def receipt_of(receipt: Any, state: Tree) -> str:
    """A receipt for the file of a state, as JSON, if the state is the end that it names."""
    made = check_receipt(receipt, receipt)
    different = "end" in made and differences(made["end"], digests_of(named(state)), "the state")
    if different:
        raise ValueError(
            f"`receipt` must be that of the run that ended in `state`, got {'; '.join(different)}. "
            f"Make it with fnet.receipt(..., result=(state, history))."
        )
    return json.dumps(made)
