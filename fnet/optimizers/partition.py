"""Another optimizer for each part of the parameters."""

from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..core.trees import Tree, by_path
from ..core.values import by_value, describe
from .base import Objective, Optimizer, is_elementwise
from .by_name import as_optimizer
from .hyperparameters import Number, pytree, static


class PartitionedState(NamedTuple):
    step: jax.Array  # ()
    inner: dict[str, Any]  # the state of each part's optimizer; a frozen part has none


@pytree
class partitioned(Optimizer):
    """Another optimizer for each part of the parameters.

    Each optimizer sees the parameters of its part alone: a `clipped` within has the norm of the
    part, one around `partitioned` has that of all gradients. The rate that a run records is that of
    the one part that trains, and NaN where several do.

    Args:
        optimizers: from the name of a part to its optimizer, or the name of one; None freezes the
            part, for which no state is kept.
        by: `by(path, leaf) -> name`, the part of each parameter, from a path such as
            `"encoder/dense/kernel"` and the array. By default the first name of the path.

    Raises:
        ValueError: there is no part, or the name of an optimizer is unknown.
        TypeError: `optimizers` is not a dict of optimizers by name; (from `init` and `update`)
            a parameter belongs to no part, a part has no parameter, or the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.partitioned({"trunk": None, "head": fnet.sgd(1.0)})
        >>> params = {"trunk": jnp.array([5.0]), "head": jnp.array([5.0])}
        >>> optimizer.update(params, optimizer.init(params), params)[0]
        {'head': Array([0.], dtype=float32), 'trunk': Array([5.], dtype=float32)}

        Kernels of two or more axes by Muon, all else by Adam:

        >>> def part(path, leaf):
        ...     return "matrices" if leaf.ndim > 1 else "others"
        >>> optimizer = fnet.partitioned({"matrices": "muon", "others": "adam"}, by=part)
    """

    optimizers: Any = field(metadata={"check": lambda what, value, fix: checked_parts(value)})
    by: Callable[[str, Any], str] | None = static(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by is not None:
            object.__setattr__(self, "by", by_value(self.by, "by"))

    @property
    def trained(self) -> dict[str, Optimizer]:
        return {part: o for part, o in self.optimizers.items() if o is not None}

    @property
    def elementwise(self) -> bool:
        return all(map(is_elementwise, self.trained.values()))

    def init(self, params: Tree) -> PartitionedState:
        names = self.parts(params)
        inner = {part: o.init(only(part, names, params)) for part, o in self.trained.items()}
        return PartitionedState(jnp.zeros((), jnp.int32), inner)

    def learning_rate_at(self, step: jax.Array) -> Number:
        rates = [optimizer.learning_rate_at(step) for optimizer in self.trained.values()]
        return rates[0] if len(rates) == 1 else jnp.nan

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        self.check_type(opt_state, PartitionedState)
        self.check_trees(params, grads=grads)
        if opt_state.inner.keys() != self.trained.keys():
            raise TypeError(
                f"partitioned: `opt_state` must hold a state for each part that trains, "
                f"{sorted(self.trained)}, got {sorted(opt_state.inner)}. "
                f"Make it with optimizer.init(params)."
            )
        names, inner = self.parts(params), {}
        moved = params
        for part, optimizer in self.trained.items():
            own, inner[part] = optimizer.update(
                only(part, names, grads),
                opt_state.inner[part],
                only(part, names, params),
                objective and objective.within(partial(replaced, params, part, names)),
            )
            moved = replaced(moved, part, names, own)
        return moved, PartitionedState(opt_state.step + 1, inner)

    def parts(self, params: Tree) -> list[str]:
        """The part of each parameter."""
        by = self.by or first_name
        names = {path: by(path, leaf) for path, leaf in by_path(params).items()}
        for path, name in names.items():
            if name not in self.optimizers:
                raise TypeError(
                    f"partitioned: each parameter must belong to one of the parts "
                    f"{sorted(self.optimizers)}, got {name!r} for {path!r}. "
                    f"Give that part an optimizer, or None to freeze it."
                )
        empty = self.optimizers.keys() - set(names.values())
        if empty:
            raise TypeError(
                f"partitioned: each part must have a parameter, got none for {sorted(empty)}; the "
                f"parameters belong to {sorted(set(names.values()))}. Rename or drop the part."
            )
        return list(names.values())


def first_name(path: str, leaf: Any) -> str:
    return path.partition("/")[0]


def only(part: str, names: list[str], tree: Tree) -> Tree:
    """The tree with None, which has no leaves, in place of the other parts."""
    leaves, structure = jax.tree.flatten(tree)
    kept = [leaf if name == part else None for leaf, name in zip(leaves, names, strict=True)]
    return jax.tree.unflatten(structure, kept)


def replaced(tree: Tree, part: str, names: list[str], own: Tree) -> Tree:
    """The tree with other leaves in this part."""
    leaves, structure = jax.tree.flatten(tree)
    new = iter(jax.tree.leaves(own))
    kept = [next(new) if name == part else leaf for leaf, name in zip(leaves, names, strict=True)]
    return jax.tree.unflatten(structure, kept)


def checked_parts(optimizers: Any) -> dict[str, Optimizer | None]:
    if not isinstance(optimizers, dict) or not all(isinstance(part, str) for part in optimizers):
        raise TypeError(
            f"`optimizers` of partitioned must be a dict from the name of a part to its optimizer, "
            f"got {describe(optimizers)}. "
            f'Write {{"encoder": fnet.adam(1e-4), "head": fnet.sgd(0.1)}}.'
        )
    if not optimizers:
        raise ValueError(
            "`optimizers` of partitioned must have at least one part, got none. "
            'Write {"encoder": fnet.adam(1e-4), "head": fnet.sgd(0.1)}.'
        )
    return {part: o if o is None else as_optimizer(o) for part, o in sorted(optimizers.items())}
