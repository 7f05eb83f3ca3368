"""Signals that end a run of `fit`, and nothing that it has in hand."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from ..distributed.processes import preempted


class Interruption:
    """Whether a signal came, and which; of many processes, to any, and all learn it at once."""

    number: int | None = None
    asked = 0

    def __call__(self) -> bool:
        if self.number is None and jax.process_count() > 1:
            self.asked += 1
            if preempted(self.asked):
                self.number = signal.SIGTERM
        return self.number is not None


@contextmanager
def interruptible(terminable: bool) -> Iterator[Interruption]:
    """The first Ctrl-C is only noted, so that no call is cut off with the state inside.

    So is SIGTERM where it is wanted; after either the next one does what it always did. Of many
    processes none may stop alone: SIGTERM is left to JAX, which tells them, and Ctrl-C raises.
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
