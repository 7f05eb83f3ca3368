"""Bad input to training is refused in words, before anything is compiled."""

import dataclasses
from functools import partial

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

fit = partial(fnet.fit, progress=False)
train = partial(fnet.train, epochs=1, batch_size=8)
ALL = {"fit": fit, "train": train, "evaluate": fnet.evaluate}

DATA_CASES = [
    ("features", (X.reshape(50, 2, 8)[:, :, :7], Y), LOSS, ValueError,
     r"^dense: expected input with 16 features in the last axis, got shape \(\d+, 14\)\. "
     r"Build the parameters with in_shape=\(14,\), or flatten the input first\."),
    ("lengths", (X, Y[:49]), LOSS, ValueError,
     r"`data` must hold as many labels as samples, got x of shape \(50, 4, 4\) and y of shape "
     r"\(49,\)\."),
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
     r"`weights` of `data` must be a number for each of 50, shape \(50,\), got shape \(49,\)"),
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


@pytest.mark.parametrize("run", ALL)
@pytest.mark.parametrize(
    ("data", "loss", "error", "words"), [c[1:] for c in DATA_CASES], ids=[c[0] for c in DATA_CASES]
)
def test_data_and_losses(run, data, loss, error, words, compilations):
    with pytest.raises(error, match=words):
        ALL[run](NET, STATE, data, loss=loss)
    assert not compilations


@pytest.mark.parametrize("run", ALL)
@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (OTHER, ValueError, r"^dense: expected a kernel of shape \(16, 16\), got \(16, 3\)\."),
        (WIDER, ValueError, r"^dense: expected a kernel of shape \(16, 16\), got \(16, 17\)\."),
    ],
    ids=["another model", "another width"],
)
def test_states_of_another_model(run, state, error, words, compilations):
    with pytest.raises(error, match=words):
        ALL[run](NET, state, (X, Y), loss=LOSS)
    assert not compilations


@pytest.mark.parametrize("run", ALL)
@pytest.mark.parametrize(
    ("metrics", "error", "words"),
    [
        (["acc"], ValueError, r"`metrics` must be a function or one of 'accuracy', .*got 'acc'"),
        ("accuracy", TypeError, r"`metrics` must be a list, got 'accuracy'\. Write \['accuracy'\]"),
        (
            ["accuracy"] * 2,
            ValueError,
            r"`metrics` must have names of their own, got \['loss', 'ac",
        ),
    ],
)
def test_metrics(run, metrics, error, words, compilations):
    with pytest.raises(error, match=words):
        ALL[run](NET, STATE, (X, Y), loss=LOSS, metrics=metrics)
    assert not compilations


@pytest.mark.parametrize("run", [fit, train])
@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("batch_size", 0, r"`batch_size` must be an integer of at least 1, got 0\."),
        ("batch_size", -3, r"`batch_size` must be an integer of at least 1, got -3\."),
        ("batch_size", 2.5, r"`batch_size` must be an integer of at least 1, got 2\.5\."),
        ("epochs", 0, r"`epochs` must be an integer of at least 1, got 0\."),
        ("epochs", True, r"`epochs` must be an integer of at least 1, got True\."),
        ("validation", (X, Y[1:]), r"`validation` must hold as many labels as samples"),
        ("validation", (X, Y + 1), r"`y` must hold labels in \[0, 3\), got 1 to 3\."),
    ],
)
def test_counts_and_validation(run, argument, value, words, compilations):
    with pytest.raises(ValueError, match=words):
        run(NET, STATE, (X, Y), loss=LOSS, **{argument: value})
    assert not compilations


@pytest.mark.parametrize("run", [fit, train])
def test_parameters_are_no_state(run):
    with pytest.raises(TypeError, match=r"`state` must be a TrainState, got a dict\. Make it with"):
        run(NET, STATE.params, (X, Y), loss=LOSS)


@pytest.mark.parametrize("split", [1.0, 1.5, -0.1, float("nan")])
def test_validation_split_outside_of_its_range(split, compilations):
    with pytest.raises(ValueError, match=r"`validation_split` must be in \[0, 1\), got"):
        fit(NET, STATE, (X, Y), loss=LOSS, validation_split=split)
    assert not compilations


