"""Devices by name, those that are not here too, and what they can do."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax

from ..core.memory import device_memory
from ..core.platform import Absent
from ..core.values import describe
from .h100 import H100

GB, TFLOPS = 10**9, 10**12


@dataclass(frozen=True)
class Chip:
    """What a device can do, as far as it is known.

    Attributes:
        memory: bytes.
        flops: a second at most, by dtype, in products of matrices as JAX computes them by default.
        memory_bandwidth: bytes a second.
        link_bandwidth: bytes a second that it sends to other devices, over all its links.
        launch_seconds: of a kernel, besides its work.
    """

    memory: int | None = None
    flops: tuple[tuple[str, float], ...] = ()
    memory_bandwidth: float | None = None
    link_bandwidth: float | None = None
    launch_seconds: float = 0.0


def tpu(memory: int, bfloat16: float, memory_bandwidth: int, gigabits: int, int8: float) -> Chip:
    """A TPU, which rounds the factors of float32 products to bfloat16 unless told otherwise."""
    teraflops = {"float32": bfloat16, "bfloat16": bfloat16, "int8": int8}
    flops = tuple((dtype, rate * TFLOPS) for dtype, rate in teraflops.items())
    return Chip(memory * 2**30, flops, memory_bandwidth * GB, gigabits * GB / 8)


# Key chip specifications in Google's pages "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e",
# https://cloud.google.com/tpu/docs/v5e and so on: capacity, peak compute, bandwidth of the memory
# and of the interconnect between chips. Programs run without launches by the host.
TPUS = {
    "v4": tpu(32, 275, 1200, 2400, 275),
    "v5e": tpu(16, 197, 819, 1600, 393),
    "v5p": tpu(95, 459, 2765, 4800, 918),
    "v6e": tpu(32, 918, 1640, 3584, 1836),
}
FLAT = ("v5e", "v6e")  # on a torus of two dimensions; the others have three

# NVIDIA's data sheet "H100 Tensor Core GPU", column SXM, without sparsity: TF32, which JAX takes
# for float32, BF16 and FP16, FP8 and INT8; NVLink has 900 GB/s in both directions together. The
# data sheet "DGX H100" gives each GPU 400 Gb/s to other hosts. A kernel of 2.9 us takes 3.4 us in
# a CUDA graph: NVIDIA's technical blog, "Getting Started with CUDA Graphs", 2019.
SXM = Chip(
    memory=80 * GB,
    flops=(
        ("float32", 494.5 * TFLOPS),
        ("bfloat16", 989.5 * TFLOPS),
        ("float16", 989.5 * TFLOPS),
        ("float8", 1979 * TFLOPS),
        ("int8", 1979 * TFLOPS),
    ),
    memory_bandwidth=3350 * GB,
    link_bandwidth=450 * GB,
    launch_seconds=0.5e-6,
)
BETWEEN_HOSTS = 50 * GB
GPUS_A_HOST = 8

KINDS = {  # as JAX calls them
    "TPU v4": TPUS["v4"],
    "TPU v5 lite": TPUS["v5e"],
    "TPU v5": TPUS["v5p"],
    "TPU v6 lite": TPUS["v6e"],
    "NVIDIA H100 80GB HBM3": SXM,
}

EXAMPLES = '"v5e", "v5e:4x4", "v6e:4x4", "v4:2x2x1", "v5p:2x2x1", "h100", "h100:8"'
INSTALL = 'Install what compiles for it: pip install "fnet-jax[accelerators]".'
FOR_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
        name: as it was given, "v5e:2x2"; of the devices at hand their kind.
        platform: "tpu", "gpu" or "cpu".
        devices: for a `jax.sharding.Mesh`; nothing runs on those that are not here.
        chip: what each of them can do.
        here: whether programs run on them.
        compiler_options: what `lowered.compile(compiler_options=...)` needs for them.
    """

    name: str
    platform: str
    devices: tuple[Any, ...]
    chip: Chip
    here: bool = False
    compiler_options: tuple[tuple[str, Any], ...] = ()

    @property
    def absent(self) -> Absent | None:
        """What programs that are traced for them must know, see `made_for`."""
        return None if self.here else Absent(self.platform, self.chip.memory)


