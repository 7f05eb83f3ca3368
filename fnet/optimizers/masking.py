"""Masks, which choose parameters by their paths, and the wrapper that freezes the others."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..core.trees import Tree, by_path
from ..core.values import by_value, describe
from .base import Objective, difference
from .hyperparameters import pytree, static
from .wrappers import Wrapper


@dataclass(frozen=True)
class Choices:
    """A hashable mask: the path of each leaf, and whether it is chosen."""

    leaves: tuple[tuple[str, bool], ...]


@pytree
class masked(Wrapper):
    """Trains some parameters and freezes the others, for which it keeps no state.

    Args:
        optimizer: the optimizer of the trained parameters, or its name.
        mask: a tree of booleans like the parameters, True where they are trained; one boolean may
            stand for a whole layer. Or a function from a path such as `"dense_1/kernel"` to a
            boolean. A new mask recompiles.

    Raises:
        ValueError: the name is unknown.
        TypeError: `optimizer` is not an optimizer, or a leaf of `mask` is not a boolean; (from
            `init` and `update`) the tree structures differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.masked(fnet.sgd(1.0), {"dense": False, "dense_1": True})
        >>> params = {name: {"kernel": jnp.ones((1, 1))} for name in ("dense", "dense_1")}
        >>> params, _ = optimizer.update(params, optimizer.init(params), params)
        >>> params["dense"]["kernel"].item(), params["dense_1"]["kernel"].item()
        (1.0, 0.0)
    """

    mask: Any = static()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mask", checked_mask("masked", self.mask))

    def init(self, params: Tree) -> Any:
        return self.optimizer.init(self.trained(params, params))

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        self.check_trees(params, grads=grads)

        def whole(own: Tree) -> Tree:
            return jax.tree.map(
                lambda new, old: old if new is None else new, own, params, is_leaf=is_none
            )

        moved, opt_state = self.optimizer.update(
            self.trained(grads, params),
            opt_state,
            self.trained(params, params),
            objective and objective.within(whole),
        )
        return whole(moved), opt_state

    def trained(self, tree: Tree, params: Tree) -> Tree:
        """The tree with None, which has no leaves, in place of frozen parameters."""
        leaves, structure = jax.tree.flatten(tree)
        keeps = chosen("masked", self.mask, params)
        kept = zip(leaves, keeps, strict=True)
        return jax.tree.unflatten(structure, [leaf if keep else None for leaf, keep in kept])


def is_none(leaf: Any) -> bool:
    return leaf is None


def checked_mask(wrapper: str, mask: Any) -> Any:
    """The mask of this wrapper as a hashable value."""
    if callable(mask):
        return by_value(mask, "mask")
    if isinstance(mask, Choices):
        return mask
    leaves = by_path(mask)
    for path, keep in leaves.items():
        if not isinstance(keep, (bool, np.bool_)):
            raise TypeError(
                f"`mask` of {wrapper} must be a tree of booleans or a function of a path, got "
                f"{describe(keep)} at {path!r}. Write True for parameters to choose."
            )
    return Choices(tuple((path, bool(keep)) for path, keep in leaves.items()))


def chosen(wrapper: str, mask: Any, params: Tree) -> list[bool]:
    """Whether the mask of this wrapper chooses each of the parameters."""
    names = list(by_path(params))
    if not isinstance(mask, Choices):
        return [bool(mask(name)) for name in names]
    found = {
        name: (path, keep)
        for path, keep in mask.leaves
        for name in names
        if not path or f"{name}/".startswith(f"{path}/")
    }
    unused = {path for path, _ in mask.leaves} - {path for path, _ in found.values()}
    missing = set(names) - set(found)
    if unused or missing:
        raise TypeError(
            f"{wrapper}: `mask` must match `params`, or have a boolean for a whole layer, "
            f"{difference(unused, missing)}. "
            f"Make it from the parameters: jax.tree.map(lambda p: True, params)."
        )
    return [found[name][1] for name in names]
