"""The text of a compiled program, taken apart: computations, loops, and which of them is a step.

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
from typing import NamedTuple

from ..training.scan import STEPS_A_TURN
from ..training.step import SCOPE

CARRIES_SCOPE = re.compile(rf'op_name="[^"]*\b{SCOPE}\b')
STEPS = re.compile(".*" + STEPS_A_TURN.format(r"(\d+)"))  # the innermost loop is last


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


def step_loop(computations: Computations, entry: str) -> tuple[str, Instruction | None]:
    """The computation that is a step, and the loop whose body it is.

    `step` names what it does after itself, and the compiler keeps those names. Loops within a step
    carry the name themselves; of the others, the loop over steps is the innermost one that holds
    instructions of the name. A program that has none, such as `predict`, has one loop, over
    batches. Without such a loop the program as a whole is a step.
    """
    depths, loops = {entry: 0}, dict[str, Instruction]()
    pending = [entry]
    for name in pending:  # grows
        for one in flat(computations, name):
            if one.opcode == "while" and not one.in_step:
                body = named(r"body=%?([^\s,]+)", one.rest) or ""
                depths[body], loops[body] = depths[name] + 1, one
                pending.append(body)
    named_so = [name for name in depths if any(one.in_step for one in flat(computations, name))]
    if named_so:
        body = max(named_so, key=lambda name: (depths[name], len(computations[name])))
    else:
        body = next(iter(loops), entry)
    return body, loops.get(body)


def steps_a_turn(computations: Computations, body: str) -> int:
    """The steps that the body of the loop over steps takes: several where they are unrolled."""
    found = (STEPS.search(one.metadata) for one in flat(computations, body) if one.in_step)
    return max((int(steps[1]) for steps in found if steps), default=1)


def flat(computations: Computations, name: str) -> Iterator[Instruction]:
    """The instructions of a computation, and of what it calls without a loop."""
    for one in computations[name]:
        yield one
        if one.opcode in ("call", "conditional", "async-start"):
            for called in one.called:
                yield from flat(computations, called)


class Executed(NamedTuple):
    """An instruction and how often a step runs it."""

    instruction: Instruction
    turns: int

    @property
    def cycles(self) -> int:
        """What a TPU's compiler thinks that takes."""
        return self.turns * int(named(r'"estimated_cycles":"(\d+)"', self.instruction.rest) or 0)


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
