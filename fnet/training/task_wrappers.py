"""Tasks made of tasks: a penalty on the parameters, and a search for flat minima."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from ..core.trees import Tree, by_path, global_norm
from ..core.values import by_value, describe, name_of
from ..layers.base import Layer
from ..losses.statistics import mean_over_samples
from .task import Batch, Task, Values, check_task


@dataclass(frozen=True)
class TaskWrapper(Task):
    """A task around another; the same task unless a method says otherwise."""

    task: Task

    @property
    def independent(self) -> bool:  # type: ignore[override]
        return self.task.independent

    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        return self.task.loss(params, model_state, batch, key)

    def evaluate(self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> Values:
        return self.task.evaluate(params, model_state, batch, key)

    def check_data(self, argument: str, data: Any) -> Batch:
        return self.task.check_data(argument, data)

    def check_values(self, argument: str, params: Tree, model_state: Tree, batch: Batch) -> None:
        self.task.check_values(argument, params, model_state, batch)

    def map_layers(self, wrap: Callable[[Layer], Layer]) -> Task:
        return replace(self, task=self.task.map_layers(wrap))


def penalized(task: Task, penalty: Callable[[Tree], jax.Array]) -> Task:
    """The task whose loss is that of another plus a penalty on the parameters, as in Keras.

    Args:
        task: any task.
        penalty: `penalty(params) -> ()`, such as `l2(1e-4)`. It counts at inference too.

    Raises:
        TypeError: `task` is not a task, or `penalty` is not a function.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> params = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.zeros(1)}
        >>> data = jnp.ones((4, 1)), jnp.ones((4, 1))
        >>> fnet.evaluate(fnet.penalized(task, fnet.l2(0.1)), params, data)["loss"].__round__(4)
        1.4

    Source: Krogh and Hertz 1991, A Simple Weight Decay Can Improve Generalization.
    """
    return Penalized(check_task(task), by_value(penalty, "penalty"))


@dataclass(frozen=True, repr=False)
class Penalized(TaskWrapper):
    """See `penalized`."""

    penalty: Callable[[Tree], jax.Array]

    def __repr__(self) -> str:
        return f"penalized({self.task!r}, {name_of(self.penalty)})"

    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        values, model_state = self.task.loss(params, model_state, batch, key)
        return self.penalize(values, params), model_state

    def evaluate(self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array) -> Values:
        return self.penalize(self.task.evaluate(params, model_state, batch, key), params)

    def penalize(self, values: Values, params: Tree) -> Values:
        return values | {"loss": values["loss"] + self.penalty(params)}


def is_kernel(path: str) -> bool:
    return path.endswith("kernel")


@dataclass(frozen=True)
class Norm:
    """What `l1` and `l2` share: the parameters that they measure."""

    scale: float
    where: Callable[[str], bool] = is_kernel

    def __post_init__(self) -> None:
        name = type(self).__name__
        if isinstance(self.scale, bool) or not isinstance(self.scale, (int, float)):
            raise TypeError(
                f"`scale` of {name} must be a number, got {describe(self.scale)}. "
                f"Write {name}(1e-4)."
            )
        if not 0 <= self.scale < float("inf"):
            raise ValueError(
                f"`scale` of {name} must be in [0, inf), got {self.scale}. Write {name}(1e-4)."
            )
        object.__setattr__(self, "where", by_value(self.where, "where"))

    def measured(self, params: Tree) -> list[jax.Array]:
        """The chosen parameters, in at least float32."""
        leaves = by_path(params)
        chosen = [leaf.astype(float) for path, leaf in leaves.items() if self.where(path)]
        if not chosen:
            raise ValueError(
                f"`where` of {type(self).__name__} must choose some parameters, got none of "
                f"{[*leaves]}. By default these are kernels: write where=lambda path: True for all."
            )
        return chosen


@dataclass(frozen=True)
class l1(Norm):
    r"""The penalty on the absolute values of some parameters, which drives them to 0.

    .. math:: \lambda \sum |w|

    with `scale` :math:`\lambda`.

    Args:
        scale: a number of at least 0.
        where: whether a parameter counts, by its path such as `"dense_1/kernel"`; by default if
            its name ends with "kernel".

    Raises:
        ValueError: `scale` is negative; (from a call) no parameter counts.
        TypeError: `scale` is not a number, or `where` is not a function.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> params = {"dense": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.ones(2)}}
        >>> fnet.l1(0.5)(params)
        Array(1.5, dtype=float32)

    Source: Tibshirani 1996, Regression Shrinkage and Selection via the Lasso.
    """

    def __call__(self, params: Tree) -> jax.Array:
        total = sum((jnp.abs(w).sum() for w in self.measured(params)), jnp.zeros(()))
        return self.scale * total


@dataclass(frozen=True)
class l2(Norm):
    r"""The penalty on the squares of some parameters.

    .. math:: \lambda \sum w^2

    with `scale` :math:`\lambda`.

    Args:
        scale: a number of at least 0. There is no factor 1/2, as in Keras.
        where: whether a parameter counts, by its path such as `"dense_1/kernel"`; by default if
            its name ends with "kernel".

    Raises:
        ValueError: `scale` is negative; (from a call) no parameter counts.
        TypeError: `scale` is not a number, or `where` is not a function.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> params = {"dense": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.ones(2)}}
        >>> fnet.l2(0.5)(params)
        Array(2.5, dtype=float32)

    Source: Hoerl and Kennard 1970, Ridge Regression.
    """

    def __call__(self, params: Tree) -> jax.Array:
        total = sum((jnp.square(w).sum() for w in self.measured(params)), jnp.zeros(()))
        return self.scale * total


def sharpness_aware(task: Task, rho: float = 0.05) -> Task:
    r"""The task of a flat minimum: its gradient is taken a little uphill from the parameters.

    .. math:: p + \rho g / \|g\|

    :math:`g` is the gradient of the task at the parameters :math:`p`, over the same batch with the
    same key. A step costs two gradients. The loss and metrics of training, and the model state, are
    those at the point that is `rho` away; evaluation is that of the task.

    Args:
        task: any task.
        rho: how far to look, a number of at least 0.

    Raises:
        ValueError: `rho` is negative or not finite.
        TypeError: `task` is not a task, or `rho` is not a number.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> def narrow_and_wide(params, batch, key):
        ...     return params["x"] ** 2
        >>> task = fnet.sharpness_aware(fnet.task(narrow_and_wide), rho=0.5)
        >>> step = fnet.train_step(task)
        >>> state = fnet.TrainState.create({"x": 1.0}, fnet.sgd(0.1), jax.random.key(0))
        >>> step(state, None)[0].params["x"].round(4)  # 1 - 0.1 * 2 * (1 + 0.5)
        Array(0.7, dtype=float32)

    Source: Foret et al. 2021, Sharpness-Aware Minimization, algorithm 1 (with the 2-norm).
    """
    if isinstance(rho, bool) or not isinstance(rho, (int, float)):
        raise TypeError(f"`rho` must be a number, got {describe(rho)}. Write rho=0.05.")
    if not 0 <= rho < float("inf"):
        raise ValueError(f"`rho` must be in [0, inf), got {rho}. Write rho=0.05.")
    return SharpnessAware(check_task(task), float(rho))


@dataclass(frozen=True, repr=False)
class SharpnessAware(TaskWrapper):
    """See `sharpness_aware`."""

    rho: float

    def __repr__(self) -> str:
        return f"sharpness_aware({self.task!r}, {self.rho})"

    def loss(
        self, params: Tree, model_state: Tree, batch: Batch, key: jax.Array
    ) -> tuple[Values, Tree]:
        def mean_loss(params: Tree) -> jax.Array:
            values, _ = self.task.loss(params, model_state, batch, key)
            return mean_over_samples(values["loss"])

        gradient = jax.grad(mean_loss)(params)
        norm = global_norm(gradient)
        scale = jnp.where(norm > 0, self.rho / jnp.where(norm > 0, norm, 1), 0)

        def ascend(param: jax.Array, slope: jax.Array) -> jax.Array:
            return param + jax.lax.stop_gradient(scale * slope).astype(param.dtype)

        return self.task.loss(jax.tree.map(ascend, params, gradient), model_state, batch, key)
