"""The most that the machine multiplies: float32 matrix products of several libraries."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.clock import Clock, Result

SIZES = (1024, 2048, 3072)
SECONDS = 0.5  # a size


def multiplication(library: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """How the library takes an array over, and how it squares it."""
    if library == "jax":
        import jax

        return jax.device_put, jax.jit(lambda a: a @ a)
    if library == "torch":
        import torch

        return torch.from_numpy, lambda a: a @ a
    return np.asarray, lambda a: a @ a


def gemm(clock: Clock, library: str) -> Result:
    """Best GFLOP/s over some large sizes."""
    take, square = multiplication(library)
    best = 0.0
    for size in SIZES:
        a = take(np.random.default_rng(0).random((size, size), np.float32))
        np.asarray(square(a))
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            done = square(a)
            if library == "jax":
                done.block_until_ready()
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return {"gflops": best}
