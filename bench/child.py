"""The measured side of `processes.fresh`: one job in a process of its own, and what it notes.

It imports next to nothing before the job does, since the job's clock is running.
"""

import importlib
import json
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
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


def time_in_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    most: int = 7,
    seconds: float = 3.0,
    warm: bool = True,
) -> dict[str, list[float]]:
    """Seconds of each call, which must return only when its results are there.

    Args:
        calls: what to time, by name.
        most: turns at most.
        seconds: no further turn begins when this time is up.
        warm: whether a first turn, which compiles, is left out.
    """
    if warm:
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    for turn in range(most):
        if turn and time.perf_counter() - began > seconds:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    """Call the function `bench.module:name`; the last line printed is its result."""
    name, arguments, began = sys.argv[1:]
    module, function = name.split(":")
    try:
        job = getattr(importlib.import_module(f"bench.{module}"), function)
        result = job(Clock(float(began)), **json.loads(arguments))
    except Exception as error:
        traceback.print_exc()
        first_line = next(iter(str(error).splitlines()), "")
        result = {"failed": f"{type(error).__name__}: {first_line}"}
    print(json.dumps(result))
