"""What a compiled program does in a step, read from its text: kernels, waits, traffic, memory.

XLA prints an optimized program as computations, each a list of instructions:

    %body (carry: (s32[], f32[8])) -> (s32[], f32[8]) {
      %sum = f32[8]{0} fusion(%x), kind=kLoop, calls=%add
      %all = f32[8]{0} all-reduce(%sum), replica_groups=[1,4]<=[4], to_apply=%plus
      ROOT %next = (s32[], f32[8]{0}) tuple(%i, %all)
    }
    ENTRY %main (p: f32[8]) -> f32[8] {
      %loop = (s32[], f32[8]{0}) while(%start), condition=%c, body=%body,
          backend_config={"known_trip_count":{"n":"18"}}
    }
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..training.step import SCOPE

COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
)  # fmt: skip
NO_KERNELS = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional",
    "call", "after-all", "opt-barrier", "partition-id", "replica-id", "add-dependency", "domain",
    "async-start", "async-update",
}  # fmt: skip
HOST = {"send", "recv", "infeed", "outfeed"}
HOST_SPACE = "S(5)"  # where XLA keeps arrays of the host, in a layout
CARRIES_SCOPE = re.compile(rf'op_name="[^"]*\b{SCOPE}\b')


class Instruction(NamedTuple):
    """A line of a computation."""

    shape: str
    opcode: str
    rest: str  # operands and attributes
    metadata: str

    @property
    def called(self) -> list[str]:
        """The computations it names: of a fusion, a loop, a branch."""
        found = re.findall(r"(?:calls|to_apply|body|\w+_computations?)=\{?(%[^},\s]+)", self.rest)
        more = re.findall(r"branch_computations=\{([^}]*)\}", self.rest)
        names = found + [name for group in more for name in group.split(", ")]
        return list(dict.fromkeys(name.lstrip("%") for name in names))

    @property
    def in_step(self) -> bool:
        return bool(CARRIES_SCOPE.search(self.metadata))


Computations = Mapping[str, list[Instruction]]


class Collective(NamedTuple):
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
    """A compiled program in figures; each of the first seven is of one step.

    Attributes:
        kernels: what the device is told to run, the turns of inner loops counted; a loop whose
            turns are not known counts once.
        cycles: the compiler's estimate on a TPU, without gathers, which it leaves out.
        loops: those without a known number of turns; a GPU waits for the host at each turn.
        branches: conditionals, all of whose sides count; a GPU waits for the host at each.
        host_transfers: callbacks, feeds, and copies from and to the host's memory.
        collectives: by kind.
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
        stops = self.loops + self.branches if platform == "gpu" else 0
        return stops + self.host_transfers


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
    executed = list(walk(computations, step_body(computations, entry)))
    loops = [one for one in executed if one.instruction.opcode == "while"]
    everywhere = [one for body in computations.values() for one in body if one.opcode == "while"]
    cycles = [one.turns * estimate for one in executed if (estimate := one.instruction_cycles)]
    return {
        "kernels": sum(one.turns for one in executed if is_kernel(one.instruction)),
        "cycles": sum(cycles) if cycles else None,
        "loops": sum(trip_count(computations, one.instruction) is None for one in loops),
        "branches": sum(one.instruction.opcode == "conditional" for one in executed),
        "host_transfers": sum(one.turns for one in executed if to_host(one.instruction)),
        "collectives": exchanges(computations, executed, devices),
        "loops_anywhere": sum(trip_count(computations, loop) is None for loop in everywhere),
    }


class Executed(NamedTuple):
    """An instruction and how often a step runs it."""

    instruction: Instruction
    turns: int

    @property
    def instruction_cycles(self) -> int:
        return int(named(r'"estimated_cycles":"(\d+)"', self.instruction.rest) or 0)


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """The computations of a program by name, and the name of the first one to run.

    >>> computations, entry = parse('''
    ... ENTRY %main (x: f32[8]) -> f32[8] {
    ...   %x = f32[8]{0:T(256)} parameter(0)
    ...   ROOT %y = (f32[8]{0:T(256)}, u32[]) fusion(%x), kind=kLoop, calls=%add
    ... }''')
    >>> [(one.opcode, one.called) for one in computations[entry]]
    [('parameter', []), ('fusion', ['add'])]
    """
    computations: dict[str, list[Instruction]] = {}
    entry, body = "", None
    for line in text.splitlines():
        if line.endswith("{") and (head := re.match(r"(ENTRY )?%?([^\s(]+) \(", line)):
            body = computations.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif body is not None and (found := re.match(r"\s+(?:ROOT )?%?\S+ = (.*)", line)):
            body.append(instruction(found[1]))
    return computations, entry


