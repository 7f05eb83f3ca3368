"""The contract of a task: what a run minimises and reports.

A task is a pair of pure functions, here the two methods of a static value:

    loss(params, model_state, batch, key)       -> values, model_state    in training
    evaluate(params, model_state, batch, key)   -> values                 at inference

`values` is a dict of the loss, under "loss", and of whatever else is reported: each is `(batch,)`,
to be averaged over samples, `()`, the mean of this batch, or a `Statistic`. A step descends on the
mean of the loss. All that runs a task knows these two functions of it, and nothing of models: a
task hashes, compares and pickles by value, so that one task is one program.
"""

import abc
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..core.checks import check_data
from ..core.dtypes import is_complex
from ..core.trees import Tree
from ..core.values import Static, by_value, describe, name_of
from ..layers.base import Layer

Batch = Any  # a tree of arrays with the samples in axis 0, or None
Values = dict[str, Any]  # arrays and statistics by name


class Task(Static, abc.ABC):
    """What is minimised: `loss` and `evaluate` are the contract, the rest makes errors better.

    `supervised` and `fnet.task` make one. For another, write a frozen dataclass of this class that
    holds only hyperparameters, so that it hashes, compares and pickles by value.
    """

    independent = False  # whether what a sample evaluates to depends on that sample alone

    @abc.abstractmethod
    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        """The loss and metrics in training, and the new model state."""

    @abc.abstractmethod
    def evaluate(self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> Values:
        """The loss and metrics at inference."""

    def check_data(self, argument: str, data: Any) -> Batch:
        """Return the data as arrays of one length, or refuse it; None is a task's own data."""
        return None if data is None else check_data(argument, data)

    def check_values(self, argument: str, params: Tree, model_state: Tree, batch: Batch) -> None:
        """Refuse labels and other numbers that mean nothing to this task, where they are known."""
        return None

    def map_layers(self, wrap: Callable[[Layer], Layer]) -> "Task":
        """Return the task with each layer of its model wrapped; the same task if it has none."""
        return self


def task(
    function: Callable[..., Any],
    *,
    stateful: bool = False,
    evaluate: Callable[..., Any] | None = None,
) -> Task:
    """A task from any pure function: what `train`, `fit` and all the others minimise.

    Parameters and batches are any trees; a batch has the samples in axis 0 of every leaf. Data that
    is None is a task that draws its own, from the key.

    Args:
        function: `function(params, batch, key) -> values`. The values are the loss, or a dict of
            the loss, under "loss", and of whatever else is to be reported. Each is `(batch,)`, to
            be averaged over samples, `()`, the mean of this batch, or a `Statistic`.
        stateful: whether the function also takes and returns what changes outside of the gradient,
            such as running statistics or an environment:
            `function(params, model_state, batch, key) -> (values, model_state)`.
        evaluate: the same at inference, where it differs; a new model state is dropped. Its key is
            the same in every call, so that two evaluations differ by the parameters alone.

    Returns:
        A task. It hashes, compares and pickles by value where its functions do: define them at the
        top of a module, or as a `functools.partial` or a frozen dataclass with `__call__`. A lambda
        or a closure works too, but each new one is a new task, which is compiled again.

    Raises:
        TypeError: an argument is not a function, or takes other arguments; (in a run) a model state
            of another form than it was.
        ValueError: (in a run) values without "loss", or of another shape.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> def quantile_loss(params, batch, key):
        ...     error = batch["y"] - batch["x"] @ params["w"]
        ...     return {"loss": jnp.maximum(0.9 * error, -0.1 * error), "error": jnp.abs(error)}
        >>> task = fnet.task(quantile_loss)
        >>> params = {"w": jnp.zeros(2)}
        >>> state = fnet.TrainState.create(params, fnet.sgd(0.1), jax.random.key(0))
        >>> data = {"x": jnp.ones((10, 2)), "y": jnp.ones(10)}
        >>> state, history = fnet.train(task, state, data, epochs=3, batch_size=5)
        >>> sorted(history), history["loss"].shape
        (['error', 'loss'], (3,))
    """
    function = check_signature("function", function, stateful)
    if evaluate is not None:
        evaluate = check_signature("evaluate", evaluate, stateful)
    return FunctionTask(function, bool(stateful), evaluate)


def check_signature(argument: str, function: Any, stateful: bool) -> Callable[..., Any]:
    """The function by value, if it takes what it is called with."""
    function = by_value(function, argument)
    names = ("params", "model_state", "batch", "key") if stateful else ("params", "batch", "key")
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin may have none
        return function
    try:
        signature.bind(*names)
    except TypeError:
        raise TypeError(
            f"`{argument}` of {'a stateful' if stateful else 'a'} task must take "
            f"({', '.join(names)}), got {name_of(function)}{signature}. Change its arguments, or "
            f"{'leave out' if stateful else 'set'} stateful=True."
        ) from None
    return function


@dataclass(frozen=True, repr=False)
class FunctionTask(Task):
    """See `task`."""

    function: Callable[..., Any]
    stateful: bool = False
    inference: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        shown = [name_of(self.function), *["stateful=True"] * self.stateful]
        shown += [f"evaluate={name_of(self.inference)}"] if self.inference else []
        return f"task({', '.join(shown)})"

    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        return self.call("function", self.function, params, model_state, batch, key)

    def evaluate(self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> Values:
        function = self.inference or self.function
        return self.call("evaluate", function, params, model_state, batch, key)[0]

    def call(
        self,
        argument: str,
        function: Callable[..., Any],
        params: Tree,
        model_state: Tree,
        batch: Batch,
        key: jax.Array,
    ) -> tuple[Values, Tree]:
        if not self.stateful:
            return as_values(argument, function(params, batch, key)), model_state
        result = function(params, model_state, batch, key)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"`{argument}` of a stateful task must return (values, model_state), got "
                f"{describe(result)}. Return the state as it came where it does not change."
            )
        values, model_state = result
        return as_values(argument, values), model_state


def as_values(argument: str, values: Any) -> Values:
    """The values of a task's function as a dict of floats, the loss first."""
    values = values if isinstance(values, dict) else {"loss": values}
    if "loss" not in values:
        raise ValueError(
            f'`{argument}` of a task must return a loss, or a dict with "loss" in it, got the keys '
            f'{sorted(map(str, values))}. Name what is minimised "loss".'
        )
    names = ["loss", *(name for name in values if name != "loss")]
    return {name: jax.tree.map(as_float, values[name]) for name in names}


def as_float(value: Any) -> jax.Array:
    value = jnp.asarray(value)
    if is_complex(value.dtype):
        raise TypeError(
            f"the loss and all other values of a task must be real, got {value.dtype}. Take "
            f"jnp.abs or the real part."
        )
    return value.astype(float)


def check_task(task: Task) -> Task:
    if not isinstance(task, Task):
        fix = "Make one of any function: fnet.task(function)."
        if isinstance(task, Layer):
            fix = "Wrap it: fnet.supervised(net, loss)."
        shown = repr(task) if isinstance(task, Layer) else describe(task)
        raise TypeError(f"`task` must be a task, got {shown}. {fix}")
    return task
