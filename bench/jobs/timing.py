"""Calls timed in turns within one process."""

import time
from collections.abc import Callable, Mapping


def in_turns(
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
