"""Event files for TensorBoard, through the package tensorboardX."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .writer import Rows, Writer

BINS = 64


class TensorBoardWriter(Writer):
    """Writes a run for TensorBoard: `tensorboard --logdir runs` shows those in `runs/`.

    Scalars of epochs have the names of the logs, those of recorded steps are "step/loss". The
    hyperparameters are in the table HPARAMS, which compares the runs of a folder. Each event is on
    its way to the disk when a call returns. A resumed run hides what was logged of the steps that
    it takes again.

    Args:
        directory: the folder of this run alone, such as "runs/1"; it is created if it does not
            exist.

    Raises:
        ImportError: tensorboardX is not installed; `pip install "fnet-jax[track]"` installs it.
        ValueError: (in the run) the folder holds another run.
        OSError: (in the run) the folder cannot be written.

    Example:
        >>> import tempfile, fnet
        >>> writer = fnet.TensorBoardWriter(tempfile.mkdtemp())
        >>> for step, loss in enumerate([0.5, 0.25], start=1):
        ...     writer.log({"loss": loss}, step=step)
        >>> writer.close()

    Source: TensorBoard's event files, https://github.com/tensorflow/tensorboard.
    """

    histograms = True

    def __init__(self, directory: str | os.PathLike[str]):
        self.file: Any = None
        self.directory: Path = Path(directory)
        self.tensorboardx: Any = tensorboardx()

    def __repr__(self) -> str:
        return f"TensorBoardWriter({str(self.directory)!r})"

    def log(self, values: Mapping[str, Any], step: int) -> None:
        scalar = self.tensorboardx.summary.scalar
        self.write(*(scalar(name, float(value)) for name, value in values.items()), step=step)

    def log_hyperparameters(self, values: Mapping[str, Any]) -> None:
        # Of the start of a session alone TensorBoard finds out itself what it can compare.
        _, start, _ = self.tensorboardx.summary.hparams(dict(values), {})
        self.write(start, step=0)

    def log_histograms(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        histogram = self.tensorboardx.summary.histogram
        finite = {name: array[np.isfinite(array)] for name, array in arrays.items()}
        self.write(*(histogram(name, a, BINS) for name, a in finite.items() if a.size), step=step)

    def begin(self, first: int, resume: bool, epochs: Rows, steps: Rows) -> None:
        held = sorted(self.directory.glob("*tfevents*"))
        if held and first == 0 and not resume:
            raise ValueError(
                f"`directory` of TensorBoardWriter must be that of this run alone, got "
                f"{self.directory}, which holds {held[-1].name} of another. Give each run a folder "
                f"of its own: runs/1, runs/2."
            )
        self.close()
        self.open()
        if resume:
            last = int(epochs.steps[-1]) if len(epochs.steps) else first
            purge = self.tensorboardx.proto.event_pb2.SessionLog.START
            self.write_event(step=last + 1, session_log={"status": purge})
            self.file.flush()

    def open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names, and named by the second; none is written over.
        number = len(list(self.directory.glob("*tfevents*")))
        events = self.tensorboardx.event_file_writer.EventsWriter
        self.file = events(str(self.directory / "events"), f".{number:05}")
        self.file.flush()

    def write(self, *summaries: Any, step: int) -> None:
        if self.file is None:
            self.open()
        for summary in summaries:
            self.write_event(step=step, summary=summary)
        self.file.flush()

    def write_event(self, **content: Any) -> None:
        event = self.tensorboardx.proto.event_pb2.Event(wall_time=time.time(), **content)
        self.file.write_event(event)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        self.file = None

    def __del__(self) -> None:  # after a run that was interrupted
        self.close()


def tensorboardx() -> Any:
    try:
        import tensorboardX
    except ImportError as error:
        raise ImportError(
            f"TensorBoardWriter must have the package tensorboardX, which cannot be imported: "
            f'{error}. Install it: pip install "fnet-jax[track]".'
        ) from error
    return tensorboardX
