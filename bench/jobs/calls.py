"""Seconds of steps and calls: a whole run and loops around a step, repeated calls, updates."""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnet
from bench.child import Clock, Result, time_in_turns
from bench.data import EPSILON, LEARNING_RATE, RHO, SAMPLES, synthetic
from bench.jobs import with_fnet, with_jax

RAW_STEPS = 400  # at most, where sizes grow; a Python loop needs no whole epoch
PARAMETERS, UPDATES = 1_000_000, 20


def step_of(clock: Clock, samples: int, batch_size: int, sizes: list[int]) -> Result:
    """Seconds a step of fnet's whole run and of the loop by hand, for one size of the job."""
    images, labels = synthetic(samples)
    raw_steps = min(samples // batch_size, RAW_STEPS)
    calls = {
        "fnet": whole_run(images, labels, batch_size, tuple(sizes)),
        "raw": raw_loop(images, labels, batch_size, tuple(sizes), raw_steps),
    }
    steps = {"fnet": -(-samples // batch_size), "raw": raw_steps}
    times = time_in_turns(calls, most=15, seconds=1.5, warm=False)
    return {name: [t / steps[name] for t in times[name]] for name in calls}


def small(clock: Clock) -> Result:
    """Seconds a step of a model so small that what surrounds a step costs more than the step."""
    sizes, batch_size = (784, 16, 10), 32
    images, labels = synthetic(SAMPLES)
    steps = SAMPLES // batch_size
    net = with_fnet.network(sizes=sizes)
    task, state = with_fnet.task(net), with_fnet.start(net)
    data = jnp.asarray(images), jnp.asarray(labels)

    def train() -> None:
        jax.block_until_ready(fnet.train(task, state, data, epochs=1, batch_size=batch_size))

    calls = {
        "train": train,
        "train_step": step_loop(task, state, data, batch_size),
        "raw": raw_loop(images, labels, batch_size, sizes, steps),
    }
    return {name: [t / steps for t in times] for name, times in time_in_turns(calls).items()}


def whole_run(
    images: Any, labels: Any, batch_size: int, sizes: tuple[int, ...]
) -> Callable[[], None]:
    """`train` compiled ahead, so that long epochs need not run once to warm up."""
    net = with_fnet.network(sizes=sizes)
    state, data = with_fnet.start(net), (jnp.asarray(images), jnp.asarray(labels))

    def run(state: Any, data: Any) -> Any:
        return fnet.train(with_fnet.task(net), state, data, epochs=1, batch_size=batch_size)[0]

    compiled = jax.jit(run).lower(state, data).compile()
    return lambda: jax.block_until_ready(compiled(state, data))


def step_loop(task: Any, state: Any, data: Any, batch_size: int) -> Callable[[], None]:
    """The batches lie cut on the device, so the loop does nothing but call the step."""
    step = jax.jit(fnet.train_step(task), donate_argnums=0)
    state = jax.tree.map(jnp.copy, state)  # the first step gives its memory away
    batches = [
        tuple(array[start : start + batch_size] for array in data)
        for start in range(0, len(data[0]), batch_size)
    ]

    def run() -> None:
        nonlocal state
        for batch in batches:
            state, _ = step(state, batch)
        jax.block_until_ready(state)

    return run


def raw_loop(
    images: Any, labels: Any, batch_size: int, sizes: tuple[int, ...], steps: int
) -> Callable[[], None]:
    """So many steps of JAX by hand, compiled, over batches that NumPy gathers."""
    flat = images.reshape(len(images), -1)
    x = np.multiply(flat, np.float32(1 / 255), dtype=np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    state = with_jax.init(jax.random.key(0), sizes)

    def run(steps: int) -> None:
        nonlocal state
        for start in range(0, steps * batch_size, batch_size):
            rows = order[start : start + batch_size]
            state = with_jax.step(state, x[rows], labels[rows])
        jax.block_until_ready(state)

    run(1)
    return partial(run, steps)


def repeated(clock: Clock, depth: int) -> Result:
    """Median seconds of each public call, and of its compiled programs called by themselves."""
    from fnet.data.batches import Samples
    from fnet.data.shuffle import epoch_order
    from fnet.distributed.sharding import Devices
    from fnet.fitting.sources import segment_steps
    from fnet.training.epochs import run
    from fnet.training.evaluate import compiled_means
    from fnet.training.predict import outputs
    from fnet.training.program import make_program, training_values
    from fnet.training.signature import batch_like
    from fnet.training.step import empty_sums

    samples, batch_size = 256, 128
    net = with_fnet.network(sizes=(784, *[16] * (depth - 1), 10))
    task, state = with_fnet.task(net, "accuracy"), with_fnet.start(net)
    params, model_state = state.params, state.model_state
    data = jax.tree.map(jnp.asarray, synthetic(samples))
    devices = Devices()
    batch = batch_like(data, batch_size)
    values = training_values(task, params, model_state, batch, state.key)
    program = make_program(task, (), 1, devices).with_values(values)
    sizes: dict[str, Any] = {"batch_size": batch_size}

    def fit_programs() -> None:
        sums, later = jax.device_put(empty_sums(program, samples // batch_size)), state
        rows, order = Samples.of(data), epoch_order(state.key, 0, samples)
        for step in range(samples // batch_size):
            (later, sums), flags = segment_steps(
                program, later, sums, rows, order, 0, step, step + 1, batch_size, batch_size, 1
            )
            flags.block_until_ready()
        jax.block_until_ready(later)

    calls: dict[str, Callable[[], Any]] = {
        "fit": lambda: fnet.fit(task, state, data, progress=False, **sizes),
        "fit, programs": fit_programs,
        "train": lambda: fnet.train(task, state, data, epochs=1, **sizes),
        "train, programs": lambda: run(program, state, data, None, 1, batch_size, True, None),
        "evaluate": lambda: fnet.evaluate(task, state, data),
        "evaluate, programs": lambda: jax.device_get(
            compiled_means(program, params, model_state, data, state.step, samples)
        ),
        "predict": lambda: fnet.predict(net, state, data[0]),
        "predict, programs": lambda: outputs(net, params, model_state, data[0], samples, devices),
    }
    finished = {
        name: lambda call=call: jax.block_until_ready(call()) for name, call in calls.items()
    }
    times = time_in_turns(finished, most=200, seconds=6)
    return {name: median(values) for name, values in times.items()}


def update(clock: Clock, leaves: int) -> Result:
    """Seconds of an optimizer's update alone, of the same million parameters in so many arrays."""
    import optax

    rules: dict[str, Any] = {
        "fnet rmsprop": fnet.rmsprop(LEARNING_RATE, RHO, EPSILON),
        "optax rmsprop": optax.rmsprop(LEARNING_RATE, decay=RHO, eps=EPSILON),
        "fnet adam": fnet.adam(LEARNING_RATE),
        "optax adam": optax.adam(LEARNING_RATE),
    }

    def with_optax(rule: Any, grads: Any, opt_state: Any, params: Any) -> Any:
        changes, opt_state = rule.update(grads, opt_state, params)
        return optax.apply_updates(params, changes), opt_state

    calls = {
        name: updates(
            rule.init, partial(with_optax, rule) if "optax" in name else rule.update, leaves
        )
        for name, rule in rules.items()
    }
    times = time_in_turns(calls, most=15)
    return {name: [t / UPDATES for t in times[name]] for name in rules}


def updates(init: Any, update: Any, leaves: int) -> Callable[[], None]:
    """Several updates, `update(grads, opt_state, params) -> params, opt_state`."""
    random = np.random.default_rng(0)
    params, grads = (
        {
            f"leaf_{i}": jnp.asarray(random.standard_normal(PARAMETERS // leaves, np.float32))
            for i in range(leaves)
        }
        for _ in range(2)
    )
    opt_state = init(params)
    jitted = jax.jit(update, donate_argnums=(1, 2))

    def run() -> None:
        nonlocal params, opt_state
        for _ in range(UPDATES):
            params, opt_state = jitted(grads, opt_state, params)
        jax.block_until_ready(params)

    return run
