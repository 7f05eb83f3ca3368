"""What a compiled program does in a step, read from its text: kernels, waits, traffic, memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .program_text import (
    Computations,
    Executed,
    Instruction,
    named,
    num_bytes,
    parse,
    parts,
    step_loop,
    trip_count,
    walk,
)

COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
)  # fmt: skip
NO_KERNELS = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional",
    "call", "after-all", "opt-barrier", "partition-id", "replica-id", "add-dependency", "domain",
    "async-start", "async-update", "copy-start", "slice-start",  # which only move data
}  # fmt: skip
HOST = {"send", "recv", "infeed", "outfeed"}
HOST_SPACE, SCALAR_SPACE = "S(5)", "S(6)"  # memories of the host and of scalars, in a layout


@dataclass(frozen=True)
class Collective:
    """The exchanges of one kind in a step.

    `bytes` are those of the whole arrays; `sent` what each device sends at least: in a ring of n,
    2 (n - 1) / n of an all-reduce, (n - 1) / n of the others [Patarasuk and Yuan 2009, section 4].
    """

    kind: str
    times: int
    bytes: int
    sent: int


@dataclass(frozen=True)
class Figures:
    """A compiled program in figures, the first six of one step.

    Attributes:
        kernels: what the device is told to run, the turns of inner loops counted; a loop whose
            turns are not known counts once.
        cycles: the compiler's estimate on a TPU, without gathers, which it leaves out.
        loops: those without a known number of turns; a GPU waits for the host at each turn.
        branches: conditionals, all of whose sides count; a GPU waits for the host at each.
        host_transfers: callbacks, feeds, and copies from and to the host's memory.
        collectives: by kind.
        counted: whether the number of turns of the loop over steps is known, too.
        loops_anywhere: those without a known number of turns in the program as a whole.
        arguments, outputs, temporaries, aliased: bytes on a device, of the program as a whole;
            `aliased` outputs lie where donated arguments lay.
    """

    kernels: int
    cycles: int | None
    loops: int
    branches: int
    host_transfers: int
    collectives: tuple[Collective, ...]
    counted: bool
    loops_anywhere: int
    arguments: int
    outputs: int
    temporaries: int
    aliased: int

    @property
    def peak(self) -> int:
        """Bytes a device holds while it runs."""
        return self.arguments + self.outputs - self.aliased + self.temporaries

    def host_waits(self, platform: str) -> int:
        """How often a step stops for the host, at least: on a GPU at loops and branches too."""
        stops = self.loops + self.branches + (not self.counted)
        return self.host_transfers + (stops if platform == "gpu" else 0)


def read(compiled: Any) -> Figures:
    """The figures of a compiled program.

    Args:
        compiled: what `jax.jit(f).lower(...).compile()` returns, for any device.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
        >>> figures = read(jax.jit(lambda x: jnp.tanh(x @ x)).lower(x).compile())
        >>> figures.arguments, figures.outputs, figures.loops_anywhere
        (256, 256, 0)
    """
    memory = compiled.memory_analysis()
    return Figures(
        **read_text(compiled.as_text()),
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
    )


def read_text(text: str) -> dict[str, Any]:
    """The figures of a step that the text of a program holds."""
    computations, entry = parse(text)
    devices = int(named(r"num_partitions=(\d+)", text) or 1)
    body, over_steps = step_loop(computations, entry)
    executed = list(walk(computations, body))
    loops = [one for one in executed if one.instruction.opcode == "while"]
    everywhere = [one for body in computations.values() for one in body if one.opcode == "while"]
    cycles = sum(one.cycles for one in executed)
    return {
        "kernels": sum(one.turns for one in executed if is_kernel(one.instruction)),
        "cycles": cycles or None,
        "loops": sum(trip_count(computations, one.instruction) is None for one in loops),
        "branches": sum(one.instruction.opcode == "conditional" for one in executed),
        "host_transfers": sum(one.turns for one in executed if to_host(one.instruction)),
        "collectives": exchanges(computations, executed, devices),
        "counted": over_steps is None or trip_count(computations, over_steps) is not None,
        "loops_anywhere": sum(trip_count(computations, loop) is None for loop in everywhere),
    }


def is_kernel(one: Instruction) -> bool:
    """Whether the device is told to run it by itself.

    >>> from fnet.planning.program_text import instruction
    >>> is_kernel(instruction("f32[8]{0} fusion(%x), kind=kLoop, calls=%add"))
    True
    >>> is_kernel(instruction("f32[]{:T(128)} add(%x, %y)"))  # of a TPU's scalar unit
    False
    """
    if one.opcode in NO_KERNELS or one.opcode.endswith("-done") or SCALAR_SPACE in one.shape:
        return False
    scalar = bool(re.match(r"\w+\[1?\]", one.shape))
    return not scalar or one.opcode in ("fusion", "custom-call", "copy", *COLLECTIVES)


def to_host(one: Instruction) -> bool:
    """Whether it exchanges something with the host.

    >>> from fnet.planning.program_text import instruction
    >>> to_host(instruction('(f32[], u32[], token[]) send(%x, %t), is_host_transfer=true'))
    True
    >>> to_host(instruction('(f32[8]{0:S(5)}, f32[8]{0}, u32[]) copy-start(%x)'))
    True
    """
    if one.opcode in HOST:
        return "feed" in one.opcode or "is_host_transfer=true" in one.rest
    if one.opcode == "custom-call":
        return "callback" in (named(r'custom_call_target="([^"]*)"', one.rest) or "")
    return one.opcode in ("copy", "copy-start") and HOST_SPACE in one.shape


def exchanges(
    computations: Computations, executed: list[Executed], devices: int
) -> tuple[Collective, ...]:
    """The collectives of what is executed, those inside of fusions too, by kind."""
    kinds: dict[str, Collective] = {}
    for one, turns in executed:
        for each in with_fused(computations, one):
            kind = each.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                whole, sent = traffic(kind, each, devices)
                before = kinds.get(kind, Collective(kind, 0, 0, 0))
                kinds[kind] = Collective(
                    kind,
                    before.times + turns,
                    before.bytes + turns * whole,
                    before.sent + turns * sent,
                )
    return tuple(kinds[kind] for kind in COLLECTIVES if kind in kinds)


def with_fused(computations: Computations, one: Instruction) -> Iterator[Instruction]:
    """An instruction and those fused in it."""
    yield one
    if one.opcode == "fusion":
        for called in one.called:
            for each in computations[called]:
                yield from with_fused(computations, each)


def traffic(kind: str, one: Instruction, devices: int) -> tuple[int, int]:
    """The bytes of the whole arrays of a collective, and those that a device sends.

    >>> from fnet.planning.program_text import instruction
    >>> line = "f32[8]{0} all-reduce(%x), replica_groups=[1,4]<=[4], to_apply=%plus"
    >>> traffic("all-reduce", instruction(line), 4)
    (32, 48)
    """
    shape = one.shape
    if one.opcode.endswith("-start") and kind != "all-reduce":
        shape = parts(shape)[1]  # of operand, result, and what tracks them
    size = num_bytes(shape)
    if kind in ("collective-permute", "collective-broadcast"):
        return size, size
    group = group_size(one, devices)
    whole = size * group if kind == "reduce-scatter" else size
    rounds = 2 if kind == "all-reduce" else 1
    return whole, rounds * (group - 1) * whole // group


def group_size(one: Instruction, devices: int) -> int:
    """How many devices take part in one exchange."""
    if found := named(r"replica_groups=\[\d+,(\d+)\]", one.rest):
        return int(found)
    listed = named(r"replica_groups=\{\{([\d,]+)\}", one.rest)
    return len(listed.split(",")) if listed else devices
