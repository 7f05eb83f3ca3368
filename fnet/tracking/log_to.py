"""The callback that writes a run of `fit`."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from ..core.checks import check_count
from ..core.trees import by_path
from ..training.state import TrainState
from .hyperparameters import Values, check_hyperparameters, of_optimizer
from .writer import Rows, Writer, as_writer


class log_to:
    """A callback of `fit` that writes the run to a file or a tracker.

    It writes the logs of each epoch, with its number from 1 as `epoch`; what `record` recorded of
    single steps, as "step/loss"; and once, before the first epoch, the hyperparameters of the
    optimizer under the names that `fnet.grid` gives them. Each value stands at the number of steps
    taken when it is known: an epoch at that of its end, and the first recorded step, number 0 in
    `history["record"]`, at 1.

    With `fnet.Checkpoints` beside it, a run that is killed and resumed is written as if nothing
    had happened: no value twice, and none is missing. A writer that fails with an OSError, such as
    a full disk, does not end the run: there is a warning, and what it lacks is written after the
    next epoch. Of many processes only the first one writes.

    Args:
        writer: `fnet.CSVWriter(path)`, `fnet.TensorBoardWriter(directory)`, or anything with a
            method `log(values, step=...)`, such as a run of W&B or trackio, or else `log_metrics`,
            such as the module mlflow. Hyperparameters go to its `config.update` or `log_params`.
        hyperparameters: numbers and texts of your own beside those of the optimizer, such as
            `{"batch_size": 128, "seed": 0}`.
        histograms_every: after how many epochs, each time, the distribution of each parameter is
            written; by default never. Parameters that are cut over processes have none.

    Raises:
        TypeError: `writer` has no such method, or writes no histograms where they are asked for;
            `hyperparameters` are not a dict of numbers and texts.
        ValueError: `histograms_every` is below 1; (in `fit`, before anything is trained) what the
            writer holds is of another run.
        OSError: (in `fit`, before anything is trained) the writer cannot write there.

    Example:
        >>> import pathlib, tempfile, jax, jax.numpy as jnp, fnet
        >>> net, x = fnet.dense(1), jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> log = fnet.log_to(fnet.CSVWriter(path))
        >>> state, history = fnet.fit(
        ...     task, state, (x, 3 * x), epochs=2, batch_size=8, callbacks=[log], progress=False
        ... )
        >>> print(path.read_text(), end="")  # doctest: +ELLIPSIS
        step,epoch,loss
        4,1,...
        8,2,...
    """

    def __init__(
        self,
        writer: Any,
        *,
        hyperparameters: Mapping[str, Any] | None = None,
        histograms_every: int | None = None,
    ):
        self.writer: Writer = as_writer(writer)
        self.hyperparameters: Values = check_hyperparameters(hyperparameters)
        self.histograms_every: int | None = None
        if histograms_every is not None:
            self.histograms_every = check_count("histograms_every", histograms_every)
            if not self.writer.histograms:
                raise TypeError(
                    f"`histograms_every` must be left out for a writer without histograms, got "
                    f"{histograms_every!r} for {writer!r}. Pass a fnet.TensorBoardWriter."
                )
        self.memory: dict[str, Any] = {}  # the epochs before, the steps at which one began or ended
        self.series: Mapping[str, Any] = {}  # of the epoch in progress
        self.unwritten: list[Callable[[], None]] = []

    def begin(self, state: TrainState, history: Mapping[str, Any], resume: bool) -> None:
        step, count = int(state.step), len(history["loss"])
        if self.memory.keys() != {"before", "steps"}:  # or that of what had its place
            self.memory = {"before": np.array(count), "steps": np.array([step])}
        self.series, self.unwritten = {}, []
        epochs, steps = self.logged(history)
        if jax.process_index() == 0:
            values = of_optimizer(state.optimizer) | self.hyperparameters
            try:
                self.writer.begin(int(self.memory["steps"][0]), resume, epochs, steps)
                if not len(epochs.steps):
                    self.writer.log_hyperparameters(values)
            except OSError as error:
                message = (
                    f"`writer` must be able to write, got {error.strerror!r}. Check the folder and "
                    f"its permissions, or write elsewhere than"
                )
                raise OSError(error.errno, message, error.filename) from error
        if count > int(self.memory["before"]) + len(epochs.steps):  # one callback before failed
            record = history.get("record", {})
            new = record["step"] >= self.memory["steps"][-1] if record else ()
            self.recorded({name: series[new] for name, series in record.items()})
            logs = {n: float(history[n][-1]) for n in epochs.values if n != "epoch"}
            self(count - 1, state, logs)

    def logged(self, history: Mapping[str, Any]) -> tuple[Rows, Rows]:
        """The epochs and single steps that were logged so far."""
        first, *ends = self.memory["steps"].tolist()
        before = int(self.memory["before"])
        epochs = {name: np.asarray(series) for name, series in history.items() if name != "record"}
        epochs = {name: series[before : before + len(ends)] for name, series in epochs.items()}
        numbers = {"epoch": before + 1 + np.arange(len(ends))}
        record = rows_of(history.get("record", {}))
        inside = (record.steps > first) & (record.steps <= (ends or [first])[-1])
        steps = {name: series[inside] for name, series in record.values.items()}
        return Rows(np.array(ends, int), numbers | epochs), Rows(record.steps[inside], steps)

    def recorded(self, series: Mapping[str, Any]) -> None:
        self.series = series

    def __call__(self, epoch: int, state: TrainState, logs: Mapping[str, float]) -> None:
        step = int(state.step)
        if jax.process_index() == 0:
            self.put(epoch, step, state, logs)
        self.memory = self.memory | {"steps": np.append(self.memory["steps"], step)}

    def put(self, epoch: int, step: int, state: TrainState, logs: Mapping[str, float]) -> None:
        writer = self.writer
        if self.series:
            rows = rows_of(self.series)
            self.unwritten.append(partial(writer.log_steps, rows))
        if self.histograms_every and (epoch + 1) % self.histograms_every == 0:
            arrays = {
                path: np.asarray(leaf, float)
                for path, leaf in by_path(state.params).items()
                if leaf.is_fully_addressable or leaf.is_fully_replicated
            }
            self.unwritten.append(partial(writer.log_histograms, arrays, step))
        self.unwritten.append(partial(writer.log, {"epoch": epoch + 1, **logs}, step=step))
        self.write()

    def write(self) -> None:
        """Write what is not written yet; where that fails, the rest waits."""
        while self.unwritten:
            try:
                self.unwritten[0]()
            except OSError as error:
                warnings.warn(
                    f"the log could not be written, and training goes on: {error}. What it lacks "
                    f"is written after the next epoch.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return
            del self.unwritten[0]

    def end(self, state: TrainState) -> None:
        self.write()
        if jax.process_index() == 0:
            self.writer.close()


def rows_of(record: Mapping[str, Any]) -> Rows:
    """What is recorded of steps, each at the number of steps taken after it."""
    values = {name: np.asarray(series) for name, series in record.items()}
    return Rows(values.pop("step", np.zeros(0, int)) + 1, values)
