"""Bad input to every public function: refused in words, before anything is compiled or written.

The words are three sentences: what must hold, what came, how to fix it.
"""

import dataclasses
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import LOSS, classifier, images, start

import fnet

NET, STATE, (X, Y) = classifier(), start(), images(50)
OTHER = start(fnet.sequential(fnet.flatten, fnet.dense(3), fnet.softmax))
WIDER = start(classifier(17))
ONE_HOT = np.eye(3, dtype=np.float32)[Y]
FLOAT = fnet.sequential(fnet.flatten, fnet.dense(3), fnet.softmax)
WITH_NAN = np.where(np.arange(50 * 16).reshape(50, 4, 4) == 37, np.nan, 1.0).astype(np.float32)
INFINITE = np.full((50, 3), np.inf, np.float32)
KEY, KEYS = jax.random.key(0), jax.random.split(jax.random.key(0), 2)
PARAMS = {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}
ROWS_OF_3 = jnp.ones((5, 3), np.float32)
ONE_ROW = jnp.ones(3, np.float32)
PROBABILITIES = jnp.full((50, 3), 1 / 3, np.float32)
ADAM_STATE = STATE.opt_state
# On the device: to bring them there is a small program of its own.
IMAGES, LABELS, NARROW, IDS, PAIRS = map(
    jnp.asarray, (X, Y, X[:, :3], Y[:3][None], np.ones((5, 2), np.float32))
)
PROGRAM = fnet.load_exported(fnet.export(fnet.relu, {}, (3,)))
MEMBERS = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), STATE)


def run(function, net, *arguments, loss=LOSS, metrics=(), compute_dtype=None, **options):
    task = fnet.supervised(net, loss, metrics, compute_dtype=compute_dtype)
    return function(task, *arguments, **options)


fit = partial(run, fnet.fit, progress=False)
train = partial(run, fnet.train, epochs=1, batch_size=8)
ALL = {"fit": fit, "train": train, "evaluate": partial(run, fnet.evaluate)}

go = partial(fit, NET, STATE, (X, Y))
many = partial(run, fnet.train_many, NET, epochs=1, batch_size=8)


class Row(NamedTuple):
    name: str
    call: Callable[[], Any]
    error: type[Exception]
    match: str


DATA_CASES = [
    ("features", (X.reshape(50, 2, 8)[:, :, :7], Y), LOSS, ValueError,
     r"^dense: expected input with 16 features in the last axis, got shape \(\d+, 14\)\. "
     r"Build the parameters with in_shape=\(14,\), or flatten the input first\."),
    ("lengths", (X, Y[:49]), LOSS, ValueError,
     r"`data` must hold as many samples in every leaf, got `x` of shape \(50, 4, 4\) and `y` of "
     r"shape \(49,\)\."),
    ("high label", (X, np.where(Y == 2, 3, Y)), LOSS, ValueError,
     r"`y` must hold labels in \[0, 3\), got 0 to 3\."),
    ("negative label", (X, Y - 1), LOSS, ValueError,
     r"`y` must hold labels in \[0, 3\), got -1 to 1\."),
    ("float labels", (X, Y.astype(np.float32)), LOSS, TypeError,
     r"`y_true` must be integer labels, got dtype float32\. Convert them: y_true\.astype"),
    ("one-hot, sparse loss", (X, ONE_HOT), LOSS, ValueError,
     r"sparse_categorical_crossentropy: `y_true` must be integer labels of shape \(\d+,\), got "
     r"shape \(\d+, 3\)\. For one-hot labels use categorical_crossentropy"),
    ("integers, dense loss", (X, Y), "categorical_crossentropy", ValueError,
     r"categorical_crossentropy: `y_true` must be one-hot, of shape \(\d+, 3\), got shape "
     r"\(\d+,\)\. For integer labels use sparse_categorical_crossentropy"),
    ("empty", (X[:0], Y[:0]), LOSS, ValueError,
     r"`x` of `data` must hold at least one sample, got shape \(0, 4, 4\)"),
    ("no pair", X, LOSS, TypeError,
     r"`data` must be a pair of arrays \(x, y\), or \(x, y, weights\), got an array of"),
    ("four", (X, Y, Y, Y), LOSS, TypeError, r"`data` must be a pair of arrays .*, got a tuple"),
    ("weights of another length", (X, Y, Y[1:]), LOSS, ValueError,
     r"`data` must hold as many samples in every leaf, got `x` .* and `weights` of shape \(49,\)"),
    ("negative weights", (X, Y, Y - 1), LOSS, ValueError,
     r"`weights` of `data` must not be negative, got -1\.0\. 0 leaves a sample out"),
    ("a dict", {"x": X, "y": Y}, LOSS, TypeError, r"`data` must be a pair of arrays .* got a dict"),
    ("unknown loss", (X, Y), "mse", ValueError,
     r"`loss` must be a function or one of 'binary_crossentropy', .*'mean_squared_error'.*, got "
     r"'mse'\. Check the spelling"),
    ("no loss", (X, Y), None, TypeError, r"`loss` must be a function or one of .*, got None"),
    ("a loss of the batch", (X, Y), lambda y, p: p.mean(), ValueError,
     r"`loss` must give one value a sample, shape \(\d+,\), got \(\)\. Average over the other"),
]  # fmt: skip


