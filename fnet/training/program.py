"""Everything static of a run, as one value: one of it is one compiled program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from ..core.checks import check_count
from ..core.trees import Tree, by_path
from ..core.values import describe
from ..distributed.sharding import Devices
from ..losses.statistics import mean_over_samples
from .recording import STEP_METRICS
from .signature import Signature, abstract_of, signature_of
from .task import Batch, Task, check_task


class Value(NamedTuple):
    """One of a task's values: its name, what its mean looks like, and what is a number a sample."""

    name: str
    shapes: Signature
    structure: Any
    numbers: tuple[bool, ...]

    def zeros(self, places: int | None) -> Tree:
        """Sums of nothing: of numbers one for each place in the batch, if their count is known."""
        zeros = [
            np.zeros((places,) if number and places else shape, dtype)
            for (shape, dtype), number in zip(self.shapes, self.numbers, strict=True)
        ]
        return jax.tree.unflatten(self.structure, zeros)

    def map_sums(
        self, places: Callable[[Any], Any], other: Callable[[Any], Any], sums: Tree
    ) -> Tree:
        """The sums, changed by one function where there is one for each place, or by the other."""
        changed = [
            (places if leaf.ndim > len(shape) else other)(leaf)
            for leaf, (shape, _) in zip(jax.tree.leaves(sums), self.shapes, strict=True)
        ]
        return jax.tree.unflatten(self.structure, changed)


@dataclass(frozen=True)
class Program:
    """A task, what to record of its run, and the devices to run it on.

    `values` are the task's in training, the loss first, and `val_names` those at inference if there
    is validation data; `record` names what to keep of every `record_every`-th step.
    """

    task: Task
    values: tuple[Value, ...] = ()
    val_names: tuple[str, ...] = ()
    record: tuple[str, ...] = ()
    record_every: int = 1
    devices: Devices = Devices()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(value.name for value in self.values)

    @property
    def log_names(self) -> tuple[str, ...]:
        """What there is of an epoch, in the order in which it is shown."""
        return *self.names, *(f"val_{name}" for name in self.val_names)

    @property
    def recorded(self) -> tuple[str, ...]:
        return ("step", *self.record) if self.record else ()

    def with_values(self, values: tuple[Value, ...]) -> "Program":
        """The program of a task that has these values."""
        known = *(value.name for value in values), *STEP_METRICS
        for name in self.record:
            if name not in known:
                raise ValueError(
                    f"`record` must name series of this run, got {name!r}. "
                    f"There are {', '.join(map(repr, known))}."
                )
        return replace(self, values=values)


def make_program(task: Task, record: Sequence[str], record_every: int, devices: Devices) -> Program:
    """The program of a run whose data was not looked at yet, its arguments checked."""
    if isinstance(record, str):
        raise TypeError(f"`record` must be a list, got {record!r}. Write [{record!r}].")
    every = check_count("record_every", record_every)
    return Program(check_task(task), (), (), tuple(record), every, devices)


def training_values(
    task: Task, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
) -> tuple[Value, ...]:
    """Refuse parameters and a batch that do not fit the task; its values in training."""
    return traced_values(task, True, *signature_of((params, model_state, batch, key)))


def evaluation_names(task: Task, params: Tree, model_state: Tree, batch: Batch) -> tuple[str, ...]:
    """Refuse parameters and a batch that do not fit the task; the names of its values."""
    shapes = signature_of((params, model_state, batch, None))
    return tuple(value.name for value in traced_values(task, False, *shapes))


def evaluation_key() -> jax.Array:
    return jax.random.key(0)


@lru_cache(maxsize=256)
def traced_values(
    task: Task, training: bool, shapes: Signature, structure: Any
) -> tuple[Value, ...]:
    params, model_state, batch, key = abstract_of(shapes, structure)
    names: list[str] = []

    def call(params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> Any:
        if training:
            values, new_state = task.loss(params, model_state, batch, key)
        else:
            values = task.evaluate(params, model_state, batch, evaluation_key())
            new_state = model_state
        names.extend(values)  # in their order, which a tree does not keep
        return values, new_state, mean_over_samples(values)

    values, new_state, means = jax.eval_shape(call, params, model_state, batch, key)
    size = jax.tree.leaves(batch)[0].shape[0] if jax.tree.leaves(batch) else None
    for name in names:
        check_value(name, values[name], size)
    check_kept(model_state, new_state)
    return tuple(
        Value(
            name,
            *signature_of(means[name]),
            tuple(
                leaf.ndim == 1 and leaf.shape[0] == size for leaf in jax.tree.leaves(values[name])
            ),
        )
        for name in names
    )


def check_value(name: str, value: Any, size: int | None) -> None:
    is_array = isinstance(value, jax.ShapeDtypeStruct)
    for leaf in jax.tree.leaves(value):
        if is_array and leaf.ndim == 0:
            continue
        if leaf.ndim == 0 or (is_array and leaf.ndim > 1) or size not in (None, leaf.shape[0]):
            raise ValueError(
                f"`{name}` must be one value a sample, shape ({size},), or the mean of the batch, "
                f"shape (), got shape {leaf.shape}. Average over the other axes."
            )


def check_kept(before: Tree, after: Tree) -> None:
    """Refuse a model state of another form than before."""
    ours, theirs = by_path(before), by_path(after)
    one: Any = jax.tree.structure(before)
    same = one == jax.tree.structure(after)
    changed = [name for name in ours if same and not alike(ours[name], theirs[name])]
    if same and not changed:
        return
    what = (
        f"{describe_leaf(theirs[changed[0]])} for {describe_leaf(ours[changed[0]])} at "
        f"{changed[0]!r}"
        if same
        else f"leaves {sorted(theirs)} for {sorted(ours)}"
    )
    raise TypeError(
        f"the task must return a model state of the form that it takes, got {what}. Start with "
        f"one of that form: TrainState.create(params, optimizer, key, model_state)."
    )


def alike(one: Any, other: Any) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def describe_leaf(leaf: Any) -> str:
    return f"{describe(leaf)} and dtype {leaf.dtype}"