def target(name: str | None = None) -> Target:
    """The devices of that name.

    Args:
        name: `"v5e:4x4"`, a kind of TPU and the shape of a slice of them; `"h100:8"`, a GPU and how
            many of it, 8 a host; a kind alone is one device. None for the devices at hand.

    Raises:
        ValueError: no such devices.
        TypeError: not a name.
        ImportError: what compiles for them is missing; `pip install "fnet-jax[accelerators]"`.

    Example:
        >>> target().here
        True
    """
    if name is None:
        return devices_here()
    if not isinstance(name, str):
        raise TypeError(
            f"`devices` must be the name of devices, got {describe(name)}. "
            f"Write one such as {EXAMPLES}, or None for those at hand."
        )
    kind, _, size = name.partition(":")
    if kind in TPUS:
        return slice_of_tpus(name, kind, size)
    if kind == "h100":
        return gpus(name, size)
    raise ValueError(
        f"`devices` must name a kind that is known, {', '.join([*TPUS, 'h100'])}, got {name!r}. "
        f"Write one such as {EXAMPLES}."
    )


def slice_of_tpus(name: str, kind: str, size: str) -> Target:
    dimensions = 2 if kind in FLAT else 3
    smallest = "x".join(["2", "2", "1"][:dimensions])
    one = size in ("", "1")
    shape = smallest if one else size
    if not re.fullmatch(r"[1-9]\d*" + r"x[1-9]\d*" * (dimensions - 1), shape):
        raise refused_slice(name, kind, smallest)
    options = {"chip_config_name": "megacore"} if kind == "v4" else {}  # one device a chip
    with for_libtpu():
        try:
            devices = topology("tpu", f"{kind}:{shape}", **options)
        except jax.errors.JaxRuntimeError as error:
            raise refused_slice(name, kind, smallest) from error
    return Target(name, "tpu", tuple(devices[:1] if one else devices), TPUS[kind])


def refused_slice(name: str, kind: str, smallest: str) -> ValueError:
    larger = smallest.replace("2", "4")
    return ValueError(
        f"`devices` must name a slice of {kind} in multiples of {smallest}, or one chip, "
        f"got {name!r}. Write {kind!r}, '{kind}:{smallest}' or '{kind}:{larger}'."
    )


def gpus(name: str, size: str) -> Target:
    count = int(size) if re.fullmatch(r"[1-9]\d*", size) else 0 if size else 1
    hosts, rest = divmod(count, GPUS_A_HOST)
    if not count or (hosts and count > GPUS_A_HOST and rest):
        raise ValueError(
            f"`devices` must name 1 to {GPUS_A_HOST} GPUs, or whole hosts of {GPUS_A_HOST}, "
            f"got {name!r}. Write 'h100', 'h100:8' or 'h100:16'."
        )
    layout = f"1x1x{count}" if count <= GPUS_A_HOST else f"1x{hosts}x{GPUS_A_HOST}"
    devices = topology("cuda", "h100", target_config=H100, topology=layout)
    chip = SXM if count <= GPUS_A_HOST else replace(SXM, link_bandwidth=BETWEEN_HOSTS)
    # Kernels are not timed against each other, which takes a device.
    return Target(
        name, "gpu", tuple(devices), chip, compiler_options=(("xla_gpu_autotune_level", 0),)
    )


def topology(platform: str, name: str, **options: Any) -> Any:
    """The devices of a topology that is not here."""
    from jax.experimental import topologies

    try:
        return topologies.get_topology_desc(name, platform, **options).devices
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError):
            raise
        library = "libtpu" if platform == "tpu" else "JAX's plugin for CUDA"
        raise ImportError(
            f"Programs for {name!r} are compiled by {library}, which is not installed. {INSTALL}"
        ) from error


@contextmanager
def for_libtpu() -> Iterator[None]:
    """What libtpu asks its surroundings for while it starts, where there is no TPU.

    Nothing that is set is changed, and nothing stays set. Where there is a TPU, JAX starts it
    before, with its own surroundings.
    """
    missing = {key: value for key, value in FOR_LIBTPU.items() if key not in os.environ}
    if jax.default_backend() == "tpu":
        missing = {}
    os.environ.update(missing)
    try:
        yield
    finally:
        for key in missing:
            os.environ.pop(key, None)


def devices_here() -> Target:
    """Those that JAX computes on by default; some of what they can do is known by their name."""
    devices = tuple(jax.devices())
    first = devices[0]
    kind = first.device_kind
    chip = KINDS.get(kind, Chip())
    memory = device_memory(first) or chip.memory
    return Target(kind, first.platform, devices, replace(chip, memory=memory), here=True)
