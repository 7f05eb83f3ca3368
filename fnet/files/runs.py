"""A whole training run as one serialised program, which runs without fnet.

The bytes are framed as those of `export` are, with a magic number of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import jax
import numpy as np
from jax import export as jax_export

from ..core.checks import is_integer
from ..core.platform import Absent, made_for
from ..core.trees import Tree
from ..training import Task, TrainState, train
from ..training.history import History
from .export import PLATFORMS, check_bytes, check_flatbuffers, checked, framed
from .trees import algorithm, is_key, name_of, named, plain, restored

MAGIC = b"fnetrun\x01"

Arrays = dict[str, Any]  # the leaves of a state by name, as in the files of `save`


def export_run(
    task: Task,
    state: TrainState,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = 32,
    steps: int | None = None,
    validation: Any = None,
    shuffle: bool = True,
    platforms: Sequence[str] = PLATFORMS,
) -> bytes:
    """Export a whole run, `(state, history) = train(task, state, data, ...)`, as bytes.

    Loop, order of samples, model, gradient, update and history are one StableHLO program for CPUs,
    CUDA and TPUs. `state` and `data` are its arguments: their numbers are not in the file, and
    their shapes are enough here. Nothing is compiled.

    After the first 48 bytes the file is one of `jax.export`, which needs no fnet to run it::

        run = jax.export.deserialize(bytearray(file[48:]))
        arrays, history = run.call(arrays, data)            # and validation, if there is any

    There a state is the dict of its arrays by the names that `fnet.save` gives them, so that
    `safetensors` reads the start from a file, and writes the end into one for `fnet.load`.

    One file serves many numbers of samples if the shapes of `data` have a symbol of `jax.export` in
    axis 0. The size of the last batch of an epoch is fixed all the same: batches of 32 take
    `32*k + 8`, but not `n`.

    JAX reads the file for about six months; after that, export anew with the version at hand, from
    the same task. For a compiler that is not JAX's, `run.mlir_module()` is the text, after an
    export for a single platform: with `platforms=("cpu",)` IREE 3.13 compiles it for CPUs and
    computes the same losses within rounding.

    Args:
        task: what to minimise.
        state: where such a run may start: a TrainState, or its `jax.eval_shape`.
        data: what `train` takes, or a tree of `jax.ShapeDtypeStruct` like it.
        epochs, batch_size, steps, shuffle: as for `train`.
        validation: data like `data`, evaluated after each epoch.
        platforms: where it shall run; for one alone the program is the one that is fastest there.

    Returns:
        Bytes for `load_run`.

    Raises:
        ValueError: as `train`; a symbolic number of samples of which the size of the last batch
            depends, or one of `validation`.
        TypeError: as `train`.
        ImportError: flatbuffers is not installed; `pip install "fnet-jax[export]"` installs it.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> x = jnp.linspace(-1, 1, 8).reshape(8, 1)
        >>> run = fnet.load_run(fnet.export_run(task, state, (x, 3 * x), epochs=2, batch_size=4))
        >>> state, history = run(state, (x, 3 * x))
        >>> int(state.step), history["loss"].shape
        (4, (2,))

        The same for 4, 8, 12, ... samples:

        >>> (n,) = jax.export.symbolic_shape("4*k")
        >>> pair = tuple(jax.ShapeDtypeStruct((n, 1), x.dtype) for _ in "xy")
        >>> run = fnet.load_run(fnet.export_run(task, state, pair, epochs=2, batch_size=4))
        >>> run  # doctest: +ELLIPSIS
        Run(a state of 13 arrays, float32[4*k, 1], float32[4*k, 1], platforms=('cpu', ...))

    Source: https://docs.jax.dev/en/latest/export/export.html.
    """
    if isinstance(platforms, str) or not platforms or not {*platforms} <= {*PLATFORMS}:
        raise ValueError(
            f"`platforms` must be a list of some of {PLATFORMS}, got {platforms!r}. Write "
            f"['cpu'] for a program for CPUs alone."
        )
    check_flatbuffers("export_run")
    check_symbols(data, batch_size, validation)
    paths, form = jax.tree_util.tree_flatten_with_path(state)
    leaves = {name_of(path, leaf): leaf for path, leaf in paths}

    def run(arrays: Arrays, data: Any, *validation: Any) -> tuple[Arrays, Any]:
        start = [
            jax.random.wrap_key_data(arrays[name], impl=algorithm(leaf)) if is_key(leaf)
            else arrays[name]
            for name, leaf in leaves.items()
        ]  # fmt: skip
        end, history = train(
            task,
            jax.tree.unflatten(form, start),
            data,
            epochs=epochs,
            batch_size=batch_size,
            steps=steps,
            validation=validation[0] if validation else None,
            shuffle=shuffle,
        )
        ends = jax.tree.leaves(end)
        return {
            name: jax.random.key_data(leaf) if is_key(leaf) else leaf
            for name, leaf in zip(leaves, ends, strict=True)
        }, dict(history)  # which are read without fnet

    arrays = {name: plain(leaf) for name, leaf in leaves.items()}
    given = jax.eval_shape(
        lambda *trees: trees, arrays, data, *(validation,) * (validation is not None)
    )
    only = platforms[0] if len(platforms) == 1 else None
    with made_for(Absent("gpu" if only == "cuda" else only, None) if only else None):
        exported = jax_export.export(jax.jit(run), platforms=platforms)(*given)
    return framed(bytes(exported.serialize()), MAGIC)


def check_symbols(data: Any, batch_size: int | None, validation: Any) -> None:
    """Refuse a number of samples that leaves the shape of a batch open."""
    for leaf in jax.tree.leaves(validation):
        if not all(map(is_integer, np.shape(leaf))):
            raise ValueError(
                f"`validation` must have a fixed number of samples, got shape {leaf.shape}. Only "
                f"that of `data` may be symbolic."
            )
    for leaf in jax.tree.leaves(data):
        size = np.shape(leaf)[0] if np.shape(leaf) else 0
        if is_integer(size):
            continue
        if not is_integer(batch_size, 1) or not is_integer(size % batch_size):
            raise ValueError(
                f"a symbolic number of samples must be a multiple of `batch_size` plus a fixed "
                f"rest, got {size} and {batch_size}. For batches of 32 write "
                f"jax.export.symbolic_shape('32*k + 8')."
            )


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A loaded run, `(state, history) = run(state, data)`, or with validation data as a third."""

    exported: jax_export.Exported

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        return jax.jit(self.exported.call)

    def __call__(
        self, state: TrainState, data: Any = None, *validation: Any
    ) -> tuple[TrainState, Any]:
        arguments: Any = (named(state), data, *validation)
        (expected, _) = jax.tree.unflatten(self.exported.in_tree, self.exported.in_avals)
        forms: list[Any] = [jax.tree.structure(tree) for tree in (arguments, expected)]
        if forms[0] != forms[1] or not jax.tree.all(jax.tree.map(fits, arguments, expected)):
            refuse(arguments, expected)
        try:
            arrays, history = self.compiled(*arguments)
        except ValueError as error:  # JAX cannot solve the symbols for these sizes
            refuse(arguments, expected, error)
        return restored(arrays, state, "the end of the run"), History(history)

    def __repr__(self) -> str:
        (expected, _) = jax.tree.unflatten(self.exported.in_tree, self.exported.in_avals)
        return f"Run({shown(expected)}, platforms={tuple(self.exported.platforms)})"


