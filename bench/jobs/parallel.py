"""The headline job on JAX's default device and over several, and several models at once."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnet
from bench.child import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, SAMPLES, SIZES, mnist, synthetic
from bench.jobs import with_fnet, with_jax
from bench.jobs.with_numpy import accuracy
from fnet.planning.compiled import read
from fnet.training.step import SCOPE

FORMS = ("vmap", "map")


def train(clock: Clock, folder: str, epochs: int) -> Result:
    """fnet's whole run as one program."""
    train, test = mnist(folder)
    data = jax.tree.map(jnp.asarray, train)
    net = with_fnet.network()
    state = with_fnet.start(net)
    options: dict[str, Any] = {"epochs": epochs, "batch_size": BATCH_SIZE}

    def run() -> Any:
        return jax.block_until_ready(fnet.train(with_fnet.task(net), state, data, **options))

    result = {"seconds": time_in_turns({"run": run})["run"]}
    return result | {"accuracy": with_fnet.accuracy(net, run()[0], test)}


def scanned(clock: Clock, folder: str, epochs: int) -> Result:
    """The run as one program again, written by hand."""
    train, (x_test, y_test) = mnist(folder)
    data = jax.tree.map(jnp.asarray, train)
    state, keys = (
        with_jax.init(jax.random.key(0), SIZES),
        jax.random.split(jax.random.key(1), epochs),
    )

    def run() -> Any:
        return jax.block_until_ready(by_hand(state, keys, data))

    result = {"seconds": time_in_turns({"run": run})["run"]}
    scores = jax.jit(with_jax.forward)(run()[0], flat(x_test))
    return result | {"accuracy": accuracy(scores, y_test)}


@jax.jit
def by_hand(state: Any, keys: jax.Array, data: Any) -> Any:
    """An epoch for each key: a scan over the batches of a permutation, and the smaller last one."""

    def one_step(state: Any, rows: jax.Array) -> tuple[Any, None]:
        x, y = (array[rows] for array in data)
        with jax.named_scope(SCOPE):  # by which `kernels` finds it
            return with_jax.update(state, flat(x), y), None

    def one_epoch(state: Any, key: jax.Array) -> tuple[Any, None]:
        order = jax.random.permutation(key, len(data[0]))
        whole = len(order) // BATCH_SIZE * BATCH_SIZE
        state, _ = jax.lax.scan(one_step, state, order[:whole].reshape(-1, BATCH_SIZE))
        return one_step(state, order[whole:]) if whole < len(order) else (state, None)

    return jax.lax.scan(one_epoch, state, keys)[0]


def kernels(clock: Clock, epochs: int) -> Result:
    """What a step is made of on this device, of the programs that hold a whole run."""
    data = tuple(map(jnp.asarray, synthetic(SAMPLES)))
    net = with_fnet.network()
    options: dict[str, Any] = {"epochs": epochs, "batch_size": BATCH_SIZE}
    task, state = with_fnet.task(net), with_fnet.start(net)
    ours = jax.jit(lambda state, data: fnet.train(task, state, data, **options)[0])
    theirs = with_jax.init(jax.random.key(0), SIZES), jax.random.split(jax.random.key(1), epochs)
    programs = {"train": ours.lower(state, data), "by hand": by_hand.lower(*theirs, data)}
    platform = jax.default_backend()
    figures = {name: read(lowered.compile()) for name, lowered in programs.items()}
    return {
        name: {"kernels": found.kernels, "host_waits": found.host_waits(platform)}
        for name, found in figures.items()
    }


def steps(clock: Clock, folder: str, epochs: int) -> Result:
    """fnet's step in a Python loop."""
    train, test = mnist(folder)
    data = jax.tree.map(jnp.asarray, train)
    net = with_fnet.network()
    step = fnet.train_step(with_fnet.task(net))

    def one(state: Any, batch: Any) -> Any:
        return step(state, batch)[0]

    result, state = looped(one, with_fnet.start(net), data, epochs)
    return result | {"accuracy": with_fnet.accuracy(net, state, test)}


