"""What is known of a run before it runs, as a value and as a table."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ..core.mesh import DATA
from ..core.tables import html
from .exchanges import Exchange
from .limits import Limit
from .memory import Memory
from .units import quantity

WIDTH = 18  # of the names in the table


@dataclass(frozen=True, repr=False)
class Plan:
    """A run that was compiled and not run, see `plan`; its `repr` is a table.

    Attributes:
        devices: their name.
        device_count: how many of them the run uses.
        mesh_shape: the axes of the mesh and their lengths; empty without a mesh.
        optimizer: its name.
        parameters: how many there are.
        samples: of an epoch.
        batch_size: samples a step.
        divided: whether the axis "data" divides the batch; each device computes all of it
            otherwise.
        steps: of an epoch.
        last_batch: the samples of the last step of an epoch if they are fewer, otherwise 0.
        memory: what a device holds.
        flops: those of products in a step, on all devices together, by dtype.
        flops_a_device: the share of each, where they divide evenly.
        kernels: what a device is told to run in a step.
        host_waits: how often a step stops for the host, at least.
        cycles: the estimate of a TPU's compiler for a step, without gathers; None on others.
        exchanges: what devices send each other in a step, the most first.
        limits: times that a step takes at least.
        compile_seconds: what it took to trace and to compile the run here.
        problem: the words of a compiler that refused, mostly because the run does not fit;
            `kernels`, `host_waits`, `cycles` and the temporaries are None then, and `exchanges`
            empty.
    """

    devices: str
    device_count: int
    mesh_shape: dict[str, int]
    optimizer: str
    parameters: int
    samples: int
    batch_size: int
    divided: bool
    steps: int
    last_batch: int
    memory: Memory
    flops: dict[str, int]
    flops_a_device: dict[str, int]
    kernels: int | None
    host_waits: int | None
    cycles: int | None
    exchanges: tuple[Exchange, ...]
    limits: tuple[Limit, ...]
    compile_seconds: float
    problem: str | None = None

    @property
    def fits(self) -> bool | None:
        """Whether a device holds all that `train` needs; None where its memory is not known."""
        return False if self.problem else within(self.memory.peak, self.memory.capacity)

    @property
    def fits_fit(self) -> bool | None:
        """The same for `fit`."""
        return False if self.problem else within(self.memory.peak_of_fit, self.memory.capacity)

    @property
    def largest_limit(self) -> Limit | None:
        """The limit that a step meets first; None where the figures of the devices are unknown."""
        return max(self.limits, key=lambda limit: limit.seconds, default=None)

    @property
    def samples_a_second(self) -> float | None:
        """At most; None where the figures of the devices are unknown."""
        limit = self.largest_limit
        return self.batch_size / limit.seconds if limit else None

    def to_dict(self) -> dict[str, Any]:
        """The plan as nested dicts of numbers and strings, for `json.dump`.

        Example:
            >>> import json, jax, jax.numpy as jnp, fnet
            >>> net = fnet.dense(1)
            >>> state = fnet.train_state(net, "sgd", jax.random.key(0), (2,))
            >>> task = fnet.supervised(net, "mean_squared_error")
            >>> plan = fnet.plan(task, state, (jnp.zeros((10, 2)), jnp.zeros((10, 1))))
            >>> json.loads(json.dumps(plan.to_dict()))["batch_size"]
            10
        """
        limit = self.largest_limit
        return asdict(self) | {
            "fits": self.fits,
            "fits_fit": self.fits_fit,
            "peak": self.memory.peak,
            "peak_of_fit": self.memory.peak_of_fit,
            "seconds_a_step": limit.seconds if limit else None,
            "samples_a_second": self.samples_a_second,
        }

    def __repr__(self) -> str:
        return "\n".join(line if isinstance(line, str) else line.text for line in lines(self))

    def _repr_html_(self) -> str:
        return html([(line,) if isinstance(line, str) else line for line in lines(self)], right=0)


class Row(NamedTuple):
    """A line of the table: an amount, what it is of, and more about it."""

    name: str
    amount: str
    about: str = ""

    @property
    def text(self) -> str:
        return f"  {self.name:<{WIDTH}}{self.amount:>9}  {self.about}".rstrip()


Lines = Iterator[str | Row]  # a heading, or an amount under it


def lines(plan: Plan) -> Lines:
    for part in (title, memory, step, limits, programs):
        yield from part(plan)


def within(peak: int, capacity: int | None) -> bool | None:
    return None if capacity is None else peak <= capacity


def title(plan: Plan) -> Lines:
    """What is run, and where."""
    parts = plan.mesh_shape.get(DATA, 1)
    shape = " x ".join(f"{name} {size}" for name, size in plan.mesh_shape.items())
    devices = f"{plan.device_count:,} devices, {shape}" if shape else "one device"
    yield f"{plan.parameters:,} parameters, {plan.optimizer}, on {plan.devices}: {devices}"
    last = f", the last of {plan.last_batch:,}" if plan.last_batch else ""
    yield f"{plan.samples:,} samples an epoch in {plan.steps:,} steps of {plan.batch_size:,}{last}"
    if not plan.divided:
        yield f"each device computes all of a batch, which {parts} parts do not divide"
    elif plan.last_batch % parts:
        yield f"each device computes all of the last batch, which {parts} parts do not divide"


def memory(plan: Plan) -> Lines:
    """What a device holds, and whether it can."""
    held = plan.memory
    yield from verdict(plan)
    others = held.arguments - held.params - held.opt_state - held.data
    sizes = {
        "parameters": held.params,
        "optimizer's state": held.opt_state,
        "data": held.data,
        "other, padding": others if 100 * others > held.peak else None,
        "state after": held.outputs,
        "temporaries": held.temporaries,
    }
    for name, size in sizes.items():
        if size:
            yield Row(name, quantity(size, "B"))
    yield Row("in all", quantity(held.peak, "B"), share(held.peak, held.capacity))
    yield Row(
        "in all in `fit`", quantity(held.peak_of_fit, "B"), share(held.peak_of_fit, held.capacity)
    )


def share(size: int, capacity: int | None) -> str:
    if not capacity:
        return ""
    percent = 100 * size / capacity
    return f"{percent:.{0 if percent >= 10 else 1}f} % of {quantity(capacity, 'B')}"


def verdict(plan: Plan) -> Lines:
    if plan.fits is None:
        yield "a device, whose memory is not known, holds"
    elif plan.fits_fit:
        yield "it fits; a device holds"
    elif plan.fits:
        yield "`train` fits; `fit` does not, as it keeps the state it was given; a device holds"
    else:
        yield "it does not fit; a device would hold"
        yield "  (less of it with a smaller batch_size, remat, compute_dtype, or other shardings)"


def step(plan: Plan) -> Lines:
    """What a step does."""
    yield "a step"
    total, own = (quantity(sum(f.values()), "FLOP") for f in (plan.flops, plan.flops_a_device))
    yield Row("products", total, f"{own} on a device" if plan.device_count > 1 else "")
    if plan.kernels is None:
        yield Row("kernels", "unknown", "the compiler refused")
    else:
        about = f"waits for the host: {plan.host_waits}" if plan.host_waits is not None else ""
        if plan.cycles:
            about += f"; compiler's estimate: {plan.cycles:,} cycles"
        yield Row("kernels", f"{plan.kernels:,}", about)
    for one in plan.exchanges:
        axes = " and ".join(one.axes) or "no axis"
        sent = f"{quantity(one.sent, 'B')} sent by a device"
        yield Row(one.kind, f"{one.count:,}", f"over {axes}, {sent}")


def limits(plan: Plan) -> Lines:
    """How fast it can be."""
    largest, most = plan.largest_limit, plan.samples_a_second
    if largest is None or most is None:
        yield "a step takes at least: unknown, there are no figures of this device"
        return
    yield "a step takes at least"
    for limit in plan.limits:
        mark = "  <- the most" if limit is largest else ""
        yield Row(limit.name, quantity(limit.seconds, "s"), f"{limit.reason}{mark}")
    yield f"so at most {float(f'{most:.3g}'):,.0f} samples a second"


def programs(plan: Plan) -> Lines:
    """What it takes to compile the run, and what compiles it again."""
    apart = "; `fit` compiles the smaller last batch apart" if plan.last_batch else ""
    yield f"compiled in {plan.compile_seconds:.0f} s{apart}"
    yield "compiled again for another task, optimizer, dtype, mesh, batch_size, number of samples"
    yield "or of epochs; not for other values of anything"