# Those of the data, for each way to use it.

RUNS = [
    Row(f"{run}: {name}", partial(ALL[run], NET, STATE, data, loss=loss), error, match)
    for run in ALL
    for name, data, loss, error, match in DATA_CASES
]
RUNS += [
    Row(f"{run}: {name}", partial(ALL[run], NET, state, (X, Y), metrics=metrics), *words)
    for run in ALL
    for name, state, metrics, *words in [
        ("another model", OTHER, [], ValueError,
         r"^dense: expected a kernel of shape \(16, 16\), got \(16, 3\)\."),
        ("another width", WIDER, [], ValueError,
         r"^dense: expected a kernel of shape \(16, 16\), got \(16, 17\)\."),
        ("an unknown metric", STATE, ["acc"], ValueError,
         r"`metrics` must be a function or one of 'accuracy', .*got 'acc'"),
        ("a metric as a word", STATE, "accuracy", TypeError,
         r"`metrics` must be a list, got 'accuracy'\. Write \['accuracy'\]"),
        ("a metric twice", STATE, ["accuracy"] * 2, ValueError,
         r"`metrics` must have names of their own, got \['loss', 'ac"),
    ]
]  # fmt: skip
RUNS += [
    Row(f"{function.args[0].__name__}: {argument}={value if np.isscalar(value) else name}",
        partial(function, NET, STATE, (X, Y), **{argument: value}), ValueError, match)
    for function in (fit, train)
    for name, argument, value, match in [
        ("", "batch_size", 0, r"`batch_size` must be an integer of at least 1, got 0\."),
        ("", "batch_size", -3, r"`batch_size` must be an integer of at least 1, got -3\."),
        ("", "batch_size", 2.5, r"`batch_size` must be an integer of at least 1, got 2\.5\."),
        ("", "epochs", 0, r"`epochs` must be an integer of at least 1, got 0\."),
        ("", "epochs", True, r"`epochs` must be an integer of at least 1, got True\."),
        ("lengths", "validation", (X, Y[1:]), "`validation` must hold as many samples in"),
        ("labels", "validation", (X, Y + 1), r"`y` must hold labels in \[0, 3\), got 1 to 3\."),
        ("a name", "record", ["gradient"], "`record` must name series of this run, got 'gradient'"),
    ]
]  # fmt: skip

# Of what is no number, or not one of the real ones.
NUMBERS = np.ones((5, 3), np.float32)
COMPLEX = jnp.asarray(NUMBERS * 1j)  # on the device, as above
HIDDEN = np.ma.masked_array(NUMBERS, mask=NUMBERS > 0)
TASK = fnet.supervised(fnet.dense(2), "mean_squared_error")
PAIR = fnet.TrainState.create(PARAMS, fnet.sgd(0.1), KEY)
TWO = np.ones((5, 2), np.float32)


class OneByOne:
    """Rows of a data set that is read a sample at a time."""

    def __init__(self, x):
        self.x = np.asanyarray(x)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], TWO[row]


