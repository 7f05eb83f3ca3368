"""fnet through its public functions."""

import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnet
from bench.child import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, EPSILON, LEARNING_RATE, RHO, SIZES, mnist


def network(*first: Any, sizes: tuple[int, ...] = SIZES) -> Any:
    _, *hidden, classes = sizes
    layers = [layer for width in hidden for layer in (fnet.dense(width), fnet.relu)]
    ends = fnet.dense(classes), fnet.softmax
    return fnet.sequential(*first, fnet.rescale(1 / 255), fnet.flatten, *layers, *ends)


def task(net: Any, *metrics: str) -> Any:
    return fnet.supervised(net, "sparse_categorical_crossentropy", metrics)


def optimizer() -> Any:
    return fnet.rmsprop(LEARNING_RATE, RHO, EPSILON)


def start(net: Any, seed: int = 0) -> Any:
    return fnet.train_state(net, optimizer(), jax.random.key(seed), (28, 28))


def load(folder: str, whole: bool) -> Any:
    return fnet.datasets.mnist() if whole else mnist(folder)


def accuracy(net: Any, state: Any, test: Any) -> float:
    return fnet.evaluate(task(net, "accuracy"), state, test)["accuracy"]


def fit(clock: Clock, folder: str, whole: bool, epochs: int) -> Result:
    """With its progress line, which goes to a pipe here."""
    train, test = load(folder, whole)
    net = network()
    state, _ = fnet.fit(
        task(net),
        start(net),
        train,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        callbacks=[lambda epoch, state, logs: clock.epoch()],
    )
    result = clock.result()
    return result | {"accuracy": accuracy(net, state, test)}


def fit_first_step(clock: Clock, folder: str, whole: bool) -> Result:
    """`fit` up to the end of its first call of the device.

    Ctrl-C makes `fit` return after the call it is in. It is pressed here while the first one is
    being traced, by a layer that does nothing else; how many steps were done is in the state.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it

    def press(x: Any) -> Any:
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # fit listens
            signal.raise_signal(signal.SIGINT)
        return x

    train, _ = load(folder, whole)
    net = network(press)
    state, _ = fnet.fit(task(net), start(net), train, batch_size=BATCH_SIZE)
    jax.block_until_ready(state.params)
    clock.step()
    return {"first_step": clock.first_step, "steps": int(state.step)}


def train(clock: Clock, folder: str, whole: bool, epochs: int) -> Result:
    """Called twice: the whole job is the first call, the steady time that of the second."""
    data, test = load(folder, whole)
    data = jax.tree.map(jnp.asarray, data)
    net = network()
    state = start(net)

    def run() -> Any:
        trained, _ = fnet.train(task(net), state, data, epochs=epochs, batch_size=BATCH_SIZE)
        return jax.block_until_ready(trained)

    trained = run()
    clock.epoch()
    result = clock.result()
    again = clock.now()
    run()
    steady = (clock.now() - again) / epochs
    return result | {"steady": steady, "accuracy": accuracy(net, trained, test)}


def fit_beside_train(clock: Clock, folder: str, whole: bool) -> Result:
    """Seconds of an epoch of both, in short turns in one process, where they differ the least."""
    data = jax.tree.map(jnp.asarray, load(folder, whole)[0])
    net = network()
    state = start(net)
    times: Result = {"fit": [], "train": []}
    options: dict[str, Any] = {"batch_size": BATCH_SIZE}
    for turn in range(13):
        ends: list[float] = []
        note = [lambda epoch, state, logs, ends=ends: ends.append(clock.now())]
        fnet.fit(task(net), state, data, epochs=2, callbacks=note, **options)
        began = clock.now()
        jax.block_until_ready(fnet.train(task(net), state, data, epochs=1, **options)[0])
        ended = clock.now()
        if turn:  # the first one compiles
            times["fit"].append(ends[1] - ends[0])
            times["train"].append(ended - began)
    return times


def inference(clock: Clock, folder: str) -> Result:
    """From bytes on the host to probabilities, and to loss and accuracy, batches as by default."""
    (x, y), _ = mnist(folder)
    net = network()
    state = start(net)

    def predict() -> Any:
        return np.asarray(fnet.predict(net, state, x))

    def evaluate() -> Any:
        return fnet.evaluate(task(net, "accuracy"), state, (x, y))

    return time_in_turns({"predict": predict, "evaluate": evaluate})
