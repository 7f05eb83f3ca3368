"""Writes known.safetensors: outputs and gradients of the recurrent layers of Keras 3.

Run with an environment that has it: KERAS_BACKEND=jax python tests/data/recurrent/make.py
"""

import itertools
import pathlib

import jax
import keras
import numpy as np
from keras import layers
from safetensors.numpy import save_file

LAYERS = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}
MASK = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1]], bool)  # the end, the start, the middle
UNITS = 2


def build(name, return_sequences):
    kind, *both = reversed(name.split("/"))
    layer = LAYERS[kind](UNITS, return_sequences=return_sequences)
    return layers.Bidirectional(layer) if both else layer


def write(path):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2, 5, 3)).astype(np.float32)
    known = {"x": x, "mask": MASK.astype(np.float32)}
    for name in (*LAYERS, "bidirectional/lstm"):
        weights = None
        for return_sequences, masked in itertools.product((False, True), (False, True)):
            layer = build(name, return_sequences)
            layer.build(x.shape)
            if weights is None:
                weights = [draw.normal(size=v.shape).astype(np.float32) for v in layer.weights]
                known |= {f"{name}/weights/{i}": array for i, array in enumerate(weights)}
            others = [variable.value for variable in layer.non_trainable_variables]
            mask = MASK if masked else None

            def run(weights, x, layer=layer, others=others, mask=mask):
                return layer.stateless_call(weights, others, x, mask=mask)[0]

            case = f"{name}/{'all' if return_sequences else 'last'}{'/masked' if masked else ''}"
            known[f"{case}/y"] = np.asarray(run(weights, x))
            if masked:
                slopes = jax.grad(lambda *both, run=run: (run(*both) ** 2).sum(), argnums=(0, 1))
                of_weights, of_x = slopes(weights, x)
                known |= {f"{case}/slope/{i}": np.asarray(g) for i, g in enumerate(of_weights)}
                known[f"{case}/slope/x"] = np.asarray(of_x)
    save_file(known, path)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    write(pathlib.Path(__file__).parent / "known.safetensors")
