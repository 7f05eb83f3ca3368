"""Receipts: what a run was made of and what came of it, as digests, and the run checked by them."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..core.checks import check_data, check_path, check_split
from ..core.trees import Tree, by_path
from ..core.values import describe
from ..core.version import __version__
from ..data.batches import num_samples
from ..data.random_access import RandomAccessData, is_random_access, native
from ..files.atomic import write
from ..files.receipts import Digests, Receipt, differences, digests_of, kind, read_receipt, seen
from ..files.trees import named
from ..training.history import History
from ..training.state import TrainState, check_state
from ..training.task import Task, check_task
from ..training.train import train
from .fit import fit
from .replay import check_numbered

READ_ROWS, READ_BYTES = 2**12, 2**24  # at a time, at most


def receipt(
    task: Task,
    state: TrainState,
    data: Any,
    *,
    epochs: int = 1,
    batch_size: int | None = 32,
    steps: int | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    result: tuple[TrainState, History] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Receipt:
    """What identifies a run, as digests: of its program, its data, its start and its end.

    A digest is the SHA-256 of the values of one array, after its dtype and shape. The program is
    the text of the whole run in StableHLO, without the places of its source. `verify` tells what
    differs from a receipt, or runs again and compares the bits.

    Args:
        task, state, data, epochs, batch_size, steps, validation_split, shuffle: as for `fit` or
            `train`; `state` is the start. Data on the disk is read once, a part at a time.
        result: what the run returned. Its validation and its record of single steps are left out.
        path: a file for the receipt as JSON, such as `checkpoints.directory / "receipt.json"`. A
            file of one state takes its receipt in: `fnet.save(path, state, receipt=receipt)`.

    Returns:
        A dict of what JSON has: "options", "environment" (versions, device, threads, flags: where
        another one may give other bits), "program", "data" and "start" by leaves; with `result`,
        "end" and "history".

    Raises:
        ValueError: as `train`; an iterable as data, which has no rows by number.
        TypeError: as `train`; `result` is not a state and a history.
        OSError: writing fails.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> x = jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> task, data = fnet.supervised(fnet.dense(1), "mean_squared_error"), (x, 3 * x)
        >>> start = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (1,))
        >>> result = fnet.fit(task, start, data, epochs=2, progress=False)
        >>> receipt = fnet.receipt(task, start, data, epochs=2, result=result)
        >>> receipt["data"]["0"]  # doctest: +ELLIPSIS
        'float32[32,1] ...'
        >>> fnet.verify(receipt, task, start, data)
        >>> fnet.verify(receipt, task, start, (x, 4 * x))
        Traceback (most recent call last):
        ValueError: the run must be that of the receipt, got other values in `data` at '1'. Pass ...
    """
    check_task(task), check_state(state)
    check_numbered(data)
    if path is not None:
        check_path("path", path)
    options = {
        "epochs": epochs, "batch_size": batch_size, "steps": steps,
        "validation_split": validation_split, "shuffle": shuffle,
    }  # fmt: skip
    made: Receipt = {"options": options, "environment": environment()}
    made |= identity(task, state, data, options)
    if result is not None:
        made |= outcome(result)
    if path is not None:
        write(path, [json.dumps(made, indent=1).encode()])
    return made


def verify(
    receipt: Receipt | str | os.PathLike[str], task: Task, state: TrainState, data: Any
) -> None:
    """Check a run by its receipt: that it is made of the same, and that it ends in the same bits.

    First the digests of data, start and program are compared. If they are equal, `fit` runs again,
    as the options in the receipt have it, and the digests of the end are compared. A receipt
    without an end is only compared. In another environment (versions of JAX, device,
    threads, flags) the text of the program may differ, and the bits of the end; an error names
    what differs.

    Args:
        receipt: what `receipt` returned, or the path of its file: one of JSON, or one in which
            `save` put it beside the state.
        task, state, data: what to make the run of; `state` is its start.

    Raises:
        ValueError: something differs, and what; or it is not a receipt.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp, fnet
        >>> start = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (1,))
        >>> task = fnet.supervised(fnet.dense(1), "mean_squared_error")
        >>> data = jnp.ones((4, 1)), jnp.zeros((4, 1))
        >>> path = tempfile.mkdtemp() + "/receipt.json"
        >>> receipt = fnet.receipt(
        ...     task, start, data, result=fnet.train(task, start, data, epochs=1), path=path
        ... )
        >>> fnet.verify(path, task, start, data)  # it is that run, and ends in the same bits
    """
    check_task(task), check_state(state)
    check_numbered(data)
    theirs = read_receipt(receipt)
    options = theirs["options"]
    elsewhere = [
        f"{name} {value} there, {environment().get(name)} here"
        for name, value in theirs["environment"].items()
        if value != environment().get(name)
    ]
    ours = identity(task, state, data, options)
    different = differences(theirs["data"], ours["data"], "`data`")
    different += differences(theirs["start"], ours["start"], "`state`")
    if not different and not elsewhere and theirs["program"] != ours["program"]:
        different = ["another program of the same shapes, which is that of another `task`"]
    if different:
        raise ValueError(
            f"the run must be that of the receipt, got {'; '.join(different)}. Pass what the "
            f"receipt was made of."
        )
    if "end" not in theirs:
        return
    end = outcome(fit(task, state, data, progress=False, **options))
    different = differences(theirs["end"], end["end"], "the state")
    different += differences(theirs["history"], end["history"], "the history")
    if different:
        why = (
            f"Bits may differ where the environment does: {'; '.join(elsewhere)}"
            if elsewhere
            else "The environment is the same: look for callbacks or arguments of fit that the "
            "receipt does not hold"
        )
        raise ValueError(
            f"the run must end with the bits of the receipt, got {'; '.join(different)}. {why}."
        )


def identity(task: Task, state: TrainState, data: Any, options: Mapping[str, Any]) -> Receipt:
    """The digests of what a run is made of."""
    digests, like = read_data(data, options["validation_split"])
    run = {name: value for name, value in options.items() if name != "validation_split"}

    def whole_run(state: TrainState, data: Any) -> Any:
        return train(task, state, data, **run)

    text = jax.jit(whole_run).lower(state, like).as_text()
    program = hashlib.sha256(text.encode()).hexdigest()
    return {"program": program, "data": digests, "start": digests_of(named(state))}


def outcome(result: Any) -> Receipt:
    """The digests of what came of a run."""
    pair = isinstance(result, tuple) and len(result) == 2
    if not pair or not all(map(isinstance, result, (TrainState, dict))):
        raise TypeError(
            f"`result` must be what `fit` or `train` returned, a state and a history, got "
            f"{describe(result)}. Write result=fnet.fit(...)."
        )
    state, history = result
    trained = {n: a for n, a in history.items() if n != "record" and not n.startswith("val_")}
    return {"end": digests_of(named(state)), "history": digests_of(trained)}


def read_data(data: Any, split: float) -> tuple[Digests, Tree]:
    """The digest of each leaf, in one pass over the rows; what the data trained on looks like."""
    if data is None:
        return {}, None
    by_number = RandomAccessData(data) if is_random_access(data) else None
    arrays = None if by_number else jax.tree.map(np.asarray, check_data("`data`", data))
    size = by_number.size if by_number else num_samples(arrays)
    first = by_number.read(np.array([0])) if by_number else jax.tree.map(lambda a: a[:1], arrays)
    (kept, *_), _ = check_split((range(size),), None, split)
    like = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((len(kept), *a.shape[1:]), native(a.dtype)), first
    )
    hashes = {path: hashlib.sha256() for path in by_path(first)}
    row = sum(array.nbytes for array in jax.tree.leaves(first))
    for rows in blocks(size, min(READ_ROWS, max(READ_BYTES // max(row, 1), 1))):
        part = (
            by_number.read(rows)
            if by_number
            else jax.tree.map(lambda a, rows=rows: a[rows[0] : rows[-1] + 1], arrays)
        )
        for path, array in by_path(part).items():
            hashes[path].update(seen(array).tobytes())
    return {
        path: f"{kind(native(array.dtype), (size, *array.shape[1:]))} {hashes[path].hexdigest()}"
        for path, array in by_path(first).items()
    }, like


def blocks(size: int, rows: int) -> Iterator[np.ndarray]:
    return (np.arange(start, min(start + rows, size)) for start in range(0, size, rows))


def environment() -> dict[str, str]:
    """What else decides about the bits."""
    device = jax.devices()[0]
    return {
        "fnet": __version__,
        **{package: metadata.version(package) for package in ("jax", "jaxlib")},
        "device": f"{device.platform} {device.device_kind}",
        "processor": processor(),
        "threads": os.environ.get("NPROC") or str(os.cpu_count()),  # of XLA on a CPU
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def processor() -> str:
    path = Path("/proc/cpuinfo")
    found = path.exists() and re.search(r"model name\s*:\s*(.+)", path.read_text())
    return found[1] if found else platform.processor() or platform.machine()
