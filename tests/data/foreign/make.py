"""Writes files.zip and towers.zip: models of Keras 3 and PyTorch as saved, and predictions.

Run with an environment that has both: KERAS_BACKEND=jax python tests/data/foreign/make.py
With a library, a model, a file of weights, one of inputs and one for predictions, it predicts.
"""

import pathlib
import sys
import tempfile
import zipfile

import keras
import numpy as np
import torch
from keras import layers
from safetensors.numpy import save_file
from safetensors.torch import load_file as load_state_dict, save_file as save_state_dict
from torch import nn

ARCHIVE = pathlib.Path(__file__).parent / "files.zip"
TOWERS = ARCHIVE.with_name("towers.zip")
SIZE = 8  # samples


def keras_dense():
    inner = keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(3, use_bias=False)])
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, activation="relu"),
            layers.Dropout(0.5),
            inner,
            layers.Dense(2, activation="softmax"),
        ]
    )


def keras_conv():
    return keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            layers.Conv2D(3, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Reshape((6, 3)),
            layers.Conv1D(4, 2),
            layers.GroupNormalization(2),
            layers.Conv1D(4, 2, groups=2, use_bias=False),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def keras_attention():
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 8)(ids)
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.LayerNormalization()(x)
    x = layers.RMSNormalization()(x)
    return keras.Model(ids, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def keras_towers():
    """Two inputs, an encoder that both share, and two outputs."""
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    inner = [keras.Input((4,)), layers.Dense(3, activation="tanh"), layers.BatchNormalization()]
    encoder = keras.Sequential(inner)
    codes = encoder(left), encoder(right)
    same = layers.Dense(1, activation="sigmoid")(layers.multiply(codes))
    kind = layers.Dense(2)(layers.concatenate([*codes, right]))
    return keras.Model({"left": left, "right": right}, {"same": same, "kind": kind})


def keras_more():
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.ZeroPadding2D((1, 0)),
            layers.DepthwiseConv2D(2, depth_multiplier=2),
            layers.BatchNormalization(scale=False),
            layers.PReLU(shared_axes=[1, 2]),
            layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
            layers.UpSampling2D(2),
            layers.SeparableConv2D(4, 2),
            layers.LayerNormalization(center=False),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2),
        ]
    )


def keras_recurrent():
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.Bidirectional(layers.GRU(3, return_sequences=True)),
            layers.LSTM(4, return_sequences=True, use_bias=False),
            layers.GRU(2, return_sequences=True),
            layers.SimpleRNN(3),
            layers.Dense(2),
        ]
    )


def keras_grouped():
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 8)(ids)
    x = layers.GroupQueryAttention(3, 4, 2)(x, x)
    return keras.Model(ids, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.heads = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.rms = nn.RMSNorm(8, eps=1e-6)
        self.out = nn.Linear(8, 3)

    def forward(self, ids):
        x = self.embed(ids)
        x = x + self.heads(x, x, x, need_weights=False)[0]
        return self.out(self.rms(self.norm(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
        self.second = nn.GRU(8, 3, batch_first=True, bidirectional=True)
        self.lstm = nn.LSTM(6, 4, batch_first=True, bias=False)
        self.gru = nn.GRU(4, 2, batch_first=True)
        self.rnn = nn.RNN(2, 3, batch_first=True)
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        for layer in (self.first, self.second, self.lstm, self.gru, self.rnn):
            x, _ = layer(x)
        return self.out(x[:, -1])


def torch_dense():
    inner = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3, bias=False))
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), inner, nn.Linear(3, 2), nn.Softmax(-1))


def torch_conv():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2, groups=1, bias=False),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def torch_more():
    return nn.Sequential(
        nn.ZeroPad2d((0, 0, 1, 1)),
        nn.Conv2d(3, 6, 2, groups=3),
        nn.BatchNorm2d(6, affine=False),
        nn.PReLU(6),
        nn.ConvTranspose2d(6, 3, 3, stride=2),
        nn.Upsample(scale_factor=2),
        nn.Flatten(),
        nn.Linear(3 * 22 * 14, 2),
    )


