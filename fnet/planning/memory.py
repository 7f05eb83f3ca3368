"""What a run holds in the memory of a device."""

import math
import re
from dataclasses import dataclass
from typing import Any

import jax

from ..core.trees import Tree
from .compiled import Figures
from .targets import Target


@dataclass(frozen=True)
class Memory:
    """Bytes that a run holds on a device.

    Attributes:
        params, opt_state: the parameters, and what the optimizer keeps of them.
        data: the samples, those of validation too.
        arguments: all of these, other state, and what their layouts add.
        outputs: the state after the run, and the history; the state before it stays valid.
        temporaries: what a step needs besides, None where the compiler does not say.
        capacity: of a device, None where it is not known.
    """

    params: int
    opt_state: int
    data: int
    arguments: int
    outputs: int
    temporaries: int | None
    capacity: int | None

    @property
    def peak(self) -> int:
        """All of it together, while `train` runs."""
        return self.arguments + self.outputs + (self.temporaries or 0)

    @property
    def peak_of_fit(self) -> int:
        """The same for `fit`, which also keeps the state that it was given."""
        return self.peak + self.outputs


def memory_of(
    where: Target, arguments: tuple[Any, ...], figures: Figures | None, problem: str | None
) -> Memory:
    """What a device holds: as the compiler says, or else as the shapes do."""
    state, data, validation = arguments
    whole, samples = size_of(state), size_of((data, validation))
    return Memory(
        params=size_of(state.params),
        opt_state=size_of(state.opt_state),
        data=samples,
        arguments=figures.arguments if figures else whole + samples,
        outputs=figures.outputs - figures.aliased if figures else whole,
        temporaries=figures.temporaries if figures else needed(problem or ""),
        capacity=where.chip.memory,
    )


def needed(problem: str) -> int | None:
    """The bytes of temporaries in the words of a TPU's compiler.

    >>> needed("... required for HLO temporaries (18.5G) exceeds available HBM (15.75G).")
    19864223744
    """
    found = re.search(r"temporaries \(([\d.]+)([KMGT])\)", problem)
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1)) if found else None


def size_of(tree: Tree) -> int:
    """The bytes of arrays on one of the devices that they lie on."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape)
        * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
