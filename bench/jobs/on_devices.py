"""The headline job over so many devices, virtual ones where there are no real ones."""

from typing import Any

import jax

import fnet
from bench.clock import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, synthetic
from bench.jobs import with_fnet


def run(clock: Clock, devices: int, samples: int, virtual: bool) -> Result:
    """Seconds of an epoch of `train`, without a mesh and on one, in turns."""
    if virtual:
        jax.config.update("jax_num_cpu_devices", devices)
    mesh = jax.sharding.Mesh(jax.devices()[:devices], ("data",))
    net = with_fnet.network()
    state, data = with_fnet.start(net), synthetic(samples)
    options: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE}

    def train(mesh: Any) -> None:
        jax.block_until_ready(fnet.train(with_fnet.task(net), state, data, mesh=mesh, **options))

    return dict(time_in_turns({"mesh": lambda: train(mesh), "alone": lambda: train(None)}))


def count(clock: Clock) -> Result:
    """How many real ones there are."""
    return {"devices": jax.device_count(), "kind": jax.devices()[0].device_kind}