USES = {
    "train": lambda x: fnet.train(TASK, PAIR, (x, TWO), epochs=1),
    "fit": lambda x: fnet.fit(TASK, PAIR, (x, TWO), progress=False),
    "fit, batches": lambda x: fnet.fit(TASK, PAIR, [(x, TWO)], progress=False),
    "fit, rows": lambda x: fnet.fit(TASK, PAIR, OneByOne(x), progress=False),
    "evaluate": lambda x: fnet.evaluate(TASK, PAIR, (x, TWO)),
    "predict": lambda x: fnet.predict(fnet.dense(2), PAIR, x),
    "apply": lambda x: fnet.apply(fnet.dense(2), PARAMS, x),
    "batches": lambda x: fnet.batches((x, TWO), 2),
}
RUNS += [
    Row(f"{name}: {x.dtype}", partial(use, x), TypeError, match)
    for name, use in USES.items()
    for x, match in [
        (HIDDEN, r"must be a plain array, got a masked array .*\. Fill it, x\.filled\(0\)"),
        (NUMBERS.astype("datetime64[s]"), r"must hold numbers, got dtype datetime64\[s\]\. Count"),
        (NUMBERS.astype("timedelta64[s]"), r"must hold numbers, got dtype timedelta64\[s\]\. Div"),
        (NUMBERS.astype(object), r"must hold numbers, got dtype object\. Convert it, x\.astype"),
        (NUMBERS.astype(str), r"must hold numbers, got dtype <U32\. .* number its classes: np\."),
        (np.ones((5, 3), [("a", "f4")]), r"must hold numbers, got dtype \[\('a', .*one of its fi"),
        (COMPLEX, "^dense: expected real input, as the layer is, got complex64"),
    ]
    if not (name == "batches" and x.dtype.kind == "c")
]  # fmt: skip
RUNS += [
    Row(f"complex {name}", call, error, match)
    for name, call, error, match in [
        ("labels", lambda: fnet.train(TASK, PAIR, (NUMBERS, TWO * 1j), epochs=1), TypeError,
         "^`y_true` must be real, as `y_pred` is, got complex64"),
        ("weights", lambda: fnet.train(TASK, PAIR, (NUMBERS, TWO, TWO[:, 0] * 1j), epochs=1),
         ValueError, "`weights` of `data` must be a real number for each of 5, .* complex64"),
        ("loss", lambda: fnet.train(fnet.task(complex_loss), PAIR, NUMBERS, epochs=1), TypeError,
         "^the loss and all other values of a task must be real, got complex64"),
        ("ids", lambda: fnet.apply(fnet.embedding(9, 2), {"embeddings": np.ones((9, 2))}, COMPLEX),
         TypeError, "^embedding: expected real input, as the layer is, got complex64"),
    ]
]  # fmt: skip


def complex_loss(params, batch, key):
    real = (batch @ params["kernel"]).sum(1)
    return jax.lax.complex(real, real)