def instruction(line: str) -> Instruction:
    """What stands behind the equals sign."""
    end = balanced(line) if line.startswith("(") else line.index(" ")
    opcode, _, rest = line[end:].strip().partition("(")
    metadata = named(r"metadata=(\{[^}]*\})", rest) or ""
    return Instruction(line[:end], opcode, rest, metadata)


def balanced(text: str) -> int:
    """Where the parenthesis that opens a text is closed."""
    depth = 0
    for end, character in enumerate(text, 1):
        depth += (character == "(") - (character == ")")
        if not depth:
            return end
    return len(text)


def named(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def step_body(computations: Computations, entry: str) -> str:
    """The computation that is a step: the body of the loop over steps, or all of the program.

    `step` names what it does after itself, and the compiler keeps those names. Loops within a step
    carry the name themselves; of the others, the loop over steps is the innermost one that holds
    instructions of the name. A program that has none, such as `predict`, has one loop, over
    batches.
    """
    bodies = {entry: 0}
    pending = [entry]
    first_loop = ""
    for name in pending:  # grows
        for one in flat(computations, name):
            if one.opcode == "while" and not one.in_step:
                body = named(r"body=%?([^\s,]+)", one.rest) or ""
                bodies[body] = bodies[name] + 1
                first_loop = first_loop or body
                pending.append(body)
    marked = [name for name in bodies if any(one.in_step for one in flat(computations, name))]
    if not marked:
        return first_loop or entry
    return max(marked, key=lambda name: (bodies[name], len(computations[name])))


def flat(computations: Computations, name: str) -> Iterator[Instruction]:
    """The instructions of a computation, and of what it calls without a loop."""
    for one in computations[name]:
        yield one
        if one.opcode in ("call", "conditional", "async-start"):
            for called in one.called:
                yield from flat(computations, called)


def walk(computations: Computations, name: str, turns: int = 1) -> Iterator[Executed]:
    """The instructions of a computation and of the loops in it, with their turns."""
    for one in flat(computations, name):
        yield Executed(one, turns)
        if one.opcode == "while":
            known = trip_count(computations, one)
            for part in ("body",) if known else ("condition", "body"):
                called = named(rf"{part}=%?([^\s,]+)", one.rest) or ""
                yield from walk(computations, called, turns * (known or 1))


def trip_count(computations: Computations, loop: Instruction) -> int | None:
    """The turns of a loop, where the compiler knows them.

    A GPU's compiler writes them down; a TPU's leaves a comparison of a counter with a constant.
    """
    if known := named(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
        return int(known)
    condition = computations[named(r"condition=%?([^\s,]+)", loop.rest) or ""]
    opcodes = [one.opcode for one in condition if one.opcode != "parameter"]
    if sorted(opcodes) != ["compare", "constant", "get-tuple-element"]:
        return None
    bound = next(one for one in condition if one.opcode == "constant")
    less = next(one for one in condition if one.opcode == "compare")
    number = named(r"^(\d+)\)", bound.rest)
    return int(number) if number and "direction=LT" in less.rest else None


def is_kernel(one: Instruction) -> bool:
    """Whether the device is told to run it by itself.

    >>> is_kernel(instruction("f32[8]{0} fusion(%x), kind=kLoop, calls=%add"))
    True
    >>> is_kernel(instruction("f32[]{:T(128)} add(%x, %y)"))  # of a TPU's scalar unit
    False
    """
    if one.opcode in NO_KERNELS or one.opcode.endswith("-done"):
        return False
    scalar = bool(re.match(r"\w+\[\]", one.shape))
    return not scalar or one.opcode in ("fusion", "custom-call", "copy", *COLLECTIVES)


def to_host(one: Instruction) -> bool:
    """Whether it exchanges something with the host.

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


def parts(shape: str) -> list[str]:
    """The shapes in a tuple.

    >>> parts("(f32[2], (f32[8]{0:T(8,128)}, u32[]))")
    ['f32[2]', '(f32[8]{0:T(8,128)}, u32[])']
    """
    found, start, depth = [], 0, 0
    inside = shape[1:-1]
    for index, character in enumerate(inside):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            found.append(inside[start:index].strip())
            start = index + 1
    return [*found, inside[start:].strip()]


def num_bytes(shape: str) -> int:
    """The size of an array, or of all in a tuple.

    >>> num_bytes("(f32[784,512]{1,0}, pred[], bf16[10])")
    1605653
    """
    return sum(
        math.prod(map(int, filter(None, sizes.split(",")))) * max(bits(dtype) // 8, 1)
        for dtype, sizes in re.findall(r"\b([a-z]+\d*\w*)\[([\d,]*)\]", shape)
        if dtype != "token"
    )


def bits(dtype: str) -> int:
    return int(named(r"[a-z]+(\d+)", dtype) or 8)
