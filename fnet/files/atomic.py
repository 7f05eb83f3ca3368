"""Atomic writing of files."""

import contextlib
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterable

from ..core.checks import check_path

FULL = (errno.ENOSPC, errno.EDQUOT)
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # Windows has text files


def write(path: str | os.PathLike[str], parts: Iterable[bytes | memoryview]) -> None:
    """Write the parts to `path` atomically.

    The parts go into a temporary file in the same folder, which is synced and renamed to `path`;
    then the folder is synced. A reader of `path` finds the old file or the new one, even after a
    crash. A killed process may leave a temporary file, `.fnet-*.tmp`, which does no harm.

    Args:
        path: where to write; links are followed.
        parts: the bytes, in order.

    Raises:
        TypeError: `path` is not a path.
        OSError: writing fails, with the errno of the cause. The old file is intact, unless only
            the sync of the folder fails: then the new file is in place.
    """
    target = os.path.realpath(check_path("path", path))
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(
            errno.EISDIR,
            "the path must be that of a file, got a folder. Add a file name to",
            target,
        )
    views = [memoryview(part) for part in parts]
    temporary = os.path.join(folder, f".fnet-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, NEW, 0o666)
        try:
            for view in views:
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise refused(error, target, sum(map(len, views))) from error
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Make a rename durable; before that, a crash may bring the old file back."""
    if sys.platform == "win32":  # which opens no folders, and keeps a journal of renames
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = (
            f"the folder must be synced after a rename, got {error.strerror!r}. The new file is in "
            f"place, but a crash may bring the old one back. Save again, or save elsewhere than in"
        )
        raise OSError(error.errno, message, folder) from error


def refused(error: OSError, target: str, size: int) -> OSError:
    advice = "Free some space" if error.errno in FULL else "Check the folder and its permissions"
    message = (
        f"all of the file must be written, got {error.strerror!r} for {size} bytes"
        f"{room(target) if error.errno in FULL else ''}. An older file is intact. "
        f"{advice}, or save elsewhere than"
    )
    return OSError(error.errno, message, target)


def room(target: str) -> str:
    try:
        return f", with {shutil.disk_usage(os.path.dirname(target)).free} bytes free"
    except OSError:
        return ""