def flax(clock: Clock, folder: str, epochs: int) -> Result:
    """Flax and optax in a Python loop."""
    train, (x_test, y_test) = mnist(folder)
    data = jax.tree.map(jnp.asarray, train)
    graph, state = with_jax.flax_start()

    def one(state: Any, batch: Any) -> Any:
        x, y = batch
        return with_jax.flax_updated(graph, state, flat(x), y)

    result, state = looped(one, state, data, epochs)
    scores = with_jax.flax_scores(graph, state, flat(x_test))
    return result | {"accuracy": accuracy(scores, y_test)}


def flat(x: Any) -> Any:
    return x.reshape(len(x), -1).astype(np.float32) / 255


def looped(one: Any, state: Any, data: Any, epochs: int) -> tuple[Result, Any]:
    """Only the numbers of the rows travel to the device, where the step gathers them."""

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, data: Any, rows: jax.Array) -> Any:
        return one(state, jax.tree.map(lambda array: array[rows], data))

    random = np.random.default_rng(0)

    def run() -> None:
        nonlocal state
        for _ in range(epochs):
            order = random.permutation(len(data[0])).astype(np.int32)
            for begin in range(0, len(order), BATCH_SIZE):
                state = step(state, data, order[begin : begin + BATCH_SIZE])
        jax.block_until_ready(state)

    return {"seconds": time_in_turns({"run": run})["run"]}, state


def ensemble(clock: Clock, members: int, samples: int) -> Result:
    """Seconds of an epoch of all members under vmap."""
    net = with_fnet.network()
    data = tuple(map(jnp.asarray, synthetic(samples)))
    states = started(net, members)

    @jax.jit
    def train(states: Any, data: Any) -> Any:
        options: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE}
        return jax.vmap(lambda state: fnet.train(with_fnet.task(net), state, data, **options)[0])(
            states
        )

    def run() -> None:
        jax.block_until_ready(train(states, data))

    return {"seconds": time_in_turns({"run": run})["run"]}


def members(clock: Clock, width: int, members: int) -> Result:
    """Seconds of an epoch of all members, and of one model alone, in turns."""
    net = with_fnet.network(sizes=(784, width, 10))
    images, labels = synthetic(100 * BATCH_SIZE)
    data = jnp.asarray(images), jnp.asarray(labels)
    states = started(net, members)
    one = with_fnet.start(net)
    options: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE}

    def many(form: Any) -> None:
        jax.block_until_ready(
            fnet.train_many(with_fnet.task(net), states, data, form=form, **options)
        )

    def alone() -> None:
        jax.block_until_ready(fnet.train(with_fnet.task(net), one, data, **options))

    calls: dict[str, Callable[[], None]] = {form: partial(many, form) for form in FORMS}
    return dict(time_in_turns(calls | {"alone": alone}, most=25))


def started(net: Any, members: int) -> fnet.TrainState:
    """The states of so many members, stacked."""
    keys = jax.random.split(jax.random.key(0), members)
    return jax.vmap(lambda key: fnet.train_state(net, "rmsprop", key, (28, 28)))(keys)


def mesh(clock: Clock, devices: int, samples: int, virtual: bool) -> Result:
    """Seconds of an epoch of `train`, without a mesh and on one, in turns."""
    if virtual:
        jax.config.update("jax_num_cpu_devices", devices)
    whole = jax.sharding.Mesh(jax.devices()[:devices], ("data",))
    net = with_fnet.network()
    state, data = with_fnet.start(net), synthetic(samples)
    options: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE}

    def train(mesh: Any) -> None:
        jax.block_until_ready(fnet.train(with_fnet.task(net), state, data, mesh=mesh, **options))

    return dict(time_in_turns({"mesh": lambda: train(whole), "alone": lambda: train(None)}))
