"""The contract of a task: what a run minimises and reports.

A task is a pair of pure functions, here the two methods of a static value:

    loss(params, model_state, batch, key)      -> values, model_state    in training
    evaluate(params, model_state, batch)       -> values                 at inference

`values` is a dict of the loss, under "loss", and of whatever else is reported, each `(batch,)`. A
step descends on the mean of the loss. All that runs a task knows these two functions of it, and
nothing of models: a task hashes, compares and pickles by value, so that one task is one program.
"""

import abc
from collections.abc import Callable
from typing import Any

import jax

from ..core.checks import check_data
from ..core.trees import Tree
from ..layers.base import Layer

Batch = Any  # a tree of arrays with the samples in axis 0
Values = dict[str, jax.Array]


class Task(abc.ABC):
    """What is minimised; the two functions are the contract, the rest makes errors better."""

    @abc.abstractmethod
    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        """The loss and metrics of each sample in training, and the new model state."""

    @abc.abstractmethod
    def evaluate(self, params: Tree, model_state: Tree, batch: Batch) -> Values:
        """The loss and metrics of each sample at inference."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of its values, the loss first, if they are known before there is a batch."""
        return None

    def check_data(self, argument: str, data: Any) -> Batch:
        """Return the data as arrays of one length, or refuse it."""
        return check_data(argument, data)

    def check_values(self, argument: str, params: Tree, model_state: Tree, batch: Batch) -> None:
        """Refuse labels and other numbers that mean nothing to this task, where they are known."""
        return None

    def map_layers(self, wrap: Callable[[Layer], Layer]) -> "Task":
        """Return the task with each layer of its model wrapped; the same task if it has none."""
        return self


def check_task(task: Task) -> Task:
    if not isinstance(task, Task):
        shown = repr(task) if isinstance(task, Layer) else f"a {type(task).__name__}"
        raise TypeError(
            f"`task` must be a task, got {shown}. "
            f"Make one of a model: fnet.supervised(net, loss, metrics)."
        )
    return task
