"""Writing a file whole, or not at all."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable

FULL = (errno.ENOSPC, errno.EDQUOT)


def write(path: str | os.PathLike[str], parts: Iterable[bytes | memoryview]) -> None:
    """Put a file of these parts in the place of what is at `path`, in one instant.

    The parts go into a temporary file in the same folder, which is synced and renamed over `path`;
    then the folder is synced. Whoever reads `path`, even after a crash, finds the old file or the
    new one. A process that is killed may leave a temporary file, `.fnet-*.tmp`, which is in
    nobody's way.

    Args:
        path: where to write; a link is followed.
        parts: the bytes, one after the other.

    Raises:
        OSError: the disk refused, with its own errno. The old file is as it was, except where only
            the folder could not be synced: then the new file is in place.
    """
    target = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise IsADirectoryError(
            errno.EISDIR, "a file must have a name of its own, got a folder. Add a name to", target
        )
    views = [memoryview(part) for part in parts]
    temporary = os.path.join(folder, f".fnet-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
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
    """Make the renaming last; until then a crash may bring the old file back."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        message = (
            f"the folder must be synced after a file was renamed in it, got "
            f"{error.strerror!r}. The new file is in place, but a crash may bring the old one "
            f"back. Save once more, or elsewhere; the folder is"
        )
        raise OSError(error.errno, message, folder) from error


def refused(error: OSError, target: str, size: int) -> OSError:
    message = (
        f"the file must be written as a whole, got {error.strerror!r} for {size} bytes"
        f"{room(target) if error.errno in FULL else ''}. What was there before is intact. "
        f"{'Make room' if error.errno in FULL else 'Check the folder and its permissions'}, or "
        f"save elsewhere than"
    )
    return OSError(error.errno, message, target)


def room(target: str) -> str:
    try:
        return f", with {shutil.disk_usage(os.path.dirname(target)).free} bytes free"
    except OSError:
        return ""
