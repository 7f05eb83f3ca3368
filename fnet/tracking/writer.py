"""The contract of a writer, and that of others' trackers.

A writer takes numbers by name, each with the count of steps taken so far:

    log(values, step)                     of an epoch, or of anything in a loop of one's own
    log_steps(rows)                       of single steps
    log_hyperparameters(values)
    log_histograms(arrays, step)          if `histograms` is True
    begin(first, resume, epochs, steps)   before a run that starts at step `first`; with `resume`
                                          it was begun before, `epochs` and `steps` are all that it
                                          has logged, and what was logged later shall be forgotten
    close()                               after it
"""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..core.values import describe


class Rows(NamedTuple):
    """Numbers by name at some steps."""

    steps: np.ndarray  # (rows,) integers that increase
    values: dict[str, np.ndarray]  # (rows,) each


class Writer(abc.ABC):
    """What `log_to` writes to."""

    histograms: ClassVar[bool] = False

    @abc.abstractmethod
    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Write numbers by name, after `step` steps."""

    def log_steps(self, rows: Rows) -> None:
        """Write what was recorded of single steps, as "step/loss"."""
        for i, step in enumerate(rows.steps.tolist()):
            self.log({f"step/{name}": series[i] for name, series in rows.values.items()}, step)

    @abc.abstractmethod
    def log_hyperparameters(self, values: Mapping[str, Any]) -> None:
        """Write numbers, texts and truth values by name."""

    def log_histograms(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Write how the entries of each array are distributed."""
        raise NotImplementedError

    def begin(self, first: int, resume: bool, epochs: Rows, steps: Rows) -> None:  # noqa: B027
        """Prepare for a run."""

    def close(self) -> None:  # noqa: B027
        """Finish what was begun."""


class Tracker(Writer):
    """A run of W&B, MLflow, trackio, or another object that logs a dict at a step."""

    def __init__(self, target: Any):
        self.target = target
        self.send: Any = getattr(target, "log", None) or getattr(target, "log_metrics", None)
        if not callable(self.send):
            raise TypeError(
                f"`writer` must have a method `log(values, step=...)`, got {describe(target)}. "
                f"Pass fnet.CSVWriter(path), fnet.TensorBoardWriter(directory), or a run of a "
                f"tracker, such as what wandb.init() returns."
            )

    def log(self, values: Mapping[str, Any], step: int) -> None:
        numbers = {name: np.asarray(value).item() for name, value in values.items()}
        self.send(numbers, step=step)

    def log_hyperparameters(self, values: Mapping[str, Any]) -> None:
        if hasattr(self.target, "log_params"):
            self.target.log_params(dict(values))
        elif hasattr(getattr(self.target, "config", None), "update"):
            self.target.config.update(dict(values))


def as_writer(writer: Any) -> Writer:
    return writer if isinstance(writer, Writer) else Tracker(writer)
