"""What the devices of a mesh send each other in a step, by the axes over which they do."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .compiled import COLLECTIVES
from .program_text import (
    Computations,
    Executed,
    Instruction,
    named,
    num_bytes,
    parse,
    parts,
    step_loop,
    steps_a_turn,
    walk,
)

ROUNDS = {"all-reduce": 2}  # times that a byte goes round a ring; once for the others


@dataclass(frozen=True)
class Exchange:
    """The exchanges of one kind over the same axes in a step.

    Attributes:
        kind: "all-reduce", "all-gather" and so on.
        axes: the axes of the mesh over which devices exchange.
        count: how many of them.
        bytes: those of the whole arrays on one device.
        sent: what a device sends at least: in a ring of n devices 2 (n - 1) / n of an
            all-reduce, (n - 1) / n of the others [Patarasuk and Yuan 2009, section 4].
    """

    kind: str
    axes: tuple[str, ...]
    count: int
    bytes: int
    sent: int


def exchanges(text: str, mesh_shape: Mapping[str, int]) -> tuple[Exchange, ...]:
    """The exchanges of a step in the text of a compiled program, the largest first."""
    computations, entry = parse(text)
    body, _ = step_loop(computations, entry)
    found: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
    for one, turns in collectives(computations, body):
        kind = one.opcode.removesuffix("-start")
        groups = groups_of(one.rest, tuple(mesh_shape.values()))
        key = kind, axes_of(groups, mesh_shape)
        whole, sent = traffic(kind, one, groups.shape[1])
        found[key] = found.get(key, 0) + turns * np.array([1, whole, sent])
    ordered = sorted(found.items(), key=lambda item: -item[1][2])
    steps = steps_a_turn(computations, body)
    return tuple(Exchange(*key, *map(int, numbers // steps)) for key, numbers in ordered)


def collectives(computations: Computations, body: str) -> list[Executed]:
    """The collectives of a step, with their turns.

    A TPU exchanges while it computes: the same one, known by its channel, stands in each of the
    fusions that it lasts, of which some may be in a loop.
    """
    alone: list[Executed] = []
    fused: dict[str, Executed] = {}
    for one, turns in walk(computations, body):
        if is_collective(one):
            alone.append(Executed(one, turns))
        elif one.opcode == "fusion":
            for each in filter(is_collective, inside(computations, one)):
                channel = named(r"channel_id=(\d+)", each.rest) or each.rest
                before = fused.get(channel, Executed(each, turns))
                fused[channel] = min(before, Executed(each, turns), key=lambda one: one.turns)
    return alone + list(fused.values())


def is_collective(one: Instruction) -> bool:
    return one.opcode.removesuffix("-start") in COLLECTIVES


def inside(computations: Computations, fusion: Instruction) -> Iterator[Instruction]:
    """The instructions of a fusion, and of the fusions in it."""
    for name in fusion.called:
        for one in computations[name]:
            yield one
            if one.opcode == "fusion":
                yield from inside(computations, one)


def groups_of(attributes: str, sizes: tuple[int, ...]) -> np.ndarray:
    """The numbers of the devices that exchange with each other, a group in each row.

    They are listed, or the rows of a transposed range, or named axes of a mesh of the compiler's:

    >>> groups_of("replica_groups={{0,2},{1,3}}", (2, 2)).tolist()
    [[0, 2], [1, 3]]
    >>> groups_of("replica_groups=[2,2]<=[2,2]T(1,0)", (2, 2)).tolist()
    [[0, 2], [1, 3]]
    >>> groups_of("replica_groups=mesh['a'=2,'b'=2] {'a'}", (2, 2)).tolist()
    [[0, 2], [1, 3]]
    """
    if found := re.search(
        r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes
    ):
        shape, sizes, order = (numbers(one) for one in found.groups(""))
        return np.arange(np.prod(sizes)).reshape(sizes).transpose(order or None).reshape(shape)
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", attributes):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        taken = [list(axes).index(name) for name in re.findall(r"'(\w+)'", found[2])]
        sizes = tuple(map(int, axes.values()))
        last = np.moveaxis(np.arange(np.prod(sizes)).reshape(sizes), taken, range(-len(taken), 0))
        return last.reshape(-1, np.prod([sizes[axis] for axis in taken], dtype=int))
    if found := re.search(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{}]+\})\}", attributes):
        return np.array([numbers(one) for one in re.findall(r"\{([\d,]+)\}", found[1])])
    return np.arange(np.prod(sizes))[None]


def numbers(listed: str) -> tuple[int, ...]:
    return tuple(map(int, filter(None, listed.split(","))))


def axes_of(groups: np.ndarray, mesh_shape: Mapping[str, int]) -> tuple[str, ...]:
    """The axes of the mesh along which the devices of a group differ.

    >>> axes_of(groups_of("replica_groups={{0,2},{1,3}}", (2, 2)), {"data": 2, "model": 2})
    ('data',)
    """
    places = np.unravel_index(groups, tuple(mesh_shape.values()))
    differ = [(place != place[:, :1]).any() for place in places]
    return tuple(name for name, different in zip(mesh_shape, differ, strict=True) if different)


def traffic(kind: str, one: Instruction, group: int) -> tuple[int, int]:
    """The bytes of the whole arrays of a collective, and those that a device sends.

    >>> from fnet.planning.program_text import instruction
    >>> traffic("all-reduce", instruction("f32[8]{0} all-reduce(%x), to_apply=%plus"), 4)
    (32, 48)
    """
    shape = one.shape
    if one.opcode.endswith("-start") and kind != "all-reduce":
        shape = parts(shape)[1]  # of operand, result, and what tracks them
    size = num_bytes(shape)
    if kind in ("collective-permute", "collective-broadcast"):
        return size, size
    whole = size * group if kind == "reduce-scatter" else size
    return whole, ROUNDS.get(kind, 1) * (group - 1) * whole // group