# All else: a call, and the words in which it is refused.
VALUES = [
    # Layers.
    (lambda: fnet.dense(0), "^`units` of dense must be an integer"),
    (lambda: fnet.dropout(1), r"^`rate` of dropout must be in \[0, 1\), got 1"),
    (lambda: fnet.batch_norm(momentum=1), "^`momentum` of batch_norm"),
    (lambda: fnet.layer_norm(epsilon=-1), "^`epsilon` of layer_norm"),
    (lambda: fnet.group_norm(0), "^`groups` of group_norm must be"),
    (lambda: fnet.rms_norm(epsilon=np.nan), "^`epsilon` of rms_norm"),
    (lambda: fnet.reshape((2.0, 3)), "^`shape` of reshape must"),
    (lambda: fnet.reshape((True, 3)), r"^`shape` of reshape must be .*, got \(True, 3\)"),
    (lambda: fnet.conv(6, (3,), groups=4),
     "^`filters` of conv must be a multiple of `groups`, got 6 filters in 4 groups"),
    (lambda: fnet.conv(3, (3, 0)), "^`kernel_size` of conv must"),
    (lambda: fnet.max_pool((2,), 2, "SAME"), "^`padding` of max_pool must"),
    (lambda: fnet.avg_pool((2,), 1.5), "^`strides` of avg_pool must be an integer"),
    (lambda: fnet.embedding(0, 3), "^`input_dim` of embedding must be"),
    (lambda: fnet.attention(0), "^`num_heads` of attention must be"),
    (lambda: fnet.random_shift(0), "^`pixels` of random_shift must"),
    (lambda: fnet.random_noise(-1), "^`stddev` of random_noise"),
    (lambda: fnet.scan_layers(fnet.relu, 0), "^`depth` of scan_layers"),
    (lambda: fnet.parallel(), "^`layers` of parallel must be"),
    (lambda: fnet.output_shape(fnet.glu, (3,)),
     r"^glu: expected an even number of features in the last axis, got shape \(2, 3\)\."),
    # Models.
    (lambda: fnet.output_shape(fnet.dense(2), (0,)), "^`in_shape` must"),
    (lambda: fnet.summary(fnet.dense(2), ()),
     r"^dense: expected an input with a feature axis, got in_shape=\(\)"),
    (lambda: fnet.output_shape(fnet.residual(fnet.dense(2)), (3,)),
     r"^residual: expected layers that keep the shape \(3,\), got \(2,\)\."),
    (lambda: fnet.output_shape(fnet.parallel(fnet.dense(2), fnet.flatten), (2, 3)),
     r"^parallel: expected outputs that concatenate can merge, got shapes \[\(2, 2\), \(6,\)\]"),
    (lambda: fnet.apply(fnet.dense(2), PARAMS, PAIRS),
     "^dense: expected input with 3 features in the last axis, got shape"),
    (lambda: fnet.forward(fnet.dropout(0.5), {}, {}, ROWS_OF_3),
     "^dropout: expected a random key in training, got key=None"),
    (lambda: fnet.predict(NET, STATE, X[:0]), "^`x` must hold at least one sample, got shape"),
    (lambda: fnet.predict_classes(NET, STATE, np.float32(3)),
     "^`x` must hold at least one sample, got shape"),
    (lambda: fnet.predict(NET, STATE, NARROW), "^dense: expected input with 16 features"),
    (lambda: fnet.predict(fnet.sequential(fnet.dense(2)), {"dense": PARAMS}, ONE_ROW),
     r"^dense: expected an input with a feature axis, got in_shape=\(\) .* the batch, x\[None\]"),
    (lambda: fnet.predict(NET, STATE, X, batch_size=0),
     "^`batch_size` must be an integer of at least 1, got 0"),
    # Losses and metrics.
    (lambda: fnet.mean_squared_error(ONE_HOT, ONE_HOT[:, :2]),
     r"^`y_true` must have the shape of `y_pred`, \(50, 2\), got \(50, 3\)\."),
    (lambda: fnet.categorical_crossentropy(Y, PROBABILITIES),
     "^categorical_crossentropy: `y_true` must be one-hot, of shape"),
    (lambda: fnet.sparse_categorical_crossentropy(PROBABILITIES, PROBABILITIES),
     "^sparse_categorical_crossentropy: `y_true` must be integer labels of shape"),
    (lambda: fnet.categorical_crossentropy(ONE_HOT, PROBABILITIES, label_smoothing=2),
     r"`label_smoothing` must be in \[0, 1\], got 2\."),
    (lambda: fnet.top_k_accuracy(0), "^`k` of top_k_accuracy must be"),
    (lambda: fnet.top_k_accuracy(True), "^`k` of top_k_accuracy must be .*, got True"),
    (lambda: fnet.confusion_matrix(LABELS, LABELS, 2),
     r"^`y_true` must hold labels in \[0, 2\), got 0 to 2\."),
    (lambda: fnet.accuracy(LABELS, ROWS_OF_3), "accuracy: .* must .* got"),
    # Optimizers and schedules.
    (lambda: fnet.rmsprop(-1e-3), r"^`learning_rate` of rmsprop must be in \[0, inf\), got"),
    (lambda: fnet.rmsprop(np.nan), r"^`learning_rate` of rmsprop must be in \[0, inf\), got"),
    (lambda: fnet.momentum(beta=1), "^`beta` of momentum must be in"),
    (lambda: start(optimizer="rmspop"),
     "`optimizer` must be an optimizer or one of 'adafactor', 'adagrad', .*, got 'rmspop'"),
    (lambda: fnet.piecewise((20, 10), (0.1, 0.2, 0.3)),
     "^`boundaries` of piecewise must increase, got"),
    (lambda: fnet.warmup_cosine(0.1, 0, 10), "^`warmup_steps` of warmup_cosine"),
    (lambda: fnet.cosine(0.1, 0), "^`decay_steps` of cosine must be"),
    (lambda: fnet.exponential(0.1, -1, 0.9), "of exponential must"),
    (lambda: fnet.clipped("adam", -1), "^`max_norm` of clipped must"),
    (lambda: fnet.accumulated("adam", 0), "^`every` must be an integer of at least 1, got 0"),
    (lambda: fnet.averaged("adam", 1.5), "^`decay` of averaged must"),
    # Runs.
    (partial(go, validation_split=1.0), r"^`validation_split` must be in \[0, 1\), got"),
    (partial(go, validation_split=-0.1), r"^`validation_split` must be in \[0, 1\), got"),
    (partial(go, validation_split=np.nan), r"^`validation_split` must be in \[0, 1\), got"),
    (lambda: fit(NET, STATE, (X[:1], Y[:1]), validation_split=0.5),
     "must leave samples on both sides, got 0.5 of 1 samples"),
    (partial(go, validation_split=0.2, validation=(X, Y)),
     "^`validation` and `validation_split` must exclude each other, got both"),
    (lambda: fit(FLOAT, OTHER, (WITH_NAN, Y)),
     r"^`x` of `data` must be finite, got nan at index \(2, 1, 1\), 1 of 800"),
    (lambda: fit(FLOAT, OTHER, (X, INFINITE), loss="mean_squared_error"),
     "^`y` of `data` must be finite, got inf"),
    (lambda: fit(NET, STATE, fnet.batches((X, Y), 8), epochs=2),
     "must be an iterable that can be iterated 2 times, got a generator"),
    (lambda: fit(NET, STATE, iter([])), "^`data` must give at least one batch, got none"),
    (lambda: fit(NET, STATE, [(X, Y)], validation_split=0.2),
     "^`validation_split` must be 0 without arrays to split, got 0.2"),
    (lambda: fit(NET, STATE, list(zip(X, Y, strict=True))),
     "^`data` must give batches where it is an iterable, got one sample in place of batch 1"),
    (lambda: fit(NET, STATE, [(X, Y[1:])]), "^batch 1 of `data` must hold as many samples"),
    (partial(go, record=["loss"], record_every=0), "^`record_every` must be an"),
    (lambda: fnet.early_stopping("accuracy")(1, STATE, {"loss": 0.0}),
     "^`monitor` must be one of 'loss', got 'accuracy'"),
    (lambda: fnet.early_stopping(patience=-1), "^`patience` m"),
    (lambda: fnet.early_stopping(patience=True), "^`patience` must be an integer .*, got True"),
    (lambda: fnet.class_weights(Y, {7: 1.0}),
     r"^`weights` must name classes of `y`, in \[0, 3\), got \[7\]"),
    (lambda: many(STATE, (X, Y)), "^`states` must have the members"),
    (lambda: many(MEMBERS, (X, Y), form="pmap"), "^`form` must be one of"),
    (lambda: fnet.grid(), "^`axes` of grid must be at least one"),
    (lambda: fnet.grid(rho=[]), "^`rho` of grid must have"),
    (lambda: fnet.grid(seed=[0.5]), "^`seed` of grid must be integers"),
    (lambda: fnet.grid(rho=[0.9]).states(NET, "sgd", (4, 4)),
     "^`rho` must be a hyperparameter of sgd, got"),
    (lambda: fnet.grid(rho=[0.9]).table({"loss": np.ones((2, 1))}),
     r"^`values` must be one a member, shape \(1,\), got \(2,\)"),
    # Data, pictures and files.
    (lambda: fnet.index_shuffle(KEY, 0, 0), "^`size` must be an"),
    (lambda: fnet.batches((X, Y), 0), "^`batch_size` must be an"),
    (lambda: fnet.batches((X, Y[1:]), 2), "^`data` must hold"),
    (lambda: fnet.plot_history({}), "^`history` must hold at"),
    (lambda: fnet.plot_predictions(X[:3], Y[:2], ONE_HOT[:2]),
     "must have one length, at least 1, got 3, 2 and 2"),
    (lambda: fnet.plot_grid(fnet.grid(seed=[0]), {"val_loss": np.ones((1, 1))}),
     "^`grid` must have an axis"),
    (lambda: fnet.plot_grid(fnet.grid(rho=[0.9]), {"loss": np.ones((1, 1))}),
     "^`name` must be one of 'loss'"),
    (lambda: fnet.export(fnet.dense(2), PARAMS, (4,)),
     "^dense: expected input with 3 features in the last axis"),
    (lambda: fnet.remat(fnet.relu, policy="dots"),
     "^`policy` must be a function or one of 'dots_saveable', .*, got 'dots'"),
    (lambda: fnet.load_exported(b"PK"), "^`data` must start with the 48 bytes of the head"),
    (lambda: PROGRAM(PAIRS),
     r"^`x` must be one sample or more of shape \(3,\), got shape \(5, 2\)"),
]  # fmt: skip
WITHIN = "^`fit` must be called outside of jax.jit, jax.vmap and jax.grad, .* Call fnet.train"
TYPES = [
    # Layers.
    (lambda: fnet.dense(3, kernel_init="he_normal"),
     "^`kernel_init` must be a function, got 'he_normal'"),
    (lambda: fnet.dropout("0.5"), "^`rate` of dropout must be a number"),
    (lambda: fnet.rescale(None), "^`scale` of rescale must be"),
    (lambda: fnet.remat([fnet.relu]), "^`layer` must be a layer or"),
    (lambda: fnet.remat(fnet.relu, policy=1), "^`policy` must be a function or one of .*, got 1"),
    (lambda: fnet.layer(3, 4), "^`init` must be a function, got"),
    (lambda: fnet.sequential("relu"),
     r"^`layers\[0\]` must be a layer or a function x -> y, got 'relu'\. .* write fnet\.relu"),
    (lambda: fnet.residual(fnet.dense), r"got the class dense\."),
    (lambda: fnet.parallel(fnet.relu, merge="sum"), "^`merge` must"),
    # Models.
    (lambda: fnet.init([fnet.relu], KEY, (3,)), "^`net` must be"),
    (lambda: fnet.init(fnet.dense(2), 0, (3,)), "^`key` must be a"),
    (lambda: fnet.init(fnet.dense(2), KEYS, (3,)), "^`key` must be one key"),
    (lambda: fnet.init_state(fnet.dense(2), [3]), "^`in_shape` must"),
    (lambda: fnet.apply(fnet.layer_norm(), PARAMS, ROWS_OF_3),
     r"^layer_norm: expected parameters \['bias', 'scale'\], got \['bias', 'kernel'\]"),
    (lambda: fnet.predict(NET, STATE.params, IMAGES),
     r"^batch_norm: expected running statistics \['mean', 'var"),
    (lambda: fnet.forward(fnet.relu, {}, {}, ROWS_OF_3, 0),
     "^`key` must be a typed random key, got 0"),
    # Losses and metrics.
    (lambda: fnet.one_hot(ROWS_OF_3, 2), "`labels` must"),
    # Optimizers and schedules.
    (lambda: fnet.adam("fast"),
     "^`learning_rate` of adam must be a number, or an array of them, got 'fast'"),
    (lambda: start(optimizer=fnet.rmsprop), r"`optimizer` must be .* Pass fnet\.rmsprop\("),
    (lambda: start(optimizer=0.001), r"`optimizer` must be .* Pass fnet\.rmsprop\("),
    (lambda: start(optimizer=None), r"`optimizer` must be .* Pass fnet\.rmsprop\("),
    (lambda: fnet.sgd().update(PARAMS, ADAM_STATE, PARAMS),
     "^sgd: `opt_state` must be of type SGDState, got AdamState"),
    (lambda: train(NET, dataclasses.replace(STATE, optimizer=fnet.sgd(0.1)), (X, Y)),
     "^sgd: `opt_state` must be of type SGDState, got AdamState"),
    (lambda: fnet.averaged_params(ADAM_STATE), "^`opt_state` must be the state"),
    (lambda: fnet.masked("adam", {"dense": 1}), "^`mask` of masked"),
    (lambda: fnet.from_optax("adam"), "^`transformation` of from_optax"),
    # Runs.
    (lambda: jax.jit(lambda x: fit(NET, STATE, (x, Y)))(X), WITHIN),
    (lambda: jax.jit(lambda state: fit(NET, state, (X, Y)))(STATE), WITHIN),
    (partial(fit, NET, STATE.params, (X, Y)),
     r"^`state` must be a TrainState, got a dict\. Make it with"),
    (partial(train, NET, STATE.params, (X, Y)),
     r"^`state` must be a TrainState, got a dict\. Make it with"),
    (partial(go, record="loss"), "^`record` must be a list, got"),
    (partial(go, compute_dtype="int32"), "^`compute_dtype` must"),
    (partial(go, callbacks=fnet.early_stopping()), "^`callbacks` must be a list of functions, got"),
    (partial(go, callbacks=[None]), "^`callbacks` must be a list of functions, got"),
    (partial(go, callbacks="stop"), "^`callbacks` must be a list of functions, got"),
    (lambda: fnet.train(NET, STATE, (X, Y), epochs=1, batch_size=8),
     r"^`task` must be a task, got sequential\(.*Wrap it: fnet.supervised"),
    (lambda: fnet.grid(rho=0.9), "^`rho` of grid must be a list"),
    # Data, pictures and files.
    (lambda: fnet.export(fnet.relu, {}, (3,), dtype="text"),
     "^`dtype` must be a numeric dtype that JAX supports, got 'text'"),
    (lambda: fnet.export(NET, PARAMS, (4, 4)), "^sequential: expected parameters of the layers"),
    *((call, f"^`{name}` must be a path, got .*\\. Write it as a text or as a pathlib.Path")
      for name, call in (
          ("path", lambda: fnet.save(None, STATE)),
          ("path", lambda: fnet.load(3, STATE)),
          ("path", lambda: fnet.save_weights(3, PARAMS)),
          ("path", lambda: fnet.load_torch(3, NET, (4, 4))),
          ("path", lambda: fnet.load_keras(3, NET, (4, 4))),
          ("path", lambda: fnet.save_keras(3, NET, (4, 4), STATE.params)),
          ("path", lambda: fnet.receipt(fnet.supervised(NET, LOSS), STATE, (X, Y), path=3)),
          ("directory", lambda: fnet.Checkpoints(3)),
          ("directory", lambda: fnet.OrbaxCheckpoints(None)),
          ("directory", lambda: fnet.cache_programs(3)),
      )),
    (lambda: fnet.save("run.safetensors", {"dense": "kernel"}),
     "^every leaf must be an array or a number, got 'kernel' as 'dense'"),
    (lambda: fnet.save_weights("weights.safetensors", NET),
     "^every leaf must be an array or a number, got a sequential as ''"),
    (lambda: fnet.save("run.safetensors", {"net": NET, "params": PARAMS}),
     "^every leaf must be an array or a number, got a sequential as 'net'"),
    (lambda: fnet.count_params(NET), "^`params` must be a tree of arrays, got the model sequent"),
    (lambda: fnet.save_weights("weights.safetensors", {"dense": "kernel"}),
     "^every leaf must be an array or a number, got 'kernel' as 'dense'"),
    (lambda: fnet.load_exported("model.bin"),
     "^`data` must be bytes from fnet.export, got 'model.bin'"),
    (lambda: PROGRAM(IDS),
     "^`x` must have the dtype the model was exported for, float32, got int32"),
]  # fmt: skip
ROWS = [
    *RUNS,
    *(Row(words, call, ValueError, words) for call, words in VALUES),
    *(Row(words, call, TypeError, words) for call, words in TYPES),
    Row("no folder", lambda: fnet.datasets.mnist("typo"), NotADirectoryError,
        "^`data_dir` must be an existing folder, got 'typo'"),
]  # fmt: skip
SENTENCES = re.compile(r"\b(must|expected)\b.*\bgot\b.*[.] [`'\w].*[.)]$", re.DOTALL)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_bad_input(row, compilations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(row.error, match=row.match) as caught:
        row.call()
    assert SENTENCES.search(str(caught.value)), str(caught.value)
    assert not compilations
    assert not list(tmp_path.iterdir())


def test_labels_are_refused_under_jit_only_where_they_are_known():
    def loss(y):
        return train(NET, STATE, (X, y))[1]["loss"]

    with pytest.raises(ValueError, match="`y` must hold labels in"):
        jax.jit(lambda: loss(Y + 1))()
    jax.jit(loss)(Y)
