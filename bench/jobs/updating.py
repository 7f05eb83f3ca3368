"""The optimizer's update alone, of the same million parameters in more and more arrays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnet
from bench.clock import Clock, Result, time_in_turns
from bench.data import EPSILON, LEARNING_RATE, RHO

PARAMETERS, CALLS = 1_000_000, 20

RULES: dict[str, Any] = {
    "fnet rmsprop": fnet.rmsprop(LEARNING_RATE, RHO, EPSILON),
    "optax rmsprop": optax.rmsprop(LEARNING_RATE, decay=RHO, eps=EPSILON),
    "fnet adam": fnet.adam(LEARNING_RATE),
    "optax adam": optax.adam(LEARNING_RATE),
}


def run(clock: Clock, leaves: int) -> Result:
    """Seconds an update."""
    times = time_in_turns({name: updates(rule, leaves) for name, rule in RULES.items()}, most=15)
    return {name: [t / CALLS for t in times[name]] for name in RULES}


def updates(rule: Any, leaves: int) -> Callable[[], None]:
    random = np.random.default_rng(0)
    params, grads = (
        {
            f"leaf_{i}": jnp.asarray(random.standard_normal(PARAMETERS // leaves, np.float32))
            for i in range(leaves)
        }
        for _ in range(2)
    )
    opt_state = rule.init(params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, opt_state: Any, grads: Any) -> Any:
        if isinstance(rule, optax.GradientTransformation):
            changes, opt_state = rule.update(grads, opt_state, params)
            return optax.apply_updates(params, changes), opt_state
        return rule.update(grads, opt_state, params)

    def run() -> None:
        nonlocal params, opt_state
        for _ in range(CALLS):
            params, opt_state = update(params, opt_state, grads)
        jax.block_until_ready(params)

    return run
