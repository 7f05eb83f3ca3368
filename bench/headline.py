"""The headline job, 784-512-10 with RMSProp on 60,000 images, beside a raw jitted loop.

    make bench

Each contender runs in a fresh process, in turn, several rounds; the table shows medians. Seconds
count from the start of the process; a steady epoch is one after the first.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS, EPOCHS, BATCH_SIZE = 5, 5, 128
Result = dict[str, float]


def model() -> Any:
    import fnet

    return fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(512),
        fnet.relu,
        fnet.dense(10),
        fnet.softmax,
    )


def start() -> tuple[Any, Any, Any, Any]:
    import jax

    import fnet

    train, test = fnet.datasets.mnist()
    net = model()
    return net, fnet.train_state(net, "rmsprop", jax.random.key(0), (28, 28)), train, test


def accuracy(net: Any, state: Any, test: Any) -> float:
    import fnet

    loss = "sparse_categorical_crossentropy"
    return fnet.evaluate(net, state, test, loss=loss, metrics=["accuracy"])["accuracy"]


def fit(began: float) -> Result:
    import fnet

    net, state, train, test = start()
    ends: list[float] = []
    state, _ = fnet.fit(
        net,
        state,
        train,
        loss="sparse_categorical_crossentropy",
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        progress=False,
        callbacks=[lambda epoch, state, logs: ends.append(time.time())],
    )
    total = ends[-1] - began
    return {"steady": (ends[-1] - ends[0]) / (EPOCHS - 1), "total": total} | {
        "accuracy": accuracy(net, state, test)
    }


def train(began: float) -> Result:
    import jax

    import fnet

    net, state, data, test = start()

    def run(state: Any) -> Any:
        loss = "sparse_categorical_crossentropy"
        options: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH_SIZE}
        return jax.block_until_ready(fnet.train(net, state, data, loss=loss, **options)[0])

    trained = run(state)
    total = time.time() - began
    again = time.time()
    run(state)
    steady = (time.time() - again) / EPOCHS
    return {"steady": steady, "total": total, "accuracy": accuracy(net, trained, test)}


def raw(began: float) -> Result:
    """What one writes without a library: a jitted step in a Python loop over NumPy batches."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import fnet

    (x, y), test = fnet.datasets.mnist()
    images = x.reshape(len(x), -1).astype(np.float32) / 255

    @jax.jit
    def init(key: Any) -> Any:
        glorot = jax.nn.initializers.glorot_uniform()
        keys = jax.random.split(key)
        return {
            "dense": {"kernel": glorot(keys[0], (784, 512)), "bias": jnp.zeros(512)},
            "dense_1": {"kernel": glorot(keys[1], (512, 10)), "bias": jnp.zeros(10)},
        }

    def loss(params: Any, x: Any, y: Any) -> Any:
        first, second = params["dense"], params["dense_1"]
        h = jax.nn.relu(x @ first["kernel"] + first["bias"])
        z = h @ second["kernel"] + second["bias"]
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()

    @jax.jit
    def step(params: Any, v: Any, x: Any, y: Any) -> Any:
        grads = jax.grad(loss)(params, x, y)
        v = jax.tree.map(lambda v, g: 0.9 * v + 0.1 * g**2, v, grads)
        update = jax.tree.map(lambda g, v: 1e-3 * g / jnp.sqrt(v + 1e-7), grads, v)
        return jax.tree.map(jnp.subtract, params, update), v

    params = init(jax.random.key(0))
    v = jax.tree.map(jnp.zeros_like, params)
    random, ends = np.random.default_rng(0), []
    for _ in range(EPOCHS):
        order = random.permutation(len(images))
        for start in range(0, len(images), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            params, v = step(params, v, images[rows], y[rows])
        jax.block_until_ready(params)
        ends.append(time.time())
    return {
        "steady": (ends[-1] - ends[0]) / (EPOCHS - 1),
        "total": ends[-1] - began,
        "accuracy": accuracy(model(), params, test),
    }


CONTENDERS: dict[str, Callable[[float], Result]] = {"fit": fit, "train": train, "raw": raw}


def main() -> None:
    results: dict[str, list[Result]] = {name: [] for name in CONTENDERS}
    for _ in range(ROUNDS):
        for name in CONTENDERS:
            began = repr(time.time())
            printed = subprocess.check_output([sys.executable, __file__, name, began], text=True)
            results[name].append(json.loads(printed.splitlines()[-1]))
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in results.items()
    }
    print("contender   s an epoch   raw / it   whole job, s   raw / it   test accuracy")
    for name, row in medians.items():
        steady, total = (medians["raw"][key] / row[key] for key in ("steady", "total"))
        print(
            f"{name:9}   {row['steady']:10.2f}   {steady:8.2f}   {row['total']:12.2f}   "
            f"{total:8.2f}   {row['accuracy']:13.4f}"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(CONTENDERS[sys.argv[1]](float(sys.argv[2]))))
    else:
        main()
