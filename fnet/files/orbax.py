"""Whole runs in a folder, written by orbax: each process writes what its own devices hold."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from ..distributed.processes import is_primary, together
from ..training.state import TrainState
from .atomic import sync_folder
from .checkpoints import Checkpoints, Extra
from .state import EXTRA, check_structure
from .tensor_file import CorruptFileError, check_kind, read_tensors, write_tensors
from .trees import algorithm, built, check_same, is_key, name_of, named, nested, structure

BESIDE = "fnet.safetensors"  # all but the sharded arrays, and the checksums; written last


class OrbaxCheckpoints(Checkpoints):
    """`Checkpoints` of states sharded over devices and processes, written by orbax.

    Each step is a folder such as `step-900`, which `orbax.checkpoint.PyTreeCheckpointer` also
    reads. Its file `fnet.safetensors` holds the history and the SHA-256 of every file that orbax
    wrote. A run can resume on different devices: each array is restored with the sharding of the
    array of the same name in `like`. With many processes, all of them call `fit` with a folder
    that they share, and training waits for the writing.

    Args:
        directory, keep, every, best, mode: as for `Checkpoints`.

    Raises:
        ImportError: orbax is not installed.
        ValueError: as `Checkpoints`.

    Example:
        >>> import tempfile, jax, fnet
        >>> checkpoints = fnet.OrbaxCheckpoints(tempfile.mkdtemp())
        >>> state = fnet.train_state(fnet.dense(1), "adam", jax.random.key(0), (2,))
        >>> checkpoints(0, state)
        >>> checkpoints.steps()
        [0]
        >>> state = checkpoints.latest(like=state)
    """

    suffix = ""

    def located(self, directory: Path) -> Path:
        checkpointer()  # without orbax, nothing is begun
        return directory.absolute()

    def is_one(self, path: Path) -> bool:
        return path.is_dir()

    def put(self, path: Path, state: TrainState, extra: Extra) -> None:
        """Write a folder beside `path`, and rename it once it is complete and on the disk."""
        sharded, beside = divided(state)
        metadata = {
            "kind": "orbax",
            "arrays": json.dumps({name: (a.dtype.name, a.shape) for name, a in sharded.items()}),
            "structure": json.dumps(structure(state)),
        }
        beside |= {f"{EXTRA}{name}": array for name, array in named(extra).items()}
        new = beside_of(path, "new")
        with together("write its part of a checkpoint"):
            if is_primary():
                shutil.rmtree(new, ignore_errors=True)
            try:
                checkpointer().save(new, nested(sharded))
            except Exception as error:
                raise OSError(
                    f"orbax must write all of `{path}`, got {error!r}. The older checkpoints are "
                    f"intact. Free some space, or save elsewhere."
                ) from error
            if is_primary():
                for folder, _, files in os.walk(new):
                    for name in (*files, ""):
                        sync_folder(os.path.join(folder, name))
                metadata["files"] = json.dumps(file_digests(new))
                write_tensors(new / BESIDE, beside, metadata)
                self.publish(new, path)

    def publish(self, new: Path, path: Path) -> None:
        """Replace `path` by the folder `new`; `clean` recovers from a crash in between."""
        if path.exists():
            self.delete(path)
        new.rename(path)
        sync_folder(str(self.directory))

    def delete(self, path: Path) -> None:
        """Rename the folder first, so that readers never see half of it."""
        if is_primary():
            old = beside_of(path, "old")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            with together("begin to write checkpoints"):
                if is_primary():
                    stack.enter_context(super().locked())
                    self.clean()
            yield

    def clean(self) -> None:
        """Finish or remove what a killed process left behind."""
        for path in sorted(self.directory.glob(".step-*")):
            if path.suffix == ".new" and (path / BESIDE).exists():
                self.publish(path, self.directory / path.stem.removeprefix("."))
            else:
                shutil.rmtree(path, ignore_errors=True)

    def read(self, path: Path, like: TrainState) -> tuple[TrainState, Extra]:
        with together("read a checkpoint"):
            tensors, metadata = read_tensors(path / BESIDE)
            check_kind(path / BESIDE, metadata, "orbax")
            if is_primary():
                if "files" not in metadata:
                    warnings.warn(
                        f"`{path}` has no digests of its arrays, as fnet wrote it before it hashed "
                        f"them; they are read unchecked. Save the run again.",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                check_files(path, json.loads(metadata.get("files", "{}")))
        with together("restore a checkpoint"):  # and only once its files are known to be intact
            check_structure(path, json.loads(metadata["structure"]), structure(like))
            extra = {name: tensors.pop(name) for name in list(tensors) if name.startswith(EXTRA)}
            written = {
                name: jax.ShapeDtypeStruct(shape, dtype)
                for name, (dtype, shape) in json.loads(metadata["arrays"]).items()
            }
            leaves = check_same({**tensors, **written}, like, f"`{path}`")
            arrays = restored(path, {name: (leaves[name], written[name]) for name in written})
        arrays |= tensors
        state = jax.tree.unflatten(
            jax.tree.structure(like), [placed(arrays[name], leaves[name]) for name in leaves]
        )
        return state, nested({name.removeprefix(EXTRA): extra[name] for name in extra})


def file_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = digest
    return found


def check_files(path: Path, written: Mapping[str, str]) -> None:
    found = file_digests(path)
    if damaged := [name for name in written if found.get(name) != written[name]]:
        corrupt(path, f"changed or missing files: {', '.join(damaged)}")


def checkpointer(*, alone: bool = False) -> Any:
    """orbax's checkpointer, which waits for the other processes unless `alone`."""
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError(
            "OrbaxCheckpoints needs orbax, which is not installed. Run "
            '`pip install "fnet-jax[checkpoint]"`, or use fnet.Checkpoints for a single process.'
        ) from error
    if not alone:
        return orbax.PyTreeCheckpointer()
    own = {jax.process_index()}
    options = orbax.options.MultiprocessingOptions(
        primary_host=jax.process_index(), active_processes=own
    )
    handler = orbax.PyTreeCheckpointHandler(multiprocessing_options=options)
    return orbax.Checkpointer(handler, multiprocessing_options=options)


