"""One writer of a folder at a time, on any system."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BEYOND = 2**30  # Windows lets nobody read what is locked: a byte far behind what the file holds


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other writers out; the lock of a killed process is released.

    The file `.lock` in the folder holds the number of the process that writes.

    Raises:
        ValueError: another writer holds the folder.
    """
    with open(folder / ".lock", "a+") as file:
        try:
            lock(file.fileno())
        except (BlockingIOError, PermissionError):
            file.seek(0)
            raise ValueError(
                f"`directory` of Checkpoints must have one writer, got {folder}, to which process "
                f"{file.read() or '?'} is writing. Wait until it ends, or use another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            unlock(file.fileno())


def lock(descriptor: int) -> None:
    """Lock an open file, or raise if it is locked already."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock(descriptor: int) -> None:
    """Windows unlocks a file that is closed, but at some later time."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
