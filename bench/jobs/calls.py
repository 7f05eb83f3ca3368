"""What a call costs over the compiled programs beneath it, which runs of a few steps would feel."""

from typing import Any

import jax
import jax.numpy as jnp

import fnet
from bench.clock import Clock, Result, time_in_turns
from bench.data import synthetic
from bench.jobs import with_fnet
from fnet.distributed.sharding import Devices
from fnet.fitting.sources import segment_steps
from fnet.training.epochs import run
from fnet.training.evaluate import BATCH_SIZE, compiled_means
from fnet.training.program import make_program
from fnet.training.step import empty_sums

SAMPLES, BATCH = 256, 128


def beside_programs(clock: Clock, depth: int) -> Result:
    """Seconds of each public call, and of its compiled programs called by themselves."""
    net = with_fnet.network(sizes=(784, *[16] * (depth - 1), 10))
    task, state = with_fnet.task(net, "accuracy"), with_fnet.start(net)
    data = jax.tree.map(jnp.asarray, synthetic(SAMPLES))
    program = make_program(task, (), 1, Devices()).with_names(("loss", "accuracy"))

    def fit_programs() -> Any:
        sums, later = jax.device_put(empty_sums(program, 2)), state
        for step in range(2):
            (later, sums), flags = segment_steps(
                program, later, sums, data, 0, 0, step, step + 1, BATCH, BATCH, True
            )
            flags.block_until_ready()
        return jax.block_until_ready(later)

    def mean_programs() -> Any:
        return jax.device_get(
            compiled_means(program, state.params, state.model_state, data, min(SAMPLES, BATCH_SIZE))
        )

    calls = {
        "fit": lambda: fnet.fit(task, state, data, batch_size=BATCH, progress=False),
        "fit, programs": fit_programs,
        "train": lambda: jax.block_until_ready(
            fnet.train(task, state, data, epochs=1, batch_size=BATCH)
        ),
        "train, programs": lambda: jax.block_until_ready(
            run(program, state, data, None, 1, BATCH, True)
        ),
        "evaluate": lambda: fnet.evaluate(task, state, data),
        "evaluate, programs": mean_programs,
    }
    return dict(time_in_turns(calls, most=200, seconds=4))
