"""What the figures were taken on and how fast that multiplies, with no word of whose it is."""

import datetime
import functools
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.child import Clock, Result
from bench.processes import fresh

PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "equinox", "keras", "torch")
GEMM_SIZES, GEMM_SECONDS = (1024, 2048, 3072), 0.5  # the time is that of one size


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
    found = fresh("machine:devices", cpu=False)
    return None if found.get("backend", "cpu") == "cpu" else found["kind"]


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


def devices(clock: Clock) -> Result:
    """What JAX computes on by default."""
    import jax

    kind = jax.devices()[0].device_kind
    return {"backend": jax.default_backend(), "kind": kind, "count": jax.device_count()}


def gemm(clock: Clock, library: str) -> Result:
    """The best GFLOP/s of a library's float32 product of two large matrices."""
    import numpy as np

    take, square = multiplication(library)
    best = 0.0
    for size in GEMM_SIZES:
        a = take(np.random.default_rng(0).random((size, size), np.float32))
        np.asarray(square(a))
        began = time.perf_counter()
        while time.perf_counter() - began < GEMM_SECONDS:
            start = time.perf_counter()
            done = square(a)
            if library == "jax":
                done.block_until_ready()
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return {"gflops": best}


def multiplication(library: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """How the library takes an array over, and how it squares it."""
    if library == "jax":
        import jax

        return jax.device_put, jax.jit(lambda a: a @ a)
    if library == "torch":
        import torch

        return torch.from_numpy, lambda a: a @ a
    return lambda a: a, lambda a: a @ a
