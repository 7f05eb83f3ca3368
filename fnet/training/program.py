"""Everything static of a run, as one value: one of it is one compiled program."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax

from ..core.checks import check_count
from ..core.trees import Tree
from ..distributed.sharding import Devices
from .recording import STEP_METRICS
from .shapes import Shapes, shapes_of, zeros_like
from .task import Batch, Task, check_task


@dataclass(frozen=True)
class Program:
    """A task, what to record of its run, and the devices to run it on.

    `names` are those of the task's values, the loss first; `record` names what to keep of every
    `record_every`-th step.
    """

    task: Task
    names: tuple[str, ...] = ()
    record: tuple[str, ...] = ()
    record_every: int = 1
    devices: Devices = Devices()

    @property
    def recorded(self) -> tuple[str, ...]:
        return ("step", *self.record) if self.record else ()

    def with_names(self, names: tuple[str, ...]) -> "Program":
        """The program of a task whose values have these names."""
        for name in self.record:
            if name not in (*names, *STEP_METRICS):
                raise ValueError(
                    f"`record` must name series of this run, got {name!r}. "
                    f"There are {', '.join(map(repr, (*names, *STEP_METRICS)))}."
                )
        return replace(self, names=names)


def make_program(task: Task, record: Sequence[str], record_every: int, devices: Devices) -> Program:
    """The program of a run whose data was not looked at yet, its arguments checked."""
    if isinstance(record, str):
        raise TypeError(f"`record` must be a list, got {record!r}. Write [{record!r}].")
    every = check_count("record_every", record_every)
    return Program(check_task(task), (), tuple(record), every, devices)


def value_names(task: Task, params: Tree, model_state: Tree, batch: Batch) -> tuple[str, ...]:
    """Refuse parameters and a batch that do not fit the task; the names of its values."""
    return traced_names(task, *shapes_of((params, model_state, batch)))


@lru_cache(maxsize=256)
def traced_names(task: Task, shapes: Shapes, structure: Any) -> tuple[str, ...]:
    params, model_state, batch = zeros_like(shapes, structure)
    size = jax.tree.leaves(batch)[0].shape[0]
    names: list[str] = []

    def evaluate(params: Tree, model_state: Tree, batch: Batch) -> Any:
        values = task.evaluate(params, model_state, batch)
        names.extend(values)  # in their order, which a tree does not keep
        return values

    for name, value in jax.eval_shape(evaluate, params, model_state, batch).items():
        if value.shape != (size,):
            raise ValueError(
                f"`{name}` must give one value a sample, shape ({size},), got "
                f"{value.shape}. Average over the other axes, not over the batch."
            )
    return tuple(names)
