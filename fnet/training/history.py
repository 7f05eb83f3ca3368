"""The history of a run: a dict of arrays, which a notebook shows as a table."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from ..core.tables import Table

SHOWN = 10  # epochs in a table; of more the first and the last


class History(dict[str, Any]):
    """Loss and metrics of each epoch by name, and under "record" those of single steps.

    It is a dict in all but its looks in a notebook, and as a pytree too: the names are sorted.
    """

    def _repr_html_(self) -> str:
        series = {name: values for name, values in self.items() if name != "record"}
        return Table.of(rows(series), right=len(series))._repr_html_()


def rows(series: dict[str, Any]) -> Iterable[list[str]]:
    """The epochs, one a row; of many members their mean."""
    columns = {name: np.asarray(values) for name, values in series.items()}
    members = {len(values) for values in columns.values() if values.ndim > 1}
    header = f"mean of {members.pop()}" if members else "epoch"
    yield [header, *columns]
    means = [values.reshape(-1, values.shape[-1]).mean(0) for values in columns.values()]
    epochs = len(means[0]) if means else 0
    for epoch in range(epochs):
        if epochs <= SHOWN or epoch < SHOWN // 2 or epoch >= epochs - SHOWN // 2:
            yield [f"{epoch + 1}", *(f"{values[epoch]:.4g}" for values in means)]
        elif epoch == SHOWN // 2:
            yield ["...", *("" for _ in means)]


def with_keys(history: History) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
    names = tuple(sorted(history))
    return [(jax.tree_util.DictKey(name), history[name]) for name in names], names


def from_parts(names: tuple[str, ...], values: Iterable[Any]) -> History:
    return History(zip(names, values, strict=True))


jax.tree_util.register_pytree_with_keys(History, with_keys, from_parts)
