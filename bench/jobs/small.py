"""A model so small that what surrounds a step costs more than the step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnet
from bench.clock import Clock, Result, time_in_turns
from bench.data import SAMPLES, synthetic
from bench.jobs import with_fnet, with_jax

SIZES, BATCH_SIZE = (784, 16, 10), 32
STEPS = SAMPLES // BATCH_SIZE


def run(clock: Clock) -> Result:
    """Seconds a step of an epoch as one program, and of two loops in Python."""
    images, labels = synthetic(SAMPLES)
    calls = {
        "train": whole_run(images, labels),
        "train_step": step_loop(images, labels),
        "raw": raw_loop(images, labels),
    }
    times = time_in_turns(calls)
    return {name: [t / STEPS for t in times[name]] for name in calls}


def whole_run(images: Any, labels: Any) -> Any:
    net = with_fnet.network(sizes=SIZES)
    state, data = with_fnet.start(net), (jnp.asarray(images), jnp.asarray(labels))
    options: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE}
    return lambda: jax.block_until_ready(fnet.train(with_fnet.task(net), state, data, **options)[0])


def step_loop(images: Any, labels: Any) -> Any:
    """The batches lie cut on the device, so the loop does nothing but call the step."""
    net = with_fnet.network(sizes=SIZES)
    state = with_fnet.start(net)
    batches = [
        (jnp.asarray(images[start : start + BATCH_SIZE]), jnp.asarray(y))
        for start, y in zip(
            range(0, SAMPLES, BATCH_SIZE), labels.reshape(-1, BATCH_SIZE), strict=True
        )
    ]
    step = jax.jit(fnet.train_step(with_fnet.task(net)), donate_argnums=0)

    def run() -> None:
        nonlocal state
        for batch in batches:
            state, _ = step(state, batch)
        jax.block_until_ready(state)

    return run


def raw_loop(images: Any, labels: Any) -> Any:
    x = images.reshape(SAMPLES, -1).astype(np.float32) / 255
    state = with_jax.init(jax.random.key(0), SIZES)

    def run() -> None:
        nonlocal state
        order = np.random.default_rng(0).permutation(SAMPLES)
        for start in range(0, SAMPLES, BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            state = with_jax.step(state, x[rows], labels[rows])
        jax.block_until_ready(state)

    return run
