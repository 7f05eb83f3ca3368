"""Seconds a step of a VAE and of an LSTM: `train`, the same as a scan, and as a loop of steps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import fnet
from bench.child import Clock, Result, time_in_turns
from bench.data import synthetic

BATCH_SIZE, STEPS = 128, 100
FEATURES, HIDDEN, LATENT, UNITS = 784, 256, 16, 64
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8

Loss = Callable[[Any, Any, jax.Array], jax.Array]  # (params, batch, key) -> (batch,)


def vae_params(key: jax.Array) -> Any:
    sizes = {"encoder": (FEATURES, HIDDEN), "code": (HIDDEN, 2 * LATENT)}
    sizes |= {"decoder": (LATENT, HIDDEN), "image": (HIDDEN, FEATURES)}
    keys = jax.random.split(key, len(sizes))
    return {
        name: {"kernel": jax.random.normal(key, shape) / 28, "bias": jnp.zeros(shape[1])}
        for key, (name, shape) in zip(keys, sizes.items(), strict=True)
    }


def vae_loss(params: Any, batch: Any, key: jax.Array) -> jax.Array:
    def dense(name: str, x: jax.Array) -> jax.Array:
        return x @ params[name]["kernel"] + params[name]["bias"]

    x = batch.astype(jnp.float32) / 255
    mean, log_std = jnp.split(dense("code", jax.nn.relu(dense("encoder", x))), 2, axis=-1)
    z = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    logits = dense("image", jax.nn.relu(dense("decoder", z)))
    crossentropy = (jax.nn.softplus(logits) - x * logits).sum(-1)
    divergence = (mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std).sum(-1) / 2
    return crossentropy + divergence


def lstm_loss(params: Any, batch: Any, key: jax.Array) -> jax.Array:
    """Rows of an image in time, the digit from the last state; by hand, in fnet's layout."""
    x, y = batch
    x, (cell, head) = x.astype(jnp.float32) / 255, (params["lstm"], params["dense"])

    def step(carry: Any, x: jax.Array) -> Any:
        h, c = carry
        gates = x @ cell["kernel"] + h @ cell["recurrent_kernel"] + cell["bias"]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    start = jnp.zeros((len(x), UNITS))
    (h, _), _ = jax.lax.scan(step, (start, start), x.transpose(1, 0, 2))
    log_p = jax.nn.log_softmax(h @ head["kernel"] + head["bias"])
    return -jnp.take_along_axis(log_p, y[:, None], axis=1)[:, 0]


def vae(clock: Clock) -> Result:
    images, _ = synthetic(BATCH_SIZE * STEPS)
    data, params = jnp.asarray(images.reshape(-1, FEATURES)), vae_params(jax.random.key(0))
    return compared(fnet.task(vae_loss), vae_loss, params, data)


def lstm(clock: Clock) -> Result:
    images, labels = synthetic(BATCH_SIZE * STEPS)
    data = jnp.asarray(images.reshape(-1, 28, 28)), jnp.asarray(labels)
    net = fnet.sequential(fnet.rescale(1 / 255), fnet.lstm(UNITS), fnet.dense(10), fnet.softmax)
    params = fnet.init(net, jax.random.key(0), (28, 28))
    task = fnet.supervised(net, "sparse_categorical_crossentropy")
    return compared(task, lstm_loss, params, data)


def compared(task: fnet.Task, loss: Loss, params: Any, data: Any) -> Result:
    """Seconds a step of each, in turns in one process."""
    optimizer = fnet.adam(LEARNING_RATE, BETA_1, BETA_2, EPSILON)
    state = fnet.TrainState.create(params, optimizer, jax.random.key(0))
    options: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE}
    zeros = jax.tree.map(jnp.zeros_like, params)
    start = (params, zeros, zeros, jnp.zeros((), int)), jax.random.key(0)
    step = jax.jit(partial(adam_step, loss))
    epoch = jax.jit(partial(scanned, loss))

    def loop() -> Any:
        carry, key = start
        order = jax.random.permutation(key, BATCH_SIZE * STEPS).reshape(STEPS, BATCH_SIZE)
        for rows in order:
            carry, _ = step(carry, data, rows, key)
        return carry

    calls = {
        "train": lambda: fnet.train(task, state, data, **options),
        "scan": lambda: epoch(*start, data),
        "loop": loop,
    }
    ready = {name: lambda call=call: jax.block_until_ready(call()) for name, call in calls.items()}
    times = time_in_turns(ready, most=15, seconds=20)
    return {name: [t / STEPS for t in values] for name, values in times.items()}


def adam_step(loss: Loss, carry: Any, data: Any, rows: jax.Array, key: jax.Array) -> Any:
    params, m, v, t = carry
    batch, key = jax.tree.map(lambda array: array[rows], data), jax.random.fold_in(key, t)
    value, grads = jax.value_and_grad(lambda p: loss(p, batch, key).mean())(params)
    t = t + 1
    m = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, grads)
    v = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g**2, v, grads)
    rate = LEARNING_RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
    params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
    return (params, m, v, t), value


def scanned(loss: Loss, carry: Any, key: jax.Array, data: Any) -> Any:
    order = jax.random.permutation(key, BATCH_SIZE * STEPS).reshape(STEPS, BATCH_SIZE)
    return jax.lax.scan(lambda carry, rows: adam_step(loss, carry, data, rows, key), carry, order)
