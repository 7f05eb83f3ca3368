"""Several models of one width trained at once, in each form that `train_many` has."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import fnet
from bench.clock import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, synthetic
from bench.jobs import with_fnet

SAMPLES = 100 * BATCH_SIZE
FORMS = ("vmap", "map")


def run(clock: Clock, width: int, members: int) -> Result:
    """Seconds of an epoch of all members, and of one model alone, in turns."""
    net = with_fnet.network(sizes=(784, width, 10))
    images, labels = synthetic(SAMPLES)
    data = jnp.asarray(images), jnp.asarray(labels)
    states = jax.vmap(partial(started, net))(jax.random.split(jax.random.key(0), members))
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


def started(net: Any, key: jax.Array) -> fnet.TrainState:
    return fnet.train_state(net, "rmsprop", key, (28, 28))
