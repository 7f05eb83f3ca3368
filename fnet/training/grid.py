"""Sweeps: every combination of hyperparameters and seeds, as one state with many members."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.tables import Table
from ..core.values import describe
from ..layers.base import Layer
from ..optimizers.base import Optimizer
from ..optimizers.partition import partitioned
from ..optimizers.wrappers import Wrapper
from .state import TrainState, check_state, train_state


@dataclass(frozen=True, eq=False)
class Grid:
    """The members of a sweep: the product of the axes, the last axis changing fastest.

    Attributes:
        axes: the values of each hyperparameter, and of the seed, in the order they were given.
    """

    axes: dict[str, np.ndarray]

    def __len__(self) -> int:
        return int(np.prod([len(values) for values in self.axes.values()]))

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """The value of each member on each axis, `(members,)`."""
        product = np.meshgrid(*self.axes.values(), indexing="ij")
        return {name: values.ravel() for name, values in zip(self.axes, product, strict=True)}

    def states(
        self,
        net: Layer | Callable[[jax.Array], TrainState],
        optimizer: Optimizer | str | None = None,
        in_shape: Any = None,
    ) -> TrainState:
        """The start of every member, for `train_many`: `train_state` with the member's key.

        Args:
            net: the model of all of them. For parameters from anywhere, without the other
                arguments: a function `key -> TrainState`, such as one around `TrainState.create`.
            optimizer: an optimizer or its name; it gives the hyperparameters that are not an axis.
            in_shape: the shape of one sample, without the batch axis.

        Returns:
            A TrainState with the members in front. A member's key is `jax.random.key(seed)`; the
            seed is 0 if it is not an axis.

        Raises:
            ValueError: an axis is not a hyperparameter of the optimizer, or a value is out of
                range.
            TypeError: as `train_state`; or the function does not return a TrainState.

        Example:
            >>> import jax, fnet
            >>> def start(key):
            ...     return fnet.TrainState.create({"w": jax.random.normal(key)}, fnet.sgd(), key)
            >>> states = fnet.grid(learning_rate=[0.1, 0.2], seed=range(3)).states(start)
            >>> states.params["w"].shape
            (6,)
        """
        labels = self.labels
        seeds = labels.pop("seed", np.zeros(len(self), int))
        if optimizer is None and isinstance(net, Layer):
            raise TypeError(
                f"`optimizer` must come with a model, got none with {net!r}. "
                f'Write grid.states(net, "adam", in_shape).'
            )
        model: Any = net
        create = model if optimizer is None else partial(created, model, optimizer, in_shape)
        known = check_state(jax.eval_shape(lambda: create(jax.random.key(0)))).optimizer
        for name in labels:
            if name not in hyperparameters(known):
                raise ValueError(
                    f"`{name}` must be a hyperparameter of {type(known).__name__}, got an axis "
                    f"beside {', '.join(hyperparameters(known))}. Rename it, or take another "
                    f"optimizer."
                )
        states = jax.vmap(create)(jax.vmap(jax.random.key)(seeds))
        swept = with_hyperparameters(states.optimizer, labels)
        swept = jax.tree.map(jnp.asarray, swept)
        opt_state = jax.vmap(lambda optimizer, params: optimizer.init(params))(swept, states.params)
        return replace(states, optimizer=swept, opt_state=opt_state)

    def over_seeds(self, values: Any) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
        """Summarise every combination over its seeds: its labels, mean and spread.

        Args:
            values: `(members,)`, such as the last epoch of an entry of the history.

        Returns:
            For each combination its labels, the mean of the values over the seeds, and their
            standard deviation (that of a sample: over n - 1; NaN for a single seed).

        Raises:
            ValueError: there is not one value for each member.
        """
        values = np.asarray(values, float)
        if values.shape != (len(self),):
            raise ValueError(
                f"`values` must be one a member, shape ({len(self)},), got {values.shape}. "
                f"Take an epoch: history['loss'][:, -1]."
            )
        others = {name: axis for name, axis in self.axes.items() if name != "seed"}
        values = values.reshape([len(axis) for axis in self.axes.values()])
        if "seed" in self.axes:
            values = np.moveaxis(values, list(self.axes).index("seed"), -1)
        values = values.reshape(int(np.prod([len(axis) for axis in others.values()])), -1)
        labels = Grid(others).labels if others else {}
        rows = [{name: label[i] for name, label in labels.items()} for i in range(len(values))]
        spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else np.full(len(values), np.nan)
        return rows, values.mean(axis=1), spread

    def table(self, history: Mapping[str, Any]) -> Table:
        """The last epoch of every combination as a table: mean and spread over the seeds.

        Args:
            history: what `train_many` gave for these members.

        Returns:
            The table as text; a notebook shows it as a table.

        Raises:
            ValueError: the history is of other members.
        """
        rows: list[dict[str, Any]] = []
        columns = []
        for name, values in history.items():
            if name == "record":
                continue
            rows, means, spreads = self.over_seeds(np.asarray(values)[:, -1])
            texts = [
                f"{mean:.4f}" + (f" ± {spread:.4f}" if np.isfinite(spread) else "")
                for mean, spread in zip(means, spreads, strict=True)
            ]
            columns.append([name, *texts])
        labels = [[name, *(f"{row[name]:g}" for row in rows)] for name in (rows or [{}])[0]]
        return Table.of(zip(*labels, *columns, strict=True))


def grid(**axes: Sequence[float] | np.ndarray | Mapping[str, Any]) -> Grid:
    """Every combination of the values of some hyperparameters, and of seeds.

    Args:
        axes: a list of numbers for each hyperparameter of the optimizer, by its name; the axis
            `seed` takes integers, and repeats each combination with another start and order. For a
            part of a `partitioned`, a dict of such lists: `head={"learning_rate": [0.1, 0.2]}` is
            the axis "head/learning_rate".

    Returns:
        A Grid: `len(grid)` members, their `labels`, their `states`, and the `table` of their
        results.

    Raises:
        ValueError: there is no axis, an axis is empty, or seeds are not integers.
        TypeError: an axis is not a list of numbers.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> grid = fnet.grid(learning_rate=[0.01, 0.1], rho=[0.9], seed=[0, 1, 2])
        >>> len(grid), grid.labels["seed"].tolist()
        (6, [0, 1, 2, 0, 1, 2])
        >>> net = fnet.dense(1)
        >>> states = grid.states(net, "rmsprop", (1,))
        >>> x = jnp.linspace(-1, 1, 100).reshape(100, 1)
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> states, history = fnet.train_many(task, states, (x, 3 * x), epochs=20, batch_size=20)
        >>> print(grid.table(history))  # doctest: +ELLIPSIS
        learning_rate   rho   loss
        0.01            0.9   ... ± ...
        0.1             0.9   0.0... ± 0.0...
    """
    named = flat(axes)
    if not named:
        raise ValueError(
            "`axes` of grid must be at least one, got none. Write grid(learning_rate=[1e-3, 1e-2])."
        )
    return Grid({name: check_axis(name, values) for name, values in named.items()})


def created(net: Layer, optimizer: Any, in_shape: Any, key: jax.Array) -> TrainState:
    return train_state(net, optimizer, key, in_shape)


def hyperparameters(optimizer: Optimizer) -> list[str]:
    """The names of an optimizer's numbers, with those within a wrapper, or a part, "part/name"."""
    if isinstance(optimizer, partitioned):
        inner = {part: hyperparameters(own) for part, own in optimizer.trained.items()}
        return [f"{part}/{name}" for part, names in inner.items() for name in names]
    names = [f.name for f in fields(optimizer) if not f.metadata.get("static")]
    if isinstance(optimizer, Wrapper):
        return names[1:] + hyperparameters(optimizer.optimizer)
    return names


