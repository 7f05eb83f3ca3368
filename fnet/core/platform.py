"""The devices that a program is made for, which need not be here."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax


class Absent(NamedTuple):
    """Devices that are not here to be asked."""

    platform: str
    memory: int | None  # bytes of each


absent: ContextVar[Absent | None] = ContextVar("absent", default=None)


def platform() -> str:
    """The platform that programs are made for: "cpu", "gpu" or "tpu".

    A compiled function that depends on it must hold it among its static arguments.
    """
    there = absent.get()
    return there.platform if there else jax.default_backend()


@contextmanager
def made_for(devices: Absent | None) -> Iterator[None]:
    """Within it, programs are made for absent devices; for those at hand if there are none."""
    token = absent.set(devices)
    try:
        yield
    finally:
        absent.reset(token)
