"""Runs as files: a TrainState, and what a checkpoint adds to it."""

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from ..core.trees import Tree
from .receipts import receipt_of
from .tensor_file import check_kind, read_tensors, write_tensors
from .trees import named, restored, structure

EXTRA = "run/"  # prefix of the names of arrays outside the state

State = TypeVar("State")


def save(
    path: str | os.PathLike[str], state: Tree, *, receipt: Mapping[str, Any] | None = None
) -> None:
    """Write a run to one file, atomically and with checksums of every bit.

    The file is a safetensors file with tensors such as `params/dense/kernel`, `step`,
    `optimizer/learning_rate`, `opt_state/mean_square/dense/kernel` and `key:threefry2x32`. A run
    resumed from it takes the same steps as one that never stopped, bit for bit.

    Args:
        path: where to write; an existing file is replaced once the new one is on the disk.
        state: a TrainState, or the states of many members; any tree of arrays, numbers and typed
            keys.
        receipt: what `fnet.receipt` returned for the run that ended in `state`. It is kept in the
            file, and `fnet.verify(path, task, start, data)` takes it from there.

    Raises:
        TypeError: a leaf is not an array, a number or a key, or safetensors lacks its dtype.
        ValueError: two leaves have the same name; a receipt of another state.
        OSError: writing fails; an existing file is intact.

    Example:
        >>> import os, tempfile, jax, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> state = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (2,))
        >>> fnet.save(path, state)
        >>> state = fnet.load(path, like=state)
    """
    metadata = {} if receipt is None else {"receipt": receipt_of(receipt, state)}
    write_run(path, state, {}, metadata)


def load(path: str | os.PathLike[str], like: State) -> State:
    """Read a run, and check every bit of it.

    Args:
        path: a file that `save` wrote.
        like: a state built like the saved one, such as a new one from `train_state`, or its
            `jax.eval_shape`. Its numbers do not matter; names, shapes, dtypes, optimizer, schedules
            and masks must be the same.

    Returns:
        The saved state. Its leaves are of the same kinds as those of `like`, so nothing is
        recompiled.

    Raises:
        CorruptFileError: the file is damaged, or does not hold a run.
        TypeError: the optimizer, names or dtypes differ; all differences are listed.
        ValueError: only shapes differ.
        OSError: the file does not exist or cannot be read.

    Example:
        >>> import os, tempfile, jax, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> fnet.save(path, fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (2,)))
        >>> fnet.load(path, fnet.train_state(fnet.dense(1), "sgd", jax.random.key(0), (2,)))
        ... # doctest: +ELLIPSIS
        Traceback (most recent call last):
        TypeError: ... optimizer is adam(learning_rate=*, ...) instead of sgd(learning_rate=*)...
    """
    return read_run(path, like)[0]


def write_run(
    path: str | os.PathLike[str],
    state: Tree,
    extra: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> None:
    """Write a state with extra arrays and metadata, which `load` ignores."""
    tensors = named(state)
    for name in tensors:
        if name.startswith(EXTRA):
            raise ValueError(
                f"names must not begin with {EXTRA}, which is reserved for arrays outside the "
                f"state, got {name!r}. Rename it."
            )
    kept = {f"{EXTRA}{name}": array for name, array in extra.items()}
    described = {"kind": "state", "structure": json.dumps(structure(state))}
    write_tensors(path, tensors | kept, {**metadata, **described})


def read_run(
    path: str | os.PathLike[str], like: State
) -> tuple[State, dict[str, np.ndarray], dict[str, str]]:
    """The state, the extra arrays and the metadata, including that of fnet itself."""
    tensors, metadata = read_tensors(path)
    check_kind(path, metadata, "state")
    check_structure(path, json.loads(metadata.get("structure", "{}")), structure(like))
    kept = {name: array for name, array in tensors.items() if name.startswith(EXTRA)}
    own = {name: array for name, array in tensors.items() if name not in kept}
    state = restored(own, like, f"`{os.fspath(path)}`")
    return state, {name.removeprefix(EXTRA): array for name, array in kept.items()}, metadata


def check_structure(
    path: str | os.PathLike[str], found: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    differences = [
        f"{name or 'the whole'} is {found.get(name, 'a plain tree')} instead of "
        f"{expected.get(name, 'a plain tree')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise TypeError(
            f"`{os.fspath(path)}` must hold a state of the same classes as `like`, got "
            f"differences: {'; '.join(differences)}. Build `like` like the saved state."
        )