def with_hyperparameters(optimizer: Optimizer, numbers: Mapping[str, Any]) -> Optimizer:
    """The optimizer with other numbers: a wrapper's own, and the rest in what it wraps."""
    if isinstance(optimizer, partitioned):
        parts = dict(optimizer.optimizers)
        for part, inner in optimizer.trained.items():
            rest = {n.removeprefix(f"{part}/"): numbers[n] for n in numbers if of_part(n, part)}
            parts[part] = with_hyperparameters(inner, rest)
        return replace(optimizer, optimizers=parts)
    own = {name: numbers[name] for f in fields(optimizer) if (name := f.name) in numbers}
    if isinstance(optimizer, Wrapper):
        rest = {name: numbers[name] for name in numbers if name not in own}
        own["optimizer"] = with_hyperparameters(optimizer.optimizer, rest)
    return replace(optimizer, **own)


def of_part(name: str, part: str) -> bool:
    return name.startswith(f"{part}/")


def flat(axes: Mapping[str, Any]) -> dict[str, Any]:
    """The axes by name; those of a part of a `partitioned` are named "part/name"."""
    found: dict[str, Any] = {}
    for name, values in axes.items():
        if isinstance(values, Mapping):
            found |= {f"{name}/{own}": inner for own, inner in flat(values).items()}
        else:
            found[name] = values
    return found


def check_axis(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise TypeError(
            f"`{name}` of grid must be a list of numbers, got {describe(values)}. "
            f"Write {name}=[...]; what is the same for all goes into the optimizer."
        )
    if not len(array):
        raise ValueError(f"`{name}` of grid must have at least one value, got none. Drop the axis.")
    if name == "seed" and array.dtype.kind == "f":
        raise ValueError(f"`seed` of grid must be integers, got {values}. Write seed=range(3).")
    return array
