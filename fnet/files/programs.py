"""Compiled programs that outlive their process, by the compilation cache of JAX."""

import contextlib
import os
import zlib
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from ..core.checks import check_path
from ..core.user_cache import user_cache

DIRECTORY = "jax_compilation_cache_dir"
MOST_BYTES = 2**30  # JAX bounds the size too, but needs `filelock`, and a killed process spoils it
ZSTANDARD = b"\x28\xb5\x2f\xfd"  # how an entry begins where that package is installed


def cache_programs(directory: str | os.PathLike[str] | None = None) -> Path:
    """Keep compiled programs between processes: the next one reads them in place of compiling.

    Call it once, before anything is compiled. From then on JAX writes each program that it
    compiles, of fnet or not, into `directory`, or reads it from there; a program that is read gives
    the same bits. JAX by itself keeps nothing, and with a directory only what takes it a second or
    more. Processes may share a directory, and so may machines: a program is known by its code, the
    versions, the compiler's flags and the kind of device with all features of a CPU.

    This call also tidies up: it removes entries that a killed process left unfinished, and beyond
    1 GiB those that were not used for the longest time. A damaged entry costs a warning of JAX, and
    its program is compiled again.

    Args:
        directory: a folder, which is made if it does not exist. By default the one that JAX has
            been told, such as by `JAX_COMPILATION_CACHE_DIR`, or else `fnet/programs` in the user's
            cache. Programs in it are run: nobody else should be able to write there.

    Returns:
        The directory.

    Raises:
        TypeError: `directory` is not a path.
        OSError: the directory can not be made.

    Example:
        >>> import fnet
        >>> directory = fnet.cache_programs()

    Source: JAX's documentation, "Persistent compilation cache".
    """
    told: str | None = getattr(jax.config, DIRECTORY)
    if directory is not None:
        check_path("directory", directory)
    folder = Path(directory or told or user_cache() / "programs").expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = (
            f"`directory` must be a folder or a place for a new one, got {error.strerror!r}. "
            f"Choose another than"
        )
        raise OSError(error.errno, message, str(folder)) from error
    with contextlib.suppress(OSError):  # a folder that can only be read serves all the same
        tidy(folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if str(folder) != told:
        jax.config.update(DIRECTORY, str(folder))
        reset_cache()  # JAX stays with the directory of the first program that it looked up
    return folder


def tidy(folder: Path) -> None:
    """Remove unfinished entries, of those that are new, and the oldest beyond the bound."""
    stamp = folder / ".checked"
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    stamp.touch()  # before looking: what is written meanwhile is new for the next call
    kept = []
    for path in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process tidies up too
            about = path.stat()
            if about.st_mtime >= since and not finished(path.read_bytes()):
                path.unlink()  # JAX would never write it again
            else:
                kept.append((max(about.st_atime, about.st_mtime), about.st_size, path))
    total = 0
    for _, size, path in sorted(kept, reverse=True):
        total += size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)


def finished(entry: bytes) -> bool:
    """Whether an entry is whole, as far as Python can tell."""
    try:
        zlib.decompress(entry)
    except zlib.error:
        return entry.startswith(ZSTANDARD)
    return True
