"""The time below which a step cannot fall: what it does over what a device can do at most."""

from collections.abc import Mapping
from dataclasses import dataclass

from .targets import Chip
from .units import quantity


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
    chip: Chip, flops: Mapping[str, float], touched: int, sent: int, kernels: int
) -> tuple[Limit, ...]:
    """The limits that the figures of a device give; those without a figure are left out.

    Args:
        chip: what a device can do.
        flops: those of products in a step on a device, by dtype.
        touched: bytes of memory that a step reads or writes on a device.
        sent: bytes that a device sends to others in a step.
        kernels: those of a step.

    Example:
        >>> from fnet.planning.targets import TPUS
        >>> for limit in limits_of(TPUS["v5e"], {"bfloat16": 197e12}, 819 * 10**9, 0, 12):
        ...     print(limit)
        Limit(name='products', seconds=1.0, reason='197 TFLOP at 197 TFLOP/s in bfloat16')
        Limit(name='memory', seconds=1.0, reason='819 GB at 819 GB/s')
    """
    limits: list[Limit] = []
    rates = dict(chip.flops)
    if flops and flops.keys() <= rates.keys():
        seconds = sum(count / rates[dtype] for dtype, count in flops.items())
        most = max(flops, key=lambda dtype: flops[dtype])
        amount, rate = quantity(sum(flops.values()), "FLOP"), quantity(rates[most], "FLOP/s")
        limits.append(Limit("products", seconds, f"{amount} at {rate} in {most}"))
    for name, size, bandwidth in (
        ("memory", touched, chip.memory_bandwidth),
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
