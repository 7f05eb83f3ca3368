"""Whole runs in a folder, as orbax writes them: each process what its own devices hold."""

import json
import os
import shutil
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
from .sums import checksums
from .tensor_file import CorruptFileError, check_kind, read_tensors, write_tensors
from .trees import algorithm, built, check_same, is_key, name_of, named, nested, structure

BESIDE = "fnet.safetensors"  # what is no sharded array, and the checksums; written last


class OrbaxCheckpoints(Checkpoints):
    """`Checkpoints` of states that are sharded over devices and processes, by orbax.

    Each step is a folder `step-900` that `orbax.checkpoint.PyTreeCheckpointer` reads too, with
    `fnet.safetensors` in it: the history, and a checksum of every array, as orbax has none. They
    do not depend on the sharding, so a run may go on with other devices than it began with: every
    array comes back as that of the same name in `like` lies. Where there are many processes, all
    of them call `fit`, with a folder that they share, and training waits for the writing.

    Args:
        directory, keep, every: as for `Checkpoints`.

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

    def __init__(
        self, directory: str | os.PathLike[str], *, keep: int = 3, every: int | None = None
    ):
        checkpointer()
        super().__init__(Path(directory).absolute(), keep=keep, every=every)

    def is_one(self, path: Path) -> bool:
        return path.is_dir()

    def put(self, path: Path, state: TrainState, extra: Extra) -> None:
        """Make the folder elsewhere, and rename it when it is whole and on the disk."""
        sharded, beside = divided(state)
        sums = checksums(sharded)
        described = {name: (a.dtype.name, a.shape, sums[name]) for name, a in sharded.items()}
        metadata = {
            "kind": "orbax",
            "arrays": json.dumps(described),
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
                    f"`{path}` must be written as a whole, got {error!r} of orbax. The older "
                    f"ones are intact. Make room, or save elsewhere."
                ) from error
            if is_primary():
                for folder, _, files in os.walk(new):
                    for name in (*files, ""):
                        sync_folder(os.path.join(folder, name))
                write_tensors(new / BESIDE, beside, metadata)
                self.publish(new, path)

    def publish(self, new: Path, path: Path) -> None:
        """Put a folder in the place of what is at `path`; a crash in between is made good."""
        if path.exists():
            self.delete(path)
        new.rename(path)
        sync_folder(str(self.directory))

    def delete(self, path: Path) -> None:
        """At once for whoever reads the steps."""
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
        """End what a process that was killed had begun."""
        for path in sorted(self.directory.glob(".step-*")):
            if path.suffix == ".new" and (path / BESIDE).exists():
                self.publish(path, self.directory / path.stem.removeprefix("."))
            else:
                shutil.rmtree(path, ignore_errors=True)

    def read(self, path: Path, like: TrainState) -> tuple[TrainState, Extra]:
        with together("read a checkpoint"):
            tensors, metadata = read_tensors(path / BESIDE)
            check_kind(path / BESIDE, metadata, "orbax")
            check_structure(path, json.loads(metadata["structure"]), structure(like))
            extra = {name: tensors.pop(name) for name in list(tensors) if name.startswith(EXTRA)}
            written, sums = {}, {}
            for name, (dtype, shape, checksum) in json.loads(metadata["arrays"]).items():
                written[name], sums[name] = jax.ShapeDtypeStruct(shape, dtype), checksum
            leaves = check_same({**tensors, **written}, like, f"`{path}`")
            arrays = restored(path, {name: (leaves[name], written[name]) for name in written})
        found = checksums(arrays)
        if damaged := [name for name in sums if sums[name] != found[name]]:
            corrupt(path, f"other bits than were written in {', '.join(damaged)}")
        arrays |= tensors
        state = jax.tree.unflatten(
            jax.tree.structure(like), [placed(arrays[name], leaves[name]) for name in leaves]
        )
        return state, nested({name.removeprefix(EXTRA): extra[name] for name in extra})


def checkpointer(*, alone: bool = False) -> Any:
    """orbax's, which waits for the other processes unless `alone`."""
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError(
            "OrbaxCheckpoints needs orbax, which is not installed. Run "
            '`pip install "fnet[checkpoint]"`, or use fnet.Checkpoints for a single process.'
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
    """The arrays by name: what lies on devices, and what all processes have for themselves.

    Raises:
        TypeError, ValueError: as `named`; names that orbax does not tell apart.
    """
    sharded: dict[str, jax.Array] = {}
    beside: dict[str, np.ndarray] = {}
    files = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = name_of(path, leaf)
        if name.replace("/", ".") in files:
            raise ValueError(
                f"every leaf must have a name of its own where dots and slashes are the same, got "
                f"two called {name!r}. Rename one, or use fnet.Checkpoints."
            )
        files.add(name.replace("/", "."))
        array = jax.random.key_data(leaf) if is_key(leaf) else leaf
        # orbax refuses what is empty, and an array that each of many processes has for itself.
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
    """What orbax wrote, as each leaf lies on its devices, and of NumPy where it lies on none.

    Args:
        wanted: by name, a leaf of `like` and what was written of it.
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
        corrupt(path, f"{type(error).__name__} of orbax, {str(error)[:200]!r}", error)
    for name, (_, written) in wanted.items():
        if (arrays[name].shape, arrays[name].dtype) != (written.shape, written.dtype):
            corrupt(path, f"another shape or dtype than was written of {name}")
    return arrays


def lies_somewhere(leaf: Any) -> bool:
    """Whether it was put on certain devices, and is no weakly typed number, which orbax lacks."""
    sharding = getattr(leaf, "sharding", None)
    committed = getattr(leaf, "committed", sharding is not None)
    return committed and not getattr(leaf, "weak_type", False)


def placed(array: Any, like: Any) -> Any:
    """A leaf of the kind of `like`; what lies on devices already stays there."""
    if isinstance(array, np.ndarray):
        return built(array, like)
    return jax.random.wrap_key_data(array, impl=algorithm(like)) if is_key(like) else array


def beside_of(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def corrupt(path: Path, found: str, cause: Exception | None = None) -> NoReturn:
    raise CorruptFileError(
        f"`{path}` must be a checkpoint as it was written, got {found}. Take an older one."
    ) from cause
