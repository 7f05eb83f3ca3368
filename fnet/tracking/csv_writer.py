"""Tables of a run as files of comma-separated values."""

import csv
import errno
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic
from .writer import Rows, Writer

LARGEST = float(np.finfo(np.float32).max)


class CSVWriter(Writer):
    """Writes a run as a table: a line an epoch, or a line for each call of `log`.

    The first column is `step`, the number of steps taken. What was recorded of single steps goes
    into a table beside it, `log.steps.csv` for `log.csv`, and the hyperparameters into
    `log.hyperparameters.csv`. Numbers have as many digits as it takes to read them back.

    A line is appended in one write, so a killed process leaves whole lines. A resumed run drops
    the lines of steps that it takes again, and adds those that are missing: its file equals that
    of a run that nothing interrupts.

    Args:
        path: the file, such as "log.csv"; its folder is created if it does not exist.

    Raises:
        ValueError: (in the run) the file has other columns, or is that of another run.
        OSError: (in the run) the file cannot be written.

    Example:
        >>> import pathlib, tempfile, fnet
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
        >>> writer = fnet.CSVWriter(path)
        >>> for step, loss in enumerate([0.5, 0.25], start=1):
        ...     writer.log({"loss": loss}, step=step)
        >>> print(path.read_text(), end="")
        step,loss
        1,0.5
        2,0.25

    Source: RFC 4180, with line feeds for line ends.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path: Path = Path(path)
        self.epochs: Table = Table(self.path)
        self.steps: Table = Table(self.path.with_suffix(".steps.csv"))

    def __repr__(self) -> str:
        return f"CSVWriter({str(self.path)!r})"

    def log(self, values: Mapping[str, Any], step: int) -> None:
        columns = {name: np.asarray(value)[None] for name, value in values.items()}
        self.epochs.append(Rows(np.array([step]), columns))

    def log_steps(self, rows: Rows) -> None:
        self.steps.append(rows)

    def log_hyperparameters(self, values: Mapping[str, Any]) -> None:
        lines = [["name", "value"], *([name, text(value)] for name, value in values.items())]
        path = self.path.with_suffix(".hyperparameters.csv")
        atomic.write(path, [b"".join(map(line, lines))])

    def begin(self, first: int, resume: bool, epochs: Rows, steps: Rows) -> None:
        for table, rows in ((self.epochs, epochs), (self.steps, steps)):
            if rows.values:
                table.begin(first, resume, rows)


class Table:
    """A file of lines whose first number is a step."""

    def __init__(self, path: Path):
        self.path = path
        self.columns: list[str] = []  # of the file, once it was looked at

    def begin(self, first: int, resume: bool, rows: Rows) -> None:
        """Keep the lines until step `first`, and make the file end with the lines of `rows`."""
        kept = self.read(rows)
        later = []
        while len(kept) > 1 and self.step_of(kept[-1]) > first:
            later.append(kept.pop())
        ours = lines_of(rows)
        agree = all(a == b for a, b in zip(reversed(later), ours, strict=False))
        if not agree or (later and not resume):
            raise ValueError(
                f"`path` of CSVWriter must be a new file or that of this run, got {self.path}, "
                f"which holds steps of another run up to {self.step_of(later[0])}. Give each run a "
                f"file of its own, or delete it."
            )
        common = min(len(later), len(ours))
        self.put(ours[common:], after=sum(map(len, kept + ours[:common])))

    def append(self, rows: Rows) -> None:
        if self.columns != columns_of(rows) or not self.path.exists():
            held = self.read(rows)
            self.put([], after=sum(map(len, held)))
        self.put(lines_of(rows))

    def read(self, rows: Rows) -> list[bytes]:
        """The whole lines of the file, the first of them with the columns of `rows`."""
        columns, head = columns_of(rows), line(columns_of(rows))
        content = self.path.read_bytes() if self.path.exists() else b""
        if content[: len(head)] != head[: len(content)]:
            found = content.splitlines()[0].decode(errors="replace")
            raise ValueError(
                f"`path` of CSVWriter must be a file with the columns {', '.join(columns)}, got "
                f"{self.path} with {found!r}. A file keeps its columns: give runs that log other "
                f"names another one."
            )
        if len(content) < len(head):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.put([head], after=0)
            content = head
        self.columns = columns
        # The last line is not whole if the machine lost its power.
        return [each for each in content.splitlines(keepends=True) if each.endswith(b"\n")]

    def step_of(self, line: bytes) -> int:
        number = line.partition(b",")[0].strip()
        if not number.isdigit():
            raise ValueError(
                f"`path` of CSVWriter must be a file whose lines begin with a step, got "
                f"{self.path} with the line {line.decode(errors='replace').strip()!r}. Use "
                f"another file, or delete it."
            )
        return int(number)

    def put(self, lines: Sequence[bytes], after: int | None = None) -> None:
        """Append the lines, all of them or none, after the first `after` bytes of the file."""
        content = b"".join(lines)
        descriptor = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666
        )
        try:
            size = os.fstat(descriptor).st_size if after is None else after
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, size, os.SEEK_SET)
            written = os.write(descriptor, content)
            if written != len(content):
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        finally:
            os.close(descriptor)


def columns_of(rows: Rows) -> list[str]:
    return ["step", *rows.values]


def lines_of(rows: Rows) -> list[bytes]:
    columns = [series.tolist() for series in (rows.steps, *rows.values.values())]
    return [line(map(text, row)) for row in zip(*columns, strict=True)]


def line(cells: Any) -> bytes:
    into = io.StringIO()
    csv.writer(into, lineterminator="\n").writerow(cells)
    return into.getvalue().encode()


def text(value: Any) -> str:
    """The value in as few digits as it takes to read back a float32, if it is one."""
    if isinstance(value, float) and abs(value) <= LARGEST and np.float32(value) == value:
        value = np.float32(value)
    return str(value)