def fits(array: Any, expected: Any) -> bool:
    """Whether dtypes are equal, and all numbers of the shapes that are known."""
    if array.dtype != expected.dtype or array.ndim != len(expected.shape):
        return False
    pairs = zip(array.shape, expected.shape, strict=True)
    return all(came == due or not is_integer(due) for came, due in pairs)


def refuse(arguments: Tree, expected: Tree, cause: Exception | None = None) -> NoReturn:
    raise TypeError(
        f"the arguments must be those that the run was exported for, {shown(expected)}, got "
        f"{shown(arguments)}. Export it anew for other shapes, dtypes or counts."
    ) from cause


def shown(arguments: Tree) -> str:
    """The data in words, and how many arrays the state has."""
    arrays, *data = arguments
    leaves = [f"{leaf.dtype}{[*leaf.shape]}" for leaf in jax.tree.leaves(data)]
    return ", ".join([f"a state of {len(arrays)} arrays", *leaves])


def load_run(data: bytes) -> Run:
    """Load a run that `export_run` made, after its checksum is verified.

    The checksum detects damage, not malice: a program is code, so load it only from trusted
    sources.

    Args:
        data: the bytes that `export_run` returned.

    Returns:
        `run(state, data) -> (state, history)`, with the validation data as a third argument where
        it was exported with some, and without data where the task draws its own. It raises
        TypeError for arguments of other shapes or dtypes.

    Raises:
        CorruptFileError: the bytes are damaged, incomplete or not a run.
        TypeError: `data` is not bytes.
        ImportError: as `export_run`.

    Example:
        >>> fnet.load_run(pathlib.Path("run.bin").read_bytes())  # doctest: +SKIP
    """
    check_bytes(data, "export_run")
    check_flatbuffers("load_run")
    return Run(jax_export.deserialize(bytearray(checked(bytes(data), MAGIC))))
