"""How much memory a device has."""

import os
from typing import Any


def device_memory(device: Any) -> int | None:
    """The bytes of a device, if it says so; of a CPU those of the machine."""
    if device.platform == "cpu":
        known = hasattr(os, "sysconf")  # which Windows lacks
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if known else None
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit")
