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

ROWS = [
    *RUNS,
    # Layers.
    Row("units of none", lambda: fnet.dense(0), ValueError, "^`units` of dense must be an integer"),
    Row(
        "an initializer by name",
        lambda: fnet.dense(3, kernel_init="he_normal"),
        TypeError,
        "^`kernel_init` must be a function, got 'he_normal'",
    ),
    Row(
        "a rate of all",
        lambda: fnet.dropout(1),
        ValueError,
        r"^`rate` of dropout must be in \[0, "
        r"1\), got 1",
    ),
    Row(
        "a rate in words",
        lambda: fnet.dropout("0.5"),
        TypeError,
        "^`rate` of dropout must be a number",
    ),
    Row(
        "a momentum of one",
        lambda: fnet.batch_norm(momentum=1),
        ValueError,
        "^`momentum` of batch_norm",
    ),
    Row(
        "an epsilon below zero",
        lambda: fnet.layer_norm(epsilon=-1),
        ValueError,
        "^`epsilon` of layer_norm",
    ),
    Row(
        "groups of none", lambda: fnet.group_norm(0), ValueError, "^`groups` of group_norm must be"
    ),
    Row(
        "an epsilon of NaN",
        lambda: fnet.rms_norm(epsilon=np.nan),
        ValueError,
        "^`epsilon` of rms_norm",
    ),
    Row(
        "a shape of floats", lambda: fnet.reshape((2.0, 3)), ValueError, "^`shape` of reshape must"
    ),
    Row(
        "a scale that is none", lambda: fnet.rescale(None), TypeError, "^`scale` of rescale must be"
    ),
    Row(
        "filters that groups do not divide",
        lambda: fnet.conv(6, (3,), groups=4),
        ValueError,
        "^`filters` of conv must be a multiple of `groups`, got 6 filters in 4 groups",
    ),
    Row(
        "a window of none", lambda: fnet.conv(3, (3, 0)), ValueError, "^`kernel_size` of conv must"
    ),
    Row(
        "a padding",
        lambda: fnet.max_pool((2,), 2, "SAME"),
        ValueError,
        "^`padding` of max_pool must",
    ),
    Row(
        "strides",
        lambda: fnet.avg_pool((2,), 1.5),
        ValueError,
        "^`strides` of avg_pool must be an integer",
    ),
    Row(
        "ids of none", lambda: fnet.embedding(0, 3), ValueError, "^`input_dim` of embedding must be"
    ),
    Row(
        "heads of none", lambda: fnet.attention(0), ValueError, "^`num_heads` of attention must be"
    ),
    Row(
        "a shift of none",
        lambda: fnet.random_shift(0),
        ValueError,
        "^`pixels` of random_shift must",
    ),
    Row(
        "a noise below zero", lambda: fnet.random_noise(-1), ValueError, "^`stddev` of random_noise"
    ),
    Row(
        "a stack of none",
        lambda: fnet.scan_layers(fnet.relu, 0),
        ValueError,
        "^`depth` of scan_layers",
    ),
    Row(
        "a list to remat", lambda: fnet.remat([fnet.relu]), TypeError, "^`layer` must be a layer or"
    ),
    Row(
        "a layer of numbers", lambda: fnet.layer(3, 4), TypeError, "^`init` must be a function, got"
    ),
    Row(
        "a name as a layer",
        lambda: fnet.sequential("relu"),
        TypeError,
        r"^`layers\[0\]` must be a layer or a function x -> y, got 'relu'\. .* write fnet\.relu",
    ),
    Row(
        "a class as a layer", lambda: fnet.residual(fnet.dense), TypeError, r"got the class dense\."
    ),
    Row(
        "nothing in parallel", lambda: fnet.parallel(), ValueError, "^`layers` of parallel must be"
    ),
    Row(
        "a merge by name", lambda: fnet.parallel(fnet.relu, merge="sum"), TypeError, "^`merge` must"
    ),
    Row(
        "halves of an odd number",
        lambda: fnet.output_shape(fnet.glu, (3,)),
        ValueError,
        r"^glu: expected an even number of features in the last axis, got shape \(2, 3\)\.",
    ),
    # Models.
    Row(
        "a list as a model", lambda: fnet.init([fnet.relu], KEY, (3,)), TypeError, "^`net` must be"
    ),
    Row(
        "a number as a key",
        lambda: fnet.init(fnet.dense(2), 0, (3,)),
        TypeError,
        "^`key` must be a",
    ),
    Row(
        "many keys",
        lambda: fnet.init(fnet.dense(2), KEYS, (3,)),
        TypeError,
        "^`key` must be one key",
    ),
    Row(
        "a list as a shape",
        lambda: fnet.init_state(fnet.dense(2), [3]),
        TypeError,
        "^`in_shape` must",
    ),
    Row(
        "an empty axis",
        lambda: fnet.output_shape(fnet.dense(2), (0,)),
        ValueError,
        "^`in_shape` must",
    ),
    Row(
        "samples without features",
        lambda: fnet.summary(fnet.dense(2), ()),
        ValueError,
        r"^dense: expected an input with a feature axis, got in_shape=\(\)",
    ),
    Row(
        "a skip that does not fit",
        lambda: fnet.output_shape(fnet.residual(fnet.dense(2)), (3,)),
        ValueError,
        r"^residual: expected layers that keep the shape \(3,\), got \(2,\)\.",
    ),
    Row(
        "outputs that do not merge",
        lambda: fnet.output_shape(fnet.parallel(fnet.dense(2), fnet.flatten), (2, 3)),
        ValueError,
        r"^parallel: expected outputs that concatenate can merge, got shapes \[\(2, 2\), \(6,\)\]",
    ),
    Row(
        "features",
        lambda: fnet.apply(fnet.dense(2), PARAMS, PAIRS),
        ValueError,
        "^dense: expected input with 3 features in the last axis, got shape",
    ),
    Row(
        "parameters of another layer",
        lambda: fnet.apply(fnet.layer_norm(), PARAMS, ROWS_OF_3),
        TypeError,
        r"^layer_norm: expected parameters \['bias', 'scale'\], got \['bias', 'kernel'\]",
    ),
    Row(
        "no running statistics",
        lambda: fnet.predict(NET, STATE.params, IMAGES),
        TypeError,
        r"^batch_norm: expected running statistics \['mean', 'var",
    ),
    Row(
        "dropout without a key",
        lambda: fnet.forward(fnet.dropout(0.5), {}, {}, ROWS_OF_3),
        ValueError,
        "^dropout: expected a random key in training, got key=None",
    ),
    Row(
        "a key that is none",
        lambda: fnet.forward(fnet.relu, {}, {}, ROWS_OF_3, 0),
        TypeError,
        "^`key` must be a typed random key, got 0",
    ),
    Row(
        "nothing to predict",
        lambda: fnet.predict(NET, STATE, X[:0]),
        ValueError,
        "^`x` must hold at least one sample, got shape",
    ),
    Row(
        "a number to predict",
        lambda: fnet.predict_classes(NET, STATE, np.float32(3)),
        ValueError,
        "^`x` must hold at least one sample, got shape",
    ),
    Row(
        "other features to predict",
        lambda: fnet.predict(NET, STATE, NARROW),
        ValueError,
        "^dense: expected input with 16 features",
    ),
    Row(
        "batches of none",
        lambda: fnet.predict(NET, STATE, X, batch_size=0),
        ValueError,
        "^`batch_size` must be an integer of at least 1, got 0",
    ),
    # Losses and metrics.
    Row(
        "shapes of a loss",
        lambda: fnet.mean_squared_error(ONE_HOT, ONE_HOT[:, :2]),
        ValueError,
        r"^`y_true` must have the shape of `y_pred`, \(50, 2\), got \(50, 3\)\.",
    ),
    Row(
        "labels for one-hot",
        lambda: fnet.categorical_crossentropy(Y, PROBABILITIES),
        ValueError,
        "^categorical_crossentropy: `y_true` must be one-hot, of shape",
    ),
    Row(
        "one-hot for labels",
        lambda: fnet.sparse_categorical_crossentropy(PROBABILITIES, PROBABILITIES),
        ValueError,
        "^sparse_categorical_crossentropy: `y_true` must be integer labels of shape",
    ),
    Row(
        "a smoothing of all",
        lambda: fnet.categorical_crossentropy(ONE_HOT, PROBABILITIES, label_smoothing=2),
        ValueError,
        r"`label_smoothing` must be in \[0, 1\], got 2\.",
    ),
    Row("labels that are floats", lambda: fnet.one_hot(ROWS_OF_3, 2), TypeError, "`labels` must"),
    Row(
        "the best none",
        lambda: fnet.top_k_accuracy(0),
        ValueError,
        "^`k` of top_k_accuracy must be",
    ),
    Row(
        "labels to confuse",
        lambda: fnet.confusion_matrix(LABELS, LABELS, 2),
        ValueError,
        r"^`y_true` must hold labels in \[0, 2\), got 0 to 2\.",
    ),
    Row(
        "labels of another number",
        lambda: fnet.accuracy(LABELS, ROWS_OF_3),
        ValueError,
        "accuracy: .* must .* got",
    ),
    # Optimizers and schedules.
    *(
        Row(
            f"a rate of {rate}",
            lambda rate=rate: fnet.rmsprop(rate),
            ValueError,
            r"^`learning_rate` of rmsprop must be in \[0, inf\), got",
        )
        for rate in (-1e-3, np.nan)
    ),
    Row(
        "a learning rate in words",
        lambda: fnet.adam("fast"),
        TypeError,
        "^`learning_rate` of adam must be a number, or an array of them, got 'fast'",
    ),
    Row(
        "a decay of one",
        lambda: fnet.momentum(beta=1),
        ValueError,
        "^`beta` of momentum must be in",
    ),
    Row(
        "an unknown optimizer",
        lambda: start(optimizer="rmspop"),
        ValueError,
        "`optimizer` must be an optimizer or one of 'adagrad', 'adam', .*, got 'rmspop'",
    ),
    *(
        Row(
            f"{value} as an optimizer",
            lambda value=value: start(optimizer=value),
            TypeError,
            r"`optimizer` must be .* Pass fnet\.rmsprop\(",
        )
        for value in (fnet.rmsprop, 0.001, None)
    ),
    Row(
        "another optimizer's memory",
        lambda: fnet.sgd().update(PARAMS, ADAM_STATE, PARAMS),
        TypeError,
        "^sgd: `opt_state` must be of type SGDState, got AdamState",
    ),
    Row(
        "an exchanged optimizer",
        lambda: train(NET, dataclasses.replace(STATE, optimizer=fnet.sgd(0.1)), (X, Y)),
        TypeError,
        "^sgd: `opt_state` must be of type SGDState, got AdamState",
    ),
    Row(
        "boundaries that fall",
        lambda: fnet.piecewise((20, 10), (0.1, 0.2, 0.3)),
        ValueError,
        "^`boundaries` of piecewise must increase, got",
    ),
    Row(
        "no warm-up",
        lambda: fnet.warmup_cosine(0.1, 0, 10),
        ValueError,
        "^`warmup_steps` of warmup_cosine",
    ),
    Row(
        "steps of none", lambda: fnet.cosine(0.1, 0), ValueError, "^`decay_steps` of cosine must be"
    ),
    Row(
        "a rate that grows",
        lambda: fnet.exponential(0.1, -1, 0.9),
        ValueError,
        "of exponential must",
    ),
    Row(
        "a norm of none",
        lambda: fnet.clipped("adam", -1),
        ValueError,
        "^`max_norm` of clipped must",
    ),
    Row(
        "every step of none",
        lambda: fnet.accumulated("adam", 0),
        ValueError,
        "^`every` must be an integer of at least 1, got 0",
    ),
    Row(
        "an average of all",
        lambda: fnet.averaged("adam", 1.5),
        ValueError,
        "^`decay` of averaged must",
    ),
    Row(
        "no average",
        lambda: fnet.averaged_params(ADAM_STATE),
        TypeError,
        "^`opt_state` must be the state",
    ),
    Row(
        "a mask of numbers",
        lambda: fnet.masked("adam", {"dense": 1}),
        TypeError,
        "^`mask` of masked",
    ),
    Row(
        "a name for optax",
        lambda: fnet.from_optax("adam"),
        TypeError,
        "^`transformation` of from_optax",
    ),
    # Runs.
    *(
        Row(
            f"{function.args[0].__name__}: no state",
            partial(function, NET, STATE.params, (X, Y)),
            TypeError,
            r"^`state` must be a TrainState, got a dict\. Make it with",
        )
        for function in (fit, train)
    ),
    *(
        Row(
            f"a split of {split}",
            partial(go, validation_split=split),
            ValueError,
            r"^`validation_split` must be in \[0, 1\), got",
        )
        for split in (1.0, -0.1, np.nan)
    ),
    Row(
        "a split that leaves nothing",
        lambda: fit(NET, STATE, (X[:1], Y[:1]), validation_split=0.5),
        ValueError,
        "must leave samples on both sides, got 0.5 of 1 samples",
    ),
    Row(
        "validation given twice",
        partial(go, validation_split=0.2, validation=(X, Y)),
        ValueError,
        "^`validation` and `validation_split` must exclude each other, got both",
    ),
    Row(
        "inputs of NaN",
        lambda: fit(FLOAT, OTHER, (WITH_NAN, Y)),
        ValueError,
        r"^`x` of `data` must be finite, got nan at index \(2, 1, 1\), 1 of 800",
    ),
    Row(
        "infinite targets",
        lambda: fit(FLOAT, OTHER, (X, INFINITE), loss="mean_squared_error"),
        ValueError,
        "^`y` of `data` must be finite, got inf",
    ),
    Row(
        "a generator for many epochs",
        lambda: fit(NET, STATE, fnet.batches((X, Y), 8), epochs=2),
        ValueError,
        "must be an iterable that can be iterated 2 times, got a generator",
    ),
    Row(
        "no batches",
        lambda: fit(NET, STATE, iter([])),
        ValueError,
        "^`data` must give at least one batch, got none",
    ),
    Row(
        "a split of batches",
        lambda: fit(NET, STATE, [(X, Y)], validation_split=0.2),
        ValueError,
        "^`validation_split` must be 0 without arrays to split, got 0.2",
    ),
    Row(
        "samples for batches",
        lambda: fit(NET, STATE, list(zip(X, Y, strict=True))),
        ValueError,
        "^`data` must give batches where it is an iterable, got one sample in place of batch 1",
    ),
    Row(
        "a bad batch",
        lambda: fit(NET, STATE, [(X, Y[1:])]),
        ValueError,
        "^batch 1 of `data` must hold as many samples",
    ),
    Row(
        "a series as a word", partial(go, record="loss"), TypeError, "^`record` must be a list, got"
    ),
    Row(
        "a series of none",
        partial(go, record=["loss"], record_every=0),
        ValueError,
        "^`record_every` must be an",
    ),
    Row(
        "a dtype of integers",
        partial(go, compute_dtype="int32"),
        TypeError,
        "^`compute_dtype` must",
    ),
    *(
        Row(
            f"callbacks: {callbacks!r:.12}",
            partial(go, callbacks=callbacks),
            TypeError,
            "^`callbacks` must be a list of functions, got",
        )
        for callbacks in (fnet.early_stopping(), [None], "stop")
    ),
    Row(
        "nothing to monitor",
        lambda: fnet.early_stopping("accuracy")(1, STATE, {"loss": 0.0}),
        ValueError,
        "^`monitor` must be one of 'loss', got 'accuracy'",
    ),
    Row(
        "patience below zero", lambda: fnet.early_stopping(patience=-1), ValueError, "^`patience` m"
    ),
    Row(
        "classes to weight",
        lambda: fnet.class_weights(Y, {7: 1.0}),
        ValueError,
        r"^`weights` must name classes of `y`, in \[0, 3\), got \[7\]",
    ),
    Row(
        "one state for many",
        lambda: many(STATE, (X, Y)),
        ValueError,
        "^`states` must have the members",
    ),
    Row(
        "a model for a task",
        lambda: fnet.train(NET, STATE, (X, Y), epochs=1, batch_size=8),
        TypeError,
        r"^`task` must be a task, got sequential\(.*Wrap it: fnet.supervised",
    ),
    Row("a form", lambda: many(MEMBERS, (X, Y), form="pmap"), ValueError, "^`form` must be one of"),
    Row(
        "a grid of nothing", lambda: fnet.grid(), ValueError, "^`axes` of grid must be at least one"
    ),
    Row(
        "an axis of one number",
        lambda: fnet.grid(rho=0.9),
        TypeError,
        "^`rho` of grid must be a list",
    ),
    Row(
        "an empty axis of a grid", lambda: fnet.grid(rho=[]), ValueError, "^`rho` of grid must have"
    ),
    Row(
        "a seed of floats",
        lambda: fnet.grid(seed=[0.5]),
        ValueError,
        "^`seed` of grid must be integers",
    ),
    Row(
        "an unknown axis",
        lambda: fnet.grid(rho=[0.9]).states(NET, "sgd", (4, 4)),
        ValueError,
        "^`rho` must be a hyperparameter of sgd, got",
    ),
    Row(
        "a table of other runs",
        lambda: fnet.grid(rho=[0.9]).table({"loss": np.ones((2, 1))}),
        ValueError,
        r"^`values` must be one a member, shape \(1,\), got \(2,\)",
    ),
    # Data, pictures and files.
    Row(
        "an order of none", lambda: fnet.index_shuffle(KEY, 0, 0), ValueError, "^`size` must be an"
    ),
    Row(
        "batches of nothing",
        lambda: fnet.batches((X, Y), 0),
        ValueError,
        "^`batch_size` must be an",
    ),
    Row(
        "batches of two lengths",
        lambda: fnet.batches((X, Y[1:]), 2),
        ValueError,
        "^`data` must hold",
    ),
    Row(
        "a folder that is none",
        lambda: fnet.datasets.mnist("typo"),
        NotADirectoryError,
        "^`data_dir` must be an existing folder, got 'typo'",
    ),
    Row(
        "a history of nothing", lambda: fnet.plot_history({}), ValueError, "^`history` must hold at"
    ),
    Row(
        "pictures of two lengths",
        lambda: fnet.plot_predictions(X[:3], Y[:2], ONE_HOT[:2]),
        ValueError,
        "must have one length, at least 1, got 3, 2 and 2",
    ),
    Row(
        "a sweep over seeds alone",
        lambda: fnet.plot_grid(fnet.grid(seed=[0]), {"val_loss": np.ones((1, 1))}),
        ValueError,
        "^`grid` must have an axis",
    ),
    Row(
        "a sweep of what is not there",
        lambda: fnet.plot_grid(fnet.grid(rho=[0.9]), {"loss": np.ones((1, 1))}),
        ValueError,
        "^`name` must be one of 'loss'",
    ),
    Row(
        "a dtype to export",
        lambda: fnet.export(fnet.relu, {}, (3,), dtype="text"),
        TypeError,
        "^`dtype` must be a numeric dtype that JAX supports, got 'text'",
    ),
    Row(
        "features to export",
        lambda: fnet.export(fnet.dense(2), PARAMS, (4,)),
        ValueError,
        "^dense: expected input with 3 features in the last axis",
    ),
    Row(
        "another model to export",
        lambda: fnet.export(NET, PARAMS, (4, 4)),
        TypeError,
        "^sequential: expected parameters of the layers",
    ),
    Row(
        "text to save",
        lambda: fnet.save("run.safetensors", {"dense": "kernel"}),
        TypeError,
        "^every leaf must be an array or a number, got 'kernel' as 'dense'",
    ),
    Row(
        "text among weights",
        lambda: fnet.save_weights("weights.safetensors", {"dense": "kernel"}),
        TypeError,
        "^every leaf must be an array or a number, got 'kernel' as 'dense'",
    ),
    Row(
        "a path to load",
        lambda: fnet.load_exported("model.bin"),
        TypeError,
        "^`data` must be bytes from fnet.export, got 'model.bin'",
    ),
    Row(
        "bytes of something else",
        lambda: fnet.load_exported(b"PK"),
        ValueError,
        "^`data` must start with the 48 bytes of the head",
    ),
    Row(
        "samples of another shape",
        lambda: PROGRAM(PAIRS),
        ValueError,
        r"^`x` must be one sample or more of shape \(3,\), got shape \(5, 2\)",
    ),
    Row(
        "samples of another dtype",
        lambda: PROGRAM(IDS),
        TypeError,
        "^`x` must have the dtype the model was exported for, float32, got int32",
    ),
]
SENTENCES = re.compile(r"\b(must|expected)\b.*\bgot\b.*[.] [`'\w].*[.)]$", re.DOTALL)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_bad_input(row, compilations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(row.error, match=row.match) as caught:
        row.call()
    assert SENTENCES.search(str(caught.value)), str(caught.value)
    assert not compilations
    assert not list(tmp_path.iterdir())


def test_no_row_stands_for_two():
    assert len({row.name for row in ROWS}) == len(ROWS) > 80


def test_labels_are_refused_under_jit_only_where_they_are_known():
    def loss(y):
        return train(NET, STATE, (X, y))[1]["loss"]

    with pytest.raises(ValueError, match="`y` must hold labels in"):
        jax.jit(lambda: loss(Y + 1))()
    jax.jit(loss)(Y)
