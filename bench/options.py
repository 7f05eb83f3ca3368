"""What a run of the benchmarks can be asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        rounds: how often every contender runs, in turns.
        epochs: of the headline job.
        only: the headline's contenders to run, all of them unless named.
        quick: whether growth, ensembles and updates try a few sizes only.
        gigabytes: how much data streaming lays out on the disk.
        anywhere: whether the accelerator's part runs on whatever device there is.
        out: the folder of `results/` and `README.md`.
    """

    rounds: int
    epochs: int
    only: tuple[str, ...]
    quick: bool
    gigabytes: float
    anywhere: bool
    out: Path
