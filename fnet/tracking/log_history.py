"""Runs written after their end: those of `train` and `train_many`, which are pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.checks import check_count
from ..core.values import describe
from ..training.grid import Grid
from ..training.state import TrainState, check_state
from .log_to import log_to


def log_history(
    writer: Any,
    state: TrainState,
    history: Mapping[str, Any],
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    steps: int | None = None,
) -> None:
    """Write a run of `train`, or of `fit`, after its end, as `log_to` writes it on its way.

    Args:
        writer: as for `log_to`; it is closed.
        state: the state after the run; its optimizer has the hyperparameters.
        history: the history of the run.
        hyperparameters: as for `log_to`.
        steps: the length of an epoch in steps; by default the run began at step 0.

    Raises:
        ValueError: a history without an epoch, or one whose epochs cannot have that length; or as
            `log_to`.
        TypeError: as `log_to`; `state` is not a TrainState.
        OSError: the writer cannot write there.

    Example:
        >>> import pathlib, tempfile, jax, jax.numpy as jnp, fnet
        >>> net, x = fnet.dense(1), jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> state, history = fnet.train(task, state, (x, 3 * x), epochs=2, batch_size=8)
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> fnet.log_history(fnet.CSVWriter(path), state, history)
        >>> print(path.read_text(), end="")  # doctest: +ELLIPSIS
        step,epoch,loss
        4,1,...
        8,2,...
    """
    check_state(state)
    entries = {name: np.asarray(v) for name, v in history.items() if name != "record"}
    record = {name: np.asarray(v) for name, v in history.get("record", {}).items()}
    epochs, last = len(entries.get("loss", ())), int(state.step)
    if not epochs:
        raise ValueError(
            "`history` must hold at least one epoch, got none. Pass what fnet.train returned."
        )
    length = last // epochs if steps is None else check_count("steps", steps)
    if length * epochs > last or (steps is None and length * epochs < last):
        raise ValueError(
            f"`steps` must be the length of an epoch, of which {epochs} ended at step {last}, got "
            f"{steps}. Pass the number of batches."
        )
    ends = last - length * np.arange(epochs, -1, -1)
    callback = log_to(writer, hyperparameters=hyperparameters)
    nothing: dict[str, Any] = {name: series[:0] for name, series in entries.items()}
    nothing |= {"record": {name: series[:0] for name, series in record.items()}}
    callback.begin(at_step(state, ends[0]), nothing, resume=False)
    for i in range(epochs):
        if record:
            inside = (record["step"] >= ends[i]) & (record["step"] < ends[i + 1])
            callback.recorded({name: series[inside] for name, series in record.items()})
        logs = {name: float(series[i]) for name, series in entries.items()}
        callback(i, at_step(state, ends[i + 1]), logs)
    callback.end(state)


def at_step(state: TrainState, step: Any) -> TrainState:
    return replace(state, step=jnp.asarray(step, jnp.int32))


def log_many(
    writer_of: Callable[[str], Any],
    states: TrainState,
    history: Mapping[str, Any],
    grid: Grid | None = None,
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    steps: int | None = None,
) -> None:
    """Write each member of `train_many` as a run of its own.

    A member of a grid is named by its place in it, such as "learning_rate=0.1,seed=2", which are
    hyperparameters of its run too; any other is named by its number, "0", "1".

    Args:
        writer_of: gives the writer of a member for its name, as for `log_to`; such as
            `lambda name: fnet.TensorBoardWriter(f"runs/{name}")`.
        states: the states after the runs.
        history: the histories of the runs.
        grid: the grid of the members, if they are of one.
        hyperparameters: as for `log_to`, those that all members share.
        steps: as for `log_history`.

    Raises:
        ValueError: as `log_history`; states, histories and grid of different numbers of members.
        TypeError: as `log_history`; `writer_of` is not a function.
        OSError: a writer cannot write there.

    Example:
        >>> import pathlib, tempfile, jax.numpy as jnp, fnet
        >>> net, x = fnet.dense(1), jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> grid = fnet.grid(learning_rate=[0.01, 0.1])
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> states = grid.states(net, "sgd", (1,))
        >>> states, history = fnet.train_many(task, states, (x, 3 * x), epochs=2, batch_size=8)
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> fnet.log_many(
        ...     lambda name: fnet.CSVWriter(folder / name / "log.csv"), states, history, grid
        ... )
        >>> sorted(path.name for path in folder.iterdir())
        ['learning_rate=0.01', 'learning_rate=0.1']
    """
    if not callable(writer_of):
        raise TypeError(
            f"`writer_of` must be a function of the name of a member, got {describe(writer_of)}. "
            f"Write lambda name: fnet.CSVWriter(f'runs/{{name}}/log.csv')."
        )
    members = np.shape(check_state(states).step)
    found = {f"history[{name!r}]": np.shape(v) for name, v in history.items() if name != "record"}
    found |= {} if grid is None else {"grid": (len(grid),)}
    if len(members) != 1 or any(shape[:1] != members for shape in found.values()):
        raise ValueError(
            f"`states`, `history` and `grid` must have as many members in front, got "
            f"`state.step` of shape {members} and "
            f"{', '.join(f'{name} {shape}' for name, shape in found.items())}. Pass what "
            f"fnet.train_many took and returned."
        )
    series, record = jax.device_get((dict(history), dict(history.get("record", {}))))
    labels = {} if grid is None else grid.labels
    for i in range(members[0]):
        point = {name: values[i].item() for name, values in labels.items()}
        name = ",".join(f"{axis}={values[i]}" for axis, values in labels.items()) or str(i)
        own = {n: series[n][i] for n in history if n != "record"}  # in order, which trees lose
        log_history(
            writer_of(name.replace("/", ".")),
            jax.tree.map(lambda leaf, i=i: leaf[i], states),
            own | {"record": {n: record[n][i] for n in history.get("record", ())}},
            hyperparameters=point | dict(hyperparameters or {}),
            steps=steps,
        )
