"""Whole runs: a TrainState in one file, and what a checkpoint keeps beside it."""

import json
import os
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from ..core.trees import Tree
from .tensor_file import check_kind, read_tensors, write_tensors
from .trees import named, restored, structure

EXTRA = "run/"  # in front of the names of what is no part of the state

State = TypeVar("State")


def save(path: str | os.PathLike[str], state: Tree) -> None:
    """Write a whole run into one file, whole or not at all, with checksums of every bit.

    The file is a safetensors file of `params/dense/kernel`, `optimizer/learning_rate`,
    `opt_state/mean_square/dense/kernel`, `key:threefry2x32`, `step` and so on; a run that goes on
    from it takes the same steps as one that was never stopped, bit for bit.

    Args:
        path: where to write; what is there is replaced once the new file is whole and on the disk.
        state: a TrainState, or the states of many members; any tree of arrays, numbers and typed
            keys.

    Raises:
        TypeError: a leaf is not an array, a number or a key, or has a dtype that safetensors lacks.
        ValueError: two leaves of one name.
        OSError: the disk refused; what was there before is intact.

    Example:
        >>> import os, tempfile, jax, fnet
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> state = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (2,))
        >>> fnet.save(path, state)
        >>> state = fnet.load(path, like=state)
    """
    write_run(path, state, {}, {})


def load(path: str | os.PathLike[str], like: State) -> State:
    """Read a whole run, of which every bit is checked.

    Args:
        path: a file that `save` wrote.
        like: a state built as the saved one was, such as a new one of `train_state`, or what
            `jax.eval_shape` gives of it. The numbers in it do not matter; names, shapes, dtypes,
            optimizer, schedules and masks must be the same.

    Returns:
        The state that was saved, its leaves of the kinds of those of `like`, so that nothing is
        compiled anew for it.

    Raises:
        CorruptFileError: a file that is damaged, or holds no run.
        TypeError: another optimizer, other names or dtypes; all differences are listed.
        ValueError: other shapes.
        OSError: a file that is not there or cannot be read.

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
    """A state, and arrays and texts beside it that `load` passes over."""
    tensors = named(state)
    for name in tensors:
        if name.startswith(EXTRA):
            raise ValueError(
                f"names that begin with {EXTRA} are kept for what is no part of the state, got "
                f"{name!r}. Rename it."
            )
    kept = {f"{EXTRA}{name}": array for name, array in extra.items()}
    described = {"kind": "state", "structure": json.dumps(structure(state))}
    write_tensors(path, tensors | kept, {**metadata, **described})


def read_run(
    path: str | os.PathLike[str], like: State
) -> tuple[State, dict[str, np.ndarray], dict[str, str]]:
    """The state, and what `write_run` took beside it; the metadata has fnet's own in it too."""
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
            f"differences: {'; '.join(differences)}. Build `like` as what was saved was built."
        )
