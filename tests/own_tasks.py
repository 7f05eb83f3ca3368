"""Tasks of one's own, of every kind there is, at the top of a module as users write them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnet

SAMPLES, BATCH_SIZE = 22, 8  # 2 * 8 + 6


class Case(NamedTuple):
    """A task, how its runs start, and what they are given."""

    task: fnet.Task
    params: Any
    data: Any
    model_state: Any = {}
    options: dict[str, Any] = {"batch_size": BATCH_SIZE}

    def start(self, key=0, optimizer=None) -> fnet.TrainState:
        key = jax.random.key(key) if isinstance(key, int) else key
        return fnet.TrainState.create(
            self.params, optimizer or fnet.adam(0.01), key, self.model_state
        )


def vae(params, images, key):
    """Sampling, a batch that is one array, and two values a sample."""
    mean, log_std = jnp.split(images @ params["encoder"], 2, axis=-1)
    z = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    reconstruction = jnp.square(z @ params["decoder"] - images).sum(-1)
    kl = (jnp.square(mean) + jnp.exp(2 * log_std) - 1 - 2 * log_std).sum(-1) / 2
    return {"kl": kl, "loss": reconstruction + kl}


def centred(params, model_state, batch, key):
    """A running mean, which is no parameter; another function at inference."""
    mean = 0.9 * model_state["mean"] + 0.1 * batch["x"].mean(0)
    error = jnp.square(batch["y"] - (batch["x"] - mean[None]) @ params["w"])
    return error, {"mean": mean, "seen": model_state["seen"] + 1}


def centred_at_inference(params, model_state, batch, key):
    error = batch["y"] - (batch["x"] - model_state["mean"][None]) @ params["w"]
    return {"loss": jnp.square(error), "absolute": jnp.abs(error)}, model_state


def drawn(params, batch, key):
    """No data: the task draws its own."""
    x = jax.random.normal(key, (5,)) + 3
    return jnp.square(x - params)


def three(params, batch, key):
    """A tree of three inputs, two of them in a tuple, and bytes among them."""
    (left, right), image = batch["pair"], batch["image"]
    features = left @ params[0] + right @ params[1]
    return jnp.square(features.sum(-1) - image.astype(float).mean((1, 2)))


def contrastive(params, batch, key):
    """A loss of the batch as a whole, whose samples depend on each other."""
    left, right = (view @ params["w"] for view in batch)
    logits = left @ right.T
    return {"loss": -jnp.diag(jax.nn.log_softmax(logits)).mean(), "scale": jnp.abs(logits).max()}


def detector(params, batch, key):
    """A statistic by hand, which is finished once an epoch."""
    x, y = batch
    logits = x @ params["w"]
    loss = jax.nn.softplus(logits) - y * logits
    return {"loss": loss, "f1": fnet.f1(y, jax.nn.sigmoid(logits))}


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X = normal(0, SAMPLES, 4)
Y = (X.sum(-1) > 0).astype(np.float32)
OWN = {
    "sampling": Case(
        fnet.task(vae), {"encoder": 0.3 * normal(1, 4, 4), "decoder": 0.3 * normal(2, 2, 4)}, X
    ),
    "stateful": Case(
        fnet.task(centred, stateful=True, evaluate=centred_at_inference),
        {"w": normal(1, 4)},
        {"x": X, "y": Y},
        {"mean": np.zeros(4, np.float32), "seen": 0},
    ),
    "without data": Case(fnet.task(drawn), np.float32(0), None, options={"steps": 3}),
    "three inputs": Case(
        fnet.task(three),
        (normal(1, 4, 2), normal(2, 3, 2)),
        {
            "pair": (X, normal(3, SAMPLES, 3)),
            "image": np.arange(SAMPLES * 4, dtype=np.uint8).reshape(SAMPLES, 2, 2),
        },
    ),
    "of the batch": Case(fnet.task(contrastive), {"w": normal(1, 4, 3)}, (X, X + normal(2, 22, 4))),
    "statistic": Case(
        fnet.penalized(
            fnet.sharpness_aware(fnet.task(detector), 0.1), fnet.l2(0.01, where=lambda path: True)
        ),
        {"w": normal(1, 4)},
        (X, Y),
    ),
}