def torch_ranks():
    return nn.Sequential(
        nn.Conv3d(2, 4, (2, 1, 3), groups=2),
        nn.Flatten(2),
        nn.BatchNorm1d(4),
        nn.Conv1d(4, 3, 2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(33, 2),
    )


MODELS = {
    "keras": {
        "dense": keras_dense,
        "conv": keras_conv,
        "attention": keras_attention,
        "more": keras_more,
        "grouped": keras_grouped,
        "recurrent": keras_recurrent,
    },
    "torch": {
        "dense": torch_dense,
        "conv": torch_conv,
        "attention": Attention,
        "more": torch_more,
        "ranks": torch_ranks,
        "recurrent": Recurrent,
    },
}


def inputs():
    draw = np.random.default_rng(0)
    return {
        "dense": draw.normal(size=(SIZE, 5)).astype(np.float32),
        "conv": draw.normal(size=(SIZE, 6, 5, 2)).astype(np.float32),
        "attention": draw.integers(0, 9, (SIZE, 6)).astype(np.int32),
        "more": draw.normal(size=(SIZE, 4, 4, 3)).astype(np.float32),
        "grouped": draw.integers(0, 9, (SIZE, 6)).astype(np.int32),
        "recurrent": draw.normal(size=(SIZE, 5, 3)).astype(np.float32),
    }


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 3 else x


def shaken(array, draw):
    """Other numbers than zeros and ones, so that no bias or scale can be mistaken for another."""
    return (array + draw.uniform(0.1, 0.6, array.shape)).astype(np.float32)


def write(folder):
    keras.utils.set_random_seed(0)
    torch.manual_seed(0)
    draw = np.random.default_rng(1)
    known = {}
    for name, x in inputs().items():
        known[f"{name}/x"] = x
        model = MODELS["keras"][name]()
        model.compile("adam" if name == "dense" else "sgd", "mse", metrics=["mae"])
        model.fit(x, np.zeros((SIZE, *model.output_shape[1:])), epochs=2, verbose=0)
        for variable in model.trainable_variables:
            variable.assign(shaken(np.asarray(variable), draw))
        model.save_weights(folder / f"{name}.weights.h5")
        model.save(folder / f"{name}.keras")
        known[f"{name}/keras"] = np.asarray(model(x))
        if name not in MODELS["torch"]:
            continue
        module = MODELS["torch"][name]()
        x = torch.from_numpy(channels_first(x))
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.from_numpy(shaken(parameter.numpy(), draw)))
            module(x)  # moves the running statistics
            module.eval()
            known[f"{name}/torch"] = module(x).numpy()
        save_state_dict(module.state_dict(), folder / f"{name}.torch.safetensors")
    save_file(known, folder / "known.safetensors")


def write_towers(folder):
    """A functional model; in the file `dense` is the head of "kind", `dense_1` that of "same"."""
    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(2)
    model = keras_towers()
    for variable in model.variables:
        variable.assign(shaken(np.asarray(variable), draw))
    x = {name: draw.normal(size=(SIZE, 4)).astype(np.float32) for name in ("left", "right")}
    model.save_weights(folder / "towers.weights.h5")
    y = {name: np.asarray(output) for name, output in model(x).items()}
    save_file({**x, **y}, folder / "known.safetensors")


def predict(library, name, weights, x, out):
    model, x = MODELS[library][name](), np.load(x)
    if library == "keras":
        model.load_weights(weights)
        np.save(out, np.asarray(model(x)))
        return
    model.load_state_dict(load_state_dict(weights))
    with torch.no_grad():
        np.save(out, model.eval()(torch.from_numpy(channels_first(x))).numpy())


if __name__ == "__main__" and sys.argv[1:]:
    predict(*sys.argv[1:])
elif __name__ == "__main__":
    for work, target in ((write, ARCHIVE), (write_towers, TOWERS)):
        with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(target, "w") as archive:
            work(pathlib.Path(name))
            for path in sorted(pathlib.Path(name).iterdir()):
                archive.write(path, path.name, zipfile.ZIP_DEFLATED, 9)
