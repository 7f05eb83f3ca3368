"""What many accelerators would gain, on paper: nothing here is measured."""

from pathlib import Path
from typing import NamedTuple

from bench import markdown
from bench.headline_job import BATCH_SIZE, SIZES, flops
from bench.options import Options
from bench.results import Content

TITLE = "On paper: up to 512 accelerators"

# NVIDIA H100 SXM, datasheet of 2023, without sparsity; NVLink is 900 GB/s in both directions.
TENSOR_FLOPS = {"float32": 495e12, "bfloat16": 989e12}  # a second; float32 products in TF32
MEMORY_BYTES = 3.35e12  # a second, HBM3
NVLINK_BYTES = 450e9  # a second and device, one direction
# NVIDIA DGX H100, datasheet of 2023: 8 devices a node, one 400 Gbit/s InfiniBand port for each.
NODE = 8
INFINIBAND_BYTES = 50e9  # a second and device, one direction
# Assumed: what large products reach of the peak, and the delay of one step of a ring.
REACHED = 0.5
HOP_SECONDS = {"NVLink": 2e-6, "InfiniBand": 5e-6}

DEVICES = (1, 8, 64, 512)


class Job(NamedTuple):
    """An MLP and how it is trained."""

    name: str
    sizes: tuple[int, ...]
    batch_size: int  # of all devices together
    dtype: str
    moments: int  # arrays like the parameters that the optimizer keeps


BILLION = (8192, *(16 * [8192]), 1024)  # 16 square kernels of 67 million, and one to the classes
JOBS = (
    Job("the headline job", SIZES, BATCH_SIZE, "float32", 1),
    Job("the headline's model, batches of 65,536", SIZES, 65_536, "float32", 1),
    Job("an MLP of 1.1 billion parameters, batches of 4,096", BILLION, 4_096, "bfloat16", 2),
    Job("the same, batches of 65,536", BILLION, 65_536, "bfloat16", 2),
)


def measure(options: Options) -> Content:
    return {"computed": True, "jobs": [{"name": job.name, "points": points(job)} for job in JOBS]}


def points(job: Job) -> list[Content]:
    alone = step(job, 1)["seconds"]
    steps = [step(job, number) for number in DEVICES if number <= job.batch_size]
    return [{"speedup": alone / point["seconds"]} | point for point in steps]


def parameters(job: Job) -> int:
    return sum((a + 1) * b for a, b in zip(job.sizes, job.sizes[1:], strict=False))


def step(job: Job, devices: int) -> Content:
    """Seconds of a step whose batch is split, and whose gradients, float32, are then added up.

    Nothing overlaps. The update reads and writes parameters and moments and reads the gradient.
    """
    count = parameters(job)
    compute = flops(job.sizes) * job.batch_size / devices / (REACHED * TENSOR_FLOPS[job.dtype])
    update = 4 * count * (2 * (1 + job.moments) + 1) / MEMORY_BYTES
    reduce = all_reduce(4 * count, devices)
    return {
        "devices": devices,
        "compute": compute,
        "update": update,
        "sent": sent(4 * count, devices),
        "reduce": reduce,
        "seconds": compute + update + reduce,
    }


def sent(size: float, devices: int) -> float:
    """Bytes that each device of a ring sends, and receives, to add up arrays of `size` bytes."""
    return 2 * (devices - 1) / devices * size


def all_reduce(size: float, devices: int) -> float:
    """Seconds of a ring, which is as fast as its slowest link, in 2 (n - 1) steps."""
    link = "NVLink" if devices <= NODE else "InfiniBand"
    speed = {"NVLink": NVLINK_BYTES, "InfiniBand": INFINIBAND_BYTES}[link]
    return sent(size, devices) / speed + 2 * (devices - 1) * HOP_SECONDS[link]


def section(content: Content) -> str:
    words = (
        "**Computed, not measured**, by `bench/parts/estimate.py`, whose constants name their "
        "sources: NVIDIA H100 SXM, 8 a node on NVLink (450 GB/s a direction), nodes on InfiniBand "
        f"(50 GB/s a device), half of the dense peak reached ({TENSOR_FLOPS['float32'] / 1e12:.0f} "
        f"TFLOP/s in TF32, {TENSOR_FLOPS['bfloat16'] / 1e12:.0f} in bfloat16), parameters copied, "
        "float32 gradients added up by a ring all-reduce, of which each device sends 2 (n-1)/n of "
        "their bytes, and nothing overlapped. *Speed-up* is against one device with the same "
        "batch; a batch is not split over more devices than it has samples."
    )
    return "\n\n".join([words, *(told(job) for job in content["jobs"])])


def told(job: Content) -> str:
    rows = [
        [
            str(point["devices"]),
            *(f"{1e3 * point[key]:.3g}" for key in ("compute", "update")),
            f"{point['sent'] / 2**20:,.1f}",
            *(f"{1e3 * point[key]:.3g}" for key in ("reduce", "seconds")),
            f"{point['speedup']:.2f}",
        ]
        for point in job["points"]
    ]
    head = [
        "devices", "computing, ms", "update, ms", "sent, MiB", "all-reduce, ms", "step, ms",
        "speed-up",
    ]  # fmt: skip
    name = job["name"][0].upper() + job["name"][1:]
    return f"{name}: {verdict(job['points'])}\n\n{markdown.table(head, rows)}"


def verdict(points: list[Content]) -> str:
    bound = [point["devices"] for point in points if point["reduce"] >= point["compute"]]
    best = max(points, key=lambda point: point["speedup"])
    limit = (
        f"from {bound[0]} devices on the all-reduce takes longer than the computing"
        if bound
        else "the all-reduce never takes longer than the computing"
    )
    return f"{limit}; the fastest of these is {best['devices']}."


def draw(content: Content, folder: Path) -> None:
    """Tables say it."""
