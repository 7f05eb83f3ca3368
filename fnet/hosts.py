"""Processes that run one program together, each on its own devices."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np


def leads() -> bool:
    """Whether this process is the one that writes and speaks for all."""
    return jax.process_index() == 0


@contextmanager
def together(what: str) -> Iterator[None]:
    """What every process does, or none: where one fails, all raise.

    The processes wait for each other at the end, so all of them must come here.

    Raises:
        OSError: another process failed; the one that did raises its own error.
    """
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    failed = where(failure is not None)
    if failure:
        raise failure
    if failed:
        raise OSError(
            f"every process must {what}, got an error in {', '.join(map(str, failed))} of "
            f"{jax.process_count()}. See what that one says."
        )


def where(flag: bool) -> list[int]:
    """The processes in which the flag is set."""
    if jax.process_count() == 1:
        return [0] * flag
    from jax.experimental import multihost_utils

    return np.flatnonzero(multihost_utils.process_allgather(np.array(flag))).tolist()