def test_validation_split_that_leaves_nothing():
    with pytest.raises(ValueError, match="must leave samples on both sides, got 0.5 of 1 samples"):
        fit(NET, STATE, (X[:1], Y[:1]), loss=LOSS, validation_split=0.5)


def test_validation_given_twice():
    with pytest.raises(ValueError, match="`validation` and `validation_split` exclude each other"):
        fit(NET, STATE, (X, Y), loss=LOSS, validation_split=0.2, validation=(X, Y))


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_inputs_that_are_not_finite(kind):
    words = r"^`x` of `data` must be finite, got nan at index \(2, 1, 1\), 1 of 800"
    with pytest.raises(ValueError, match=words):
        fit(FLOAT, OTHER, (kind(WITH_NAN), kind(Y)), loss=LOSS)


def test_targets_that_are_not_finite():
    y = np.full((50, 3), np.inf, np.float32)
    with pytest.raises(ValueError, match=r"^`y` of `data` must be finite, got inf"):
        fit(FLOAT, OTHER, (X, y), loss="mean_squared_error")


@pytest.mark.parametrize("rate", [-1e-3, float("nan"), float("inf")])
def test_learning_rates(rate):
    with pytest.raises(ValueError, match=r"`learning_rate` of rmsprop must be in \[0, inf\), got"):
        fnet.rmsprop(rate)


def test_unknown_optimizer():
    words = r"`optimizer` must be an optimizer or one of 'adagrad', 'adam', .*, got 'rmspop'"
    with pytest.raises(ValueError, match=words):
        start(optimizer="rmspop")


@pytest.mark.parametrize("optimizer", [fnet.rmsprop, 0.001, None])
def test_optimizers_that_are_none(optimizer):
    with pytest.raises(TypeError, match=r"`optimizer` must be .* Pass fnet\.rmsprop\("):
        start(optimizer=optimizer)


def test_a_state_whose_optimizer_was_exchanged_without_its_memory():
    state = dataclasses.replace(STATE, optimizer=fnet.sgd(0.1))
    with pytest.raises(TypeError, match=r"sgd: `opt_state` must be of type SGDState, got Adam"):
        train(NET, state, (X, Y), loss=LOSS)


def test_a_generator_for_many_epochs():
    words = "must be an iterable that can be gone through 2 times, got a generator"
    with pytest.raises(ValueError, match=words):
        fit(NET, STATE, fnet.batches((X, Y), 8), loss=LOSS, epochs=2)


def test_no_batches():
    with pytest.raises(ValueError, match="`data` must give at least one batch an epoch, got none"):
        fit(NET, STATE, iter([]), loss=LOSS)


def test_a_split_of_batches():
    with pytest.raises(ValueError, match="`validation_split` needs arrays to split, got 0.2"):
        fit(NET, STATE, [(X, Y)], loss=LOSS, validation_split=0.2)


def test_a_bad_batch_is_named_by_its_number():
    with pytest.raises(ValueError, match="batch 2 of `data` must hold as many labels"):
        fit(NET, STATE, [(X, Y), (X, Y[1:])], loss=LOSS)


def test_labels_are_refused_under_jit_only_where_they_are_known():
    def run(y):
        return train(NET, STATE, (X, y), loss=LOSS)[1]["loss"]

    with pytest.raises(ValueError, match="`y` must hold labels in"):
        jax.jit(lambda: run(Y + 1))()
    jax.jit(run)(Y)


@pytest.mark.parametrize("x", [X[:0], np.float32(3)])
def test_predicting_nothing(x):
    with pytest.raises(ValueError, match="`x` must hold at least one sample, got shape"):
        fnet.predict(NET, STATE, x)


def test_predicting_with_other_features():
    with pytest.raises(ValueError, match="^dense: expected input with 16 features"):
        fnet.predict(NET, STATE, np.zeros((5, 3, 3), np.uint8))


def test_predicting_without_the_running_statistics():
    with pytest.raises(TypeError, match=r"^batch_norm: expected running statistics \['mean', 'var"):
        fnet.predict(NET, STATE.params, X)


@pytest.mark.parametrize("callbacks", [fnet.early_stopping(), [None], "stop"])
def test_callbacks_that_are_no_list_of_functions(callbacks, compilations):
    with pytest.raises(TypeError, match="`callbacks` must be a list of functions, got "):
        fit(NET, STATE, (X, Y), loss=LOSS, callbacks=callbacks)
    assert not compilations
