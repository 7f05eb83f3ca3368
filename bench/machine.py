"""What the figures were taken on, without a word about whose machine it is."""

import datetime
import functools
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.processes import fresh

PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "equinox", "keras", "torch")


def describe() -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory() / 2**30, 1),
        "accelerator": accelerator(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: package_version(package) for package in PACKAGES},
    }


def cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists() and (found := re.search(r"model name\s*:\s*(.+)", path.read_text())):
        return found[1]
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or "unknown"


def memory() -> int:
    """Of the machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@functools.cache
def accelerator() -> str | None:
    """What JAX finds besides the CPU."""
    found = fresh("device:describe", cpu=False)
    return None if found.get("backend", "cpu") == "cpu" else found["device"]


def package_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def sentence(machine: dict[str, Any]) -> str:
    """One line for the README."""
    versions = ", ".join(f"{k} {v or 'absent'}" for k, v in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} logical cores, {machine['memory_gib']} GiB, "
        f"{machine['accelerator'] or 'no accelerator'}; {machine['system']}, "
        f"Python {machine['python']}; {versions}; {machine['date']}"
    )