def divided(state: TrainState) -> tuple[dict[str, jax.Array], dict[str, np.ndarray]]:
    """The arrays by name: those on devices, and those that every process holds itself.

    Raises:
        TypeError, ValueError: as `named`, or orbax cannot tell two names apart.
    """
    sharded: dict[str, jax.Array] = {}
    beside: dict[str, np.ndarray] = {}
    files = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = name_of(path, leaf)
        if name.replace("/", ".") in files:
            raise ValueError(
                f"leaves must have different names even with dots for slashes, got two called "
                f"{name!r}. Rename one, or use fnet.Checkpoints."
            )
        files.add(name.replace("/", "."))
        array = jax.random.key_data(leaf) if is_key(leaf) else leaf
        # orbax refuses empty arrays, and arrays that each of many processes holds in full.
        alone = jax.process_count() == 1
        if (
            isinstance(array, jax.Array)
            and array.size
            and (alone or not array.is_fully_addressable)
        ):
            sharded[name] = array
        else:
            beside[name] = np.asarray(array)
    return sharded, beside


def restored(path: Path, wanted: Mapping[str, tuple[Any, jax.ShapeDtypeStruct]]) -> dict[str, Any]:
    """Restore each array with the sharding of its leaf, or as a NumPy array if it has none.

    Args:
        wanted: by name, the leaf of `like` and the shape and dtype of the saved array.
    """
    import orbax.checkpoint as orbax

    how = {
        name: orbax.ArrayRestoreArgs(sharding=leaf.sharding)
        if lies_somewhere(leaf)
        else orbax.RestoreArgs(restore_type=np.ndarray)
        for name, (leaf, _) in wanted.items()
    }
    try:
        tree = checkpointer(alone=True).restore(
            path, item=nested(dict.fromkeys(how, 0)), restore_args=nested(how)
        )
        arrays = {name: reduce(getitem, name.split("/"), tree) for name in how}
    except Exception as error:
        corrupt(path, f"{type(error).__name__} from orbax, {str(error)[:200]!r}", error)
    for name, (_, written) in wanted.items():
        if (arrays[name].shape, arrays[name].dtype) != (written.shape, written.dtype):
            corrupt(path, f"a different shape or dtype of {name} than was saved")
    return arrays


def lies_somewhere(leaf: Any) -> bool:
    """Whether the leaf is committed to devices, and not weakly typed, which orbax cannot store."""
    sharding = getattr(leaf, "sharding", None)
    committed = getattr(leaf, "committed", sharding is not None)
    return committed and not getattr(leaf, "weak_type", False)


def placed(array: Any, like: Any) -> Any:
    """A leaf of the same kind as `like`; an array that is on devices stays there."""
    if isinstance(array, np.ndarray):
        return built(array, like)
    return jax.random.wrap_key_data(array, impl=algorithm(like)) if is_key(like) else array


def beside_of(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def corrupt(path: Path, found: str, cause: Exception | None = None) -> NoReturn:
    raise CorruptFileError(
        f"`{path}` must be an intact checkpoint, got {found}. Use an older one."
    ) from cause
