"""Keras 3 on its JAX backend."""

from typing import Any

import keras
import numpy as np

from bench.child import Clock, Result, time_in_turns
from bench.data import BATCH_SIZE, EPSILON, LEARNING_RATE, RHO, SIZES, flat_mnist, mnist
from bench.jobs.with_numpy import accuracy


def network(*first: Any, steps_per_execution: int = 1, metrics: tuple[str, ...] = ()) -> Any:
    keras.utils.set_random_seed(0)
    inputs, hidden, classes = SIZES
    dense = keras.layers.Dense
    layers = [*first, dense(hidden, activation="relu"), dense(classes, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(
        optimizer=keras.optimizers.RMSprop(LEARNING_RATE, rho=RHO, epsilon=EPSILON),
        loss="sparse_categorical_crossentropy",
        metrics=list(metrics),
        steps_per_execution=steps_per_execution,
    )
    return model


def run(clock: Clock, folder: str, epochs: int, steps_per_execution: int) -> Result:
    (x, y), (x_test, y_test) = flat_mnist(folder)
    inputs = keras.Input(SIZES[:1])
    model = network(inputs, steps_per_execution=steps_per_execution)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.epoch())
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=2, callbacks=[note])
    result = clock.result()
    return result | {"accuracy": accuracy(model.predict(x_test, verbose=0), y_test)}


def first_step(clock: Clock, folder: str, steps_per_execution: int) -> Result:
    """The same up to the end of the first call, in a process of its own.

    Waiting for every batch's logs, which a callback of batches makes Keras do, would slow down a
    whole run.
    """
    (x, y), _ = flat_mnist(folder)
    inputs = keras.Input(SIZES[:1])
    model = network(inputs, steps_per_execution=steps_per_execution)

    class Stop(Exception):
        pass

    def stop(batch: int, logs: Any) -> None:
        float(logs["loss"])  # waits for the step
        clock.step()
        raise Stop(batch)

    note = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    try:
        model.fit(x, y, batch_size=BATCH_SIZE, verbose=2, callbacks=[note])
    except Stop:
        pass
    return {"first_step": clock.first_step, "steps": steps_per_execution}


def inference(clock: Clock, folder: str, batch_size: int | None) -> Result:
    """From bytes on the host to probabilities, and to loss and accuracy."""
    (x, y), _ = mnist(folder)
    layers = keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()
    model = network(*layers, metrics=("accuracy",))
    options: dict[str, Any] = {"batch_size": batch_size, "verbose": 0}

    def predict() -> Any:
        return np.asarray(model.predict(x, **options))

    def evaluate() -> Any:
        return model.evaluate(x, y, **options)

    return time_in_turns({"predict": predict, "evaluate": evaluate})
