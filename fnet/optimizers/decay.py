"""Weight decay that leaves biases and normalizations out."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from ..core.dtypes import at_least_float32
from ..core.trees import Tree
from .base import Objective
from .hyperparameters import Number, pytree, static
from .masking import checked_mask, chosen
from .wrappers import Wrapper


def kernels(path: str) -> bool:
    """Whether a path such as `"dense_1/kernel"` is that of a kernel."""
    return path.rpartition("/")[2].endswith("kernel")


@pytree
class decayed(Wrapper):
    r"""Decoupled weight decay of kernels alone.

    .. math:: p \leftarrow u(p) - \eta \lambda p

    with the optimizer's update :math:`u`, its learning rate :math:`\eta` and weight decay
    :math:`\lambda`. Around `adam` it is `adamw`, but biases, scales, offsets and embeddings do not
    decay. Around `accumulated` it would shrink the kernels at every step: write
    `accumulated(decayed(...))`.

    Args:
        optimizer: the optimizer to wrap, or its name. Its learning rate must be known.
        weight_decay: each update shrinks :math:`p` by this times the learning rate.
        mask: which parameters decay: a function from a path to a boolean, or a tree of booleans, as
            for `masked`. By default those whose name ends in "kernel".

    Raises:
        ValueError: `weight_decay` is out of range, or the name is unknown.
        TypeError: `optimizer` is not an optimizer or has no one learning rate; a leaf of `mask` is
            not a boolean; (from `init` and `update`) no parameter decays, or the tree structures
            differ.

    Example:
        >>> import jax.numpy as jnp, fnet
        >>> optimizer = fnet.decayed(fnet.adam(0.1), 0.5)
        >>> params = {"kernel": jnp.array([1.0]), "bias": jnp.array([1.0])}
        >>> params, _ = optimizer.update(params, optimizer.init(params), params)
        >>> round(params["kernel"].item(), 4), round(params["bias"].item(), 4)
        (0.85, 0.9)

    Source: Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization, section 2; for biases
    and normalizations, He et al. 2019, Bag of Tricks for Image Classification, section 3.1.
    """

    weight_decay: Number = 1e-4
    mask: Any = static(default=kernels)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mask", checked_mask("decayed", self.mask))

    def init(self, params: Tree) -> Any:
        self.decays(params)
        return self.optimizer.init(params)

    def update(
        self, grads: Tree, opt_state: Any, params: Tree, objective: Objective | None = None
    ) -> tuple[Tree, Any]:
        rate = self.learning_rate_at(opt_state.step)
        if isinstance(rate, float) and math.isnan(rate):
            name = type(self.optimizer).__name__
            raise TypeError(
                f"decayed: `optimizer` must have one learning rate that is known, got {name}. Let "
                f"the transformation decay the weights, or wrap each optimizer within."
            )
        moved, opt_state = self.optimizer.update(grads, opt_state, params, objective)

        def shrunk(new: jax.Array, old: jax.Array, decays: bool) -> jax.Array:
            if not decays:
                return new
            wide = at_least_float32(new)
            share = jnp.asarray(rate, wide.dtype) * jnp.asarray(self.weight_decay, wide.dtype)
            return (wide - share * old.astype(wide.dtype)).astype(new.dtype)

        return jax.tree.map(shrunk, moved, params, self.decays(params)), opt_state

    def decays(self, params: Tree) -> Tree:
        """A tree of booleans: which parameters decay."""
        decays = chosen("decayed", self.mask, params)
        if not any(decays):
            raise TypeError(
                "decayed: `mask` must choose a parameter, got none. "
                'Name those that decay: mask=lambda path: path.endswith("w").'
            )
        return jax.tree.unflatten(jax.tree.structure(params), decays)
