"""Metrics that are no means over samples, such as precision: functions of such means."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax

from ..core.trees import Tree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Statistic:
    """A function of means over samples: a metric that is no such mean itself.

    Attributes:
        samples: a tree of what is averaged, `(batch, ...)` each.
        finish: `finish(means) -> ()`, of the tree of its means over the batch axis. It compares by
            value if it is defined at the top of a module.

    Return one under its name from a task of your own, or from a metric `(y_true, y_pred)`. Runs
    average `samples` over the epoch, ragged batches and devices included, and finish once.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> def root(means):
        ...     return jnp.sqrt(means)
        >>> def root_mean_squared_error(y_true, y_pred):
        ...     return fnet.Statistic(fnet.mean_squared_error(y_true, y_pred), root)
        >>> root_mean_squared_error(jnp.zeros((2, 1)), jnp.array([[1.0], [7.0]])).value
        Array(5., dtype=float32)
    """

    samples: Tree
    finish: Callable[[Any], jax.Array] = field(metadata={"static": True})

    @property
    def value(self) -> jax.Array:
        """The metric over these samples."""
        return self.finish(mean_over_samples(self.samples))


def mean_over_samples(values: Tree) -> Tree:
    """The means over the batch axis; a scalar is the mean of its batch already."""
    return jax.tree.map(lambda value: value.mean(0) if value.ndim else value, values)


def finished(means: dict[str, Any]) -> dict[str, Any]:
    """The logs of these means: a statistic becomes its value."""
    return {
        name: mean.finish(mean.samples) if isinstance(mean, Statistic) else mean
        for name, mean in means.items()
    }
