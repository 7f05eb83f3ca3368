"""Signals: Ctrl-C and SIGTERM end a run of `fit` cleanly."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from ..distributed.processes import preempted


class Interruption:
    """Whether a signal came, and which. With many processes, all learn of it at the same step."""

    number: int | None = None
    asked: int = 0

    def __call__(self) -> bool:
        if self.number is None and jax.process_count() > 1:
            self.asked += 1
            if preempted(self.asked):
                self.number = signal.SIGTERM
        return self.number is not None


@contextmanager
def interruptible(terminable: bool) -> Iterator[Interruption]:
    """Note the first Ctrl-C, so that it does not interrupt a call that holds the state.

    Note SIGTERM too if `terminable`. After either, the next signal does what it always did. With
    many processes none may stop alone: JAX tells all of them of SIGTERM, and Ctrl-C raises.
    """
    interruption = Interruption()
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def interrupt(number: int, frame: Any) -> None:
        interruption.number = number
        restore()

    alone = jax.process_count() == 1
    if alone and threading.current_thread() is threading.main_thread():
        for wanted in (signal.SIGINT, signal.SIGTERM) if terminable else (signal.SIGINT,):
            handler = signal.getsignal(wanted)
            if handler not in (signal.SIG_IGN, None):  # as Ctrl-C is for a job in the background
                previous[wanted] = handler
        for number in previous:
            signal.signal(number, interrupt)
    try:
        yield interruption
    finally:
        restore()
