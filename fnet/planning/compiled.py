"""What a compiled program does in a step, read from its text: kernels, waits, memory."""

import math
import re
from dataclasses import dataclass
from typing import Any

from .program_text import (
    Instruction,
    named,
    parse,
    step_loop,
    steps_a_turn,
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
class Figures:
    """A compiled program in figures, the first five of one step.

    Attributes:
        kernels: what the device is told to run, the turns of inner loops counted; a loop whose
            turns are not known counts once.
        cycles: the compiler's estimate on a TPU, without gathers, which it leaves out.
        loops: those without a known number of turns; a GPU waits for the host at each turn.
        branches: conditionals, all of whose sides count; a GPU waits for the host at each.
        host_transfers: callbacks, feeds, and copies from and to the host's memory.
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
    body, over_steps = step_loop(computations, entry)
    executed = list(walk(computations, body))
    loops = [one for one in executed if one.instruction.opcode == "while"]
    everywhere = [one for body in computations.values() for one in body if one.opcode == "while"]
    steps = steps_a_turn(computations, body)
    kernels = sum(one.turns for one in executed if is_kernel(one.instruction))
    return {
        "kernels": math.ceil(kernels / steps),
        "cycles": sum(one.cycles for one in executed) // steps or None,
        "loops": sum(trip_count(computations, one.instruction) is None for one in loops),
        "branches": sum(one.instruction.opcode == "conditional" for one in executed),
        "host_transfers": sum(one.turns for one in executed if to_host(one.instruction)),
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
