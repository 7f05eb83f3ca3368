"""Metrics that are no means over samples, against the counts of NumPy and recorded numbers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fnet

# precision_score, recall_score, f1_score and roc_auc_score of scikit-learn 1.9.1
BINARY = [0.7840909090909091, 0.7527272727272727, 0.7680890538033395, 0.8323070707070707]
ABOVE_0_8 = [0.8827586206896552, 0.46545454545454545, 0.6095238095238096]
MACRO = [0.5659703196347032, 0.5647717251883918, 0.565095225802821]
METRICS = fnet.precision, fnet.recall, fnet.f1


def binary():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 500)
    return y, 1 / (1 + np.exp(-(random.normal(size=500) * 2 + 3 * y - 1.5))), random


def classes():
    """Five scores, of which the last is never the highest and never true."""
    *_, random = binary()
    y, scores = random.integers(0, 4, 300), random.normal(size=(300, 5))
    scores[np.arange(300), y] += 1
    scores[:, 4] -= 20
    return y.astype(np.int32), scores.astype(np.float32)


def test_numbers_of_scikit_learn():
    y, p, _ = binary()
    y, p = y.astype(np.float32), p.astype(np.float32)
    for metric, at_half, above in zip(METRICS, BINARY, ABOVE_0_8, strict=False):
        assert float(metric(y, p).value) == pytest.approx(at_half, abs=1e-6)
        assert float(metric(y, p, threshold=0.8).value) == pytest.approx(above, abs=1e-6)
    assert float(fnet.auc(y, p).value) == pytest.approx(BINARY[-1], abs=1e-3)


def test_numbers_of_scikit_learn_for_classes():
    for metric, expected in zip(METRICS, MACRO, strict=True):
        assert float(metric(*classes()).value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("scale", [0.01, 1, 10])
def test_auc_of_scores_that_are_close_and_of_scores_that_are_far_apart(scale):
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 1000)
    p = (1 / (1 + np.exp(-(random.normal(size=1000) + y) * scale))).astype(np.float32)
    positive, negative = p[y == 1][:, None], p[y == 0]
    expected = ((positive > negative) + (positive == negative) / 2).mean()
    assert float(fnet.auc(y.astype(np.float32), p.astype(np.float32)).value) == pytest.approx(
        expected, abs=1e-3
    )


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.4, 0.6, 0.9])), min_size=2))
@settings(max_examples=30, deadline=None)
def test_the_value_is_that_of_all_samples_however_they_are_batched(pairs):
    y, p = (np.array(column, np.float32) for column in zip(*pairs, strict=True))
    hits, predicted = (y * (p > 0.5)).sum(), (p > 0.5).sum()
    expected = [
        hits / predicted if predicted else 0,
        hits / y.sum() if y.sum() else 0,
        2 * hits / (predicted + y.sum()) if predicted + y.sum() else 0,
    ]
    for metric, value in zip(METRICS, expected, strict=True):
        assert float(metric(y, p).value) == pytest.approx(value, abs=1e-6)


def test_nothing_of_one_label_is_zero_and_has_no_area():
    zeros, p = jnp.zeros(3), jnp.array([0.1, 0.2, 0.3])
    assert [float(metric(zeros, p).value) for metric in METRICS] == [0, 0, 0]
    assert np.isnan(fnet.auc(zeros, p).value)


def test_runs_finish_them_once_an_epoch_in_ragged_batches_and_on_a_mesh():
    y, p, _ = binary()
    x, y = np.log(p / (1 - p)).astype(np.float32)[:, None], y.astype(np.float32)[:, None]
    net, names = fnet.sigmoid, ["precision", "recall", "f1", "auc"]
    scaled = fnet.sequential(fnet.dense(1), net)
    params = {"dense": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}}
    task = fnet.supervised(scaled, "binary_crossentropy", metrics=names)
    evaluated = fnet.evaluate(task, params, (x, y), batch_size=128)
    assert [evaluated[name] for name in names[:3]] == pytest.approx(BINARY[:3], abs=1e-6)
    assert evaluated["auc"] == pytest.approx(BINARY[3], abs=1e-3)

    state = fnet.TrainState.create(params, fnet.sgd(0.0), jax.random.key(0))
    options = {"epochs": 1, "batch_size": 128, "validation": (x, y)}
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    runs = [
        fnet.train(task, state, (x, y), **options)[1],
        fnet.fit(task, state, (x, y), progress=False, **options)[1],
        fnet.train(task, state, (x, y), mesh=mesh, **options)[1],
    ]
    for history in runs:  # nothing is learned, so the epoch is as good as the evaluation
        for name in names:
            assert float(history[name][0]) == pytest.approx(evaluated[name], abs=1e-6)
            assert float(history[f"val_{name}"][0]) == pytest.approx(evaluated[name], abs=1e-6)
    _, logs = jax.jit(fnet.train_step(task))(state, (x, y))
    chex.assert_shape(logs["auc"], ())


@pytest.mark.parametrize(
    ("error", "words", "y_true", "y_pred"),
    [
        (ValueError, "`y_true` must have the shape", np.zeros(3), np.zeros((3, 2))[:, :1, None]),
        (TypeError, "f1: `y_true` must be integer labels", np.zeros(3), np.zeros((3, 2))),
        (ValueError, "f1: `y_pred` must have the shape", np.zeros(3, int), np.zeros((3, 1))),
    ],
)
def test_refuses(error, words, y_true, y_pred):
    with pytest.raises(error, match=words):
        fnet.f1(y_true, y_pred)
