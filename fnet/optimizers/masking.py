"""Freezing parameters: an optimizer that sees only some of them."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..core.trees import Tree, by_path
from ..core.values import by_value, describe
from .base import difference
from .hyperparameters import pytree, static
from .wrappers import Wrapper


@dataclass(frozen=True)
class Choices:
    """A mask as a value: the paths of its leaves, each with whether to train what is there."""

    trained: tuple[tuple[str, bool], ...]


@pytree
class masked(Wrapper):
    """Trains some of the parameters; the others are frozen, and nothing is remembered of them.

    Args:
        optimizer: what moves the parameters that are trained; an optimizer, or its name.
        mask: a tree of booleans like the parameters, True where they are trained, in which one
            boolean may stand for a whole layer; or a function of a parameter's path, such as
            `"dense_1/kernel"`. Another mask is another program.

    Raises:
        ValueError: an unknown name.
        TypeError: an `optimizer` that is none, a leaf of `mask` that is no boolean; later, a mask
            of another tree.

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
        if callable(self.mask):
            mask: Any = by_value(self.mask, "mask")
        else:
            mask = self.mask if isinstance(self.mask, Choices) else choices(self.mask)
        object.__setattr__(self, "mask", mask)

    def init(self, params: Tree) -> Any:
        return self.optimizer.init(self.trained(params, params))

    def update(self, grads: Tree, opt_state: Any, params: Tree) -> tuple[Tree, Any]:
        self.check_trees(params, grads=grads)
        moved, opt_state = self.optimizer.update(
            self.trained(grads, params), opt_state, self.trained(params, params)
        )
        params = jax.tree.map(
            lambda new, old: old if new is None else new, moved, params, is_leaf=lambda a: a is None
        )
        return params, opt_state

    def trained(self, tree: Tree, params: Tree) -> Tree:
        """The tree with None, which is a tree without leaves, in place of what is frozen."""
        leaves, structure = jax.tree.flatten(tree)
        kept = zip(leaves, self.chosen(list(by_path(params))), strict=True)
        return jax.tree.unflatten(structure, [leaf if keep else None for leaf, keep in kept])

    def chosen(self, names: list[str]) -> list[bool]:
        """Whether to train the parameters of these paths."""
        if not isinstance(self.mask, Choices):
            return [bool(self.mask(name)) for name in names]
        found = {
            name: (path, keep)
            for path, keep in self.mask.trained
            for name in names
            if not path or f"{name}/".startswith(f"{path}/")
        }
        unused = {path for path, _ in self.mask.trained} - {path for path, _ in found.values()}
        missing = set(names) - set(found)
        if unused or missing:
            raise TypeError(
                f"masked: `mask` must match `params`, or have a boolean for a whole layer, "
                f"{difference(unused, missing)}. "
                f"Make it from the parameters: jax.tree.map(lambda p: True, params)."
            )
        return [found[name][1] for name in names]


def choices(mask: Tree) -> Choices:
    leaves = by_path(mask)
    for path, keep in leaves.items():
        if not isinstance(keep, (bool, np.bool_)):
            raise TypeError(
                f"`mask` of masked must be a tree of booleans or a function of a path, got "
                f"{describe(keep)} at {path!r}. Write True for what is to be trained."
            )
    return Choices(tuple((path, bool(keep)) for path, keep in leaves.items()))
