"""The time below which a step cannot fall: what it does over what a device can do at most."""

from collections.abc import Mapping
from dataclasses import dataclass

from .targets import Chip
from .units import quantity

# The most that a chip keeps from step to step without its main memory: a TPU v4 has 128 MiB of CMEM
# and 32 of VMEM [Jouppi et al. 2023, TPU v4]; an H100 50 MB of cache, a TPU v5e 128 MiB.
ON_CHIP = 160 * 2**20


@dataclass(frozen=True)
class Limit:
    """A bound from below on the time of a step.

    Attributes:
        name: "products", "memory", "links" or "launches".
        seconds: a step takes at least.
        reason: what it does, and how fast a device can.
    """

    name: str
    seconds: float
    reason: str


def limits_of(
    chip: Chip, flops: Mapping[str, float], state: int, sent: int, kernels: int
) -> tuple[Limit, ...]:
    """The limits that the figures of a device give; those without a figure are left out.

    Args:
        chip: what a device can do.
        flops: those of products in a step on a device, by dtype.
        state: bytes of the state on a device; a step reads and writes what a chip cannot keep.
        sent: bytes that a device sends to others in a step.
        kernels: those of a step.

    Example:
        >>> from fnet.planning.targets import TPUS
        >>> for limit in limits_of(TPUS["v5e"], {"bfloat16": 197e12}, 4 * 10**9, 0, 12):
        ...     print(limit)
        Limit(name='products', seconds=1.0, reason='197 TFLOP at 197 TFLOP/s in bfloat16')
        Limit(name='memory', seconds=0.009358..., reason='7.66 GB at 819 GB/s')
    """
    limits: list[Limit] = []
    rates = dict(chip.flops)
    if flops and flops.keys() <= rates.keys():
        seconds = sum(count / rates[dtype] for dtype, count in flops.items())
        most = max(flops, key=lambda dtype: flops[dtype])
        amount, rate = quantity(sum(flops.values()), "FLOP"), quantity(rates[most], "FLOP/s")
        limits.append(Limit("products", seconds, f"{amount} at {rate} in {most}"))
    for name, size, bandwidth in (
        ("memory", 2 * max(state - ON_CHIP, 0), chip.memory_bandwidth),
        ("links", sent, chip.link_bandwidth),
    ):
        if size and bandwidth:
            reason = f"{quantity(size, 'B')} at {quantity(bandwidth, 'B/s')}"
            limits.append(Limit(name, size / bandwidth, reason))
    if kernels and chip.launch_seconds:
        each = quantity(chip.launch_seconds, "s")
        reason = f"{kernels:,} kernels, {each} each"
        limits.append(Limit("launches", kernels * chip.launch_seconds, reason))
    return tuple(limits)
