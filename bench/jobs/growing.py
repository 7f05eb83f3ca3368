"""Seconds a step of fnet's whole run and of the raw loop, for one size of the job."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnet
from bench.clock import Clock, Result, time_in_turns
from bench.data import synthetic
from bench.jobs import with_fnet, with_jax

RAW_STEPS = 400  # at most; a Python loop needs no whole epoch


def point(clock: Clock, samples: int, batch_size: int, sizes: list[int]) -> Result:
    images, labels = synthetic(samples)
    calls, steps = {}, {}
    calls["fnet"], steps["fnet"] = whole_run(images, labels, batch_size, tuple(sizes))
    calls["raw"], steps["raw"] = raw_loop(images, labels, batch_size, tuple(sizes))
    times = time_in_turns(calls, most=15, seconds=1.5, warm=False)
    return {name: [t / steps[name] for t in times[name]] for name in calls}


def whole_run(images: Any, labels: Any, batch_size: int, sizes: tuple[int, ...]) -> Any:
    """`train` compiled ahead, so that long epochs need not run once to warm up."""
    net = with_fnet.network(sizes=sizes)
    state, x, y = with_fnet.start(net), jnp.asarray(images), jnp.asarray(labels)

    def run(state: Any, x: jax.Array, y: jax.Array) -> Any:
        data = x, y
        return fnet.train(with_fnet.task(net), state, data, epochs=1, batch_size=batch_size)[0]

    compiled = jax.jit(run).lower(state, x, y).compile()
    return lambda: jax.block_until_ready(compiled(state, x, y)), -(-len(x) // batch_size)


def raw_loop(images: Any, labels: Any, batch_size: int, sizes: tuple[int, ...]) -> Any:
    flat = images.reshape(len(images), -1)
    x = np.multiply(flat, np.float32(1 / 255), dtype=np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    steps = min(len(x) // batch_size, RAW_STEPS)
    state = with_jax.init(jax.random.key(0), sizes)

    def run() -> None:
        nonlocal state
        for start in range(0, steps * batch_size, batch_size):
            rows = order[start : start + batch_size]
            state = with_jax.step(state, x[rows], labels[rows])
        jax.block_until_ready(state)

    rows = order[:batch_size]
    state = with_jax.step(state, x[rows], labels[rows])  # compiles
    return run, steps
