"""What a measured process notes: when things happened, and how much memory it took."""

import resource
import sys
import time
from typing import Any

Result = dict[str, Any]


class Clock:
    """Seconds since the parent process started this one, Python's own start included."""

    def __init__(self, began: float):
        self.began = began
        self.first_step: float | None = None
        self.epochs: list[float] = []

    def now(self) -> float:
        return time.time() - self.began

    def step(self) -> None:
        """To be called when the parameters after a step are ready; only the first counts."""
        if self.first_step is None:
            self.first_step = self.now()

    def epoch(self) -> None:
        self.epochs.append(self.now())

    def result(self) -> Result:
        return {"first_step": self.first_step, "epochs": self.epochs, "peak_mib": peak_mib()}


def peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
