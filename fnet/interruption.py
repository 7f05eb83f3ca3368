"""Signals that end a run of `fit`, and nothing that it has in hand."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Whether a signal came, and which."""

    number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None


@contextmanager
def interruptible(terminable: bool) -> Iterator[Interruption]:
    """The first Ctrl-C is only noted, so that no call is cut off with the state inside.

    So is SIGTERM where it is wanted; after either the next one does what it always did.
    """
    interruption = Interruption()
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def interrupt(number: int, frame: Any) -> None:
        interruption.number = number
        restore()

    if threading.current_thread() is threading.main_thread():
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
