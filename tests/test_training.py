"""Training as a pure function: the laws of the design, each of them a test."""

import dataclasses
import functools
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import LOSS, METRICS, bits, classifier, digest, images, start, task

import fnet
from fnet.fitting import sources

pytestmark = pytest.mark.bits

RUN = {"epochs": 2, "batch_size": 8}
DATA, VALIDATION = images(50), images(20, seed=1)  # 50 = 6 * 8 + 2


def equal(a, b) -> None:
    chex.assert_trees_all_equal(bits(a), bits(b))


def slices(tree, i):
    return jax.tree.map(lambda a: a[i], tree)


@pytest.fixture(scope="module")
def trained():
    return fnet.train(task(), start(), DATA, validation=VALIDATION, **RUN)


def test_law_1_every_sample_once_an_epoch_and_the_last_batch_over_its_own():
    """The gradient of a sample is the sample, so p falls by the mean of a batch each step."""
    x = np.array([[1.0], [10.0], [100.0], [1000.0], [10000.0]], np.float32)
    net = fnet.layer(lambda key, in_shape: (jnp.zeros(()), in_shape), lambda p, x: p * x)
    state = fnet.train_state(net, fnet.sgd(1.0), jax.random.key(0), (1,))
    state, _ = fnet.train(
        fnet.supervised(net, lambda y, p: p[:, 0]),
        state,
        (x, x),
        epochs=1,
        batch_size=2,
        shuffle=False,
    )
    assert state.params == -(5.5 + 550.0 + 10000.0)
    assert state.step == 3


def test_law_1_one_trace_for_each_length_of_a_batch(monkeypatch):
    """The ragged batch, a rebuilt model and another learning rate included."""
    chex.clear_trace_counter()
    traced_once = jax.jit(
        chex.assert_max_traces(sources.segment_steps.__wrapped__, n=2),  # the last batch is smaller
        static_argnames=("program", "batch_size", "length", "block"),
    )
    monkeypatch.setattr(sources, "segment_steps", traced_once)
    for optimizer in (fnet.adam(1e-3), fnet.adam(1e-2)):
        state = start(classifier(5), optimizer)
        state, _ = fnet.fit(task(classifier(5)), state, DATA, progress=False, **RUN | {"epochs": 5})
        assert state.step == 35


def test_a_rebuilt_model_compiles_nothing(compilations):
    for rate in (1e-3, 1e-2):
        fnet.train(task(classifier(6)), start(classifier(6), fnet.adam(rate)), DATA, **RUN)
        fnet.evaluate(
            fnet.supervised(classifier(6), LOSS),
            start(classifier(6)),
            DATA,
        )
        if rate == 1e-3:
            compilations.clear()
    assert not compilations


def test_law_2_the_order_is_a_function_of_key_and_epoch():
    """Each step shrinks p by its batch; which batches they were shows in the product."""
    x = np.arange(10, dtype=np.float32)[:, None]

    def weighted(y, p):
        return (p * y)[:, 0]

    net = fnet.layer(lambda key, in_shape: (jnp.ones(()), in_shape), lambda p, x: p * p + 0 * x)
    state = fnet.train_state(net, fnet.sgd(0.01), jax.random.key(3), (1,))
    for step in (0, 3, 6):
        begun = dataclasses.replace(state, step=jnp.asarray(step, jnp.int32))
        trained, _ = fnet.train(
            fnet.supervised(net, weighted), begun, (x, x), epochs=1, batch_size=4
        )
        expected = 1.0
        for _, y in fnet.batches((x, x), 4, key=state.key, epoch=step // 3):
            expected -= 0.01 * 2 * expected * y.mean()
        assert trained.params == pytest.approx(expected, rel=1e-5)


def test_law_3_steps_train_and_fit_are_the_same_bit_for_bit(trained):
    state, history = trained
    fitted, fit_history = fnet.fit(
        task(), start(), DATA, validation=VALIDATION, progress=False, **RUN
    )
    equal((fitted, fit_history), (state, history))

    step, stepped = jax.jit(fnet.train_step(fnet.supervised(classifier(), LOSS, METRICS))), start()
    for epoch in range(RUN["epochs"]):
        for batch in fnet.batches(DATA, RUN["batch_size"], key=stepped.key, epoch=epoch):
            stepped, _ = step(stepped, batch)
    equal(stepped, state)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "lion"])
@pytest.mark.parametrize("samples", [160, 128, 33])  # whole batches of 128, and a rest
def test_law_3_holds_for_an_epoch_of_one_batch_or_with_a_smaller_one(samples, optimizer):
    """What fuses decides about the last bits: updates of several sums of products show it."""
    net = fnet.sequential(fnet.dense(64), fnet.tanh, fnet.dense(10), fnet.softmax)
    goal = fnet.supervised(net, LOSS)
    x = np.random.default_rng(0).uniform(size=(samples, 784)).astype(np.float32)
    data, options = (x, np.arange(samples) % 10), {"epochs": 2, "batch_size": 128}
    begun = fnet.train_state(net, optimizer, jax.random.key(0), (784,))
    trained, _ = fnet.train(goal, begun, data, **options)
    equal(fnet.fit(goal, begun, data, progress=False, **options)[0], trained)
    step, stepped = jax.jit(fnet.train_step(goal)), begun
    for epoch in range(2):
        for batch in fnet.batches(data, 128, key=begun.key, epoch=epoch):
            stepped, _ = step(stepped, batch)
    equal(stepped, trained)


@pytest.mark.parametrize("run", [fnet.train, fnet.fit])
def test_law_3_two_runs_in_a_row_are_one(run, trained):
    quiet = {"progress": False} if run is fnet.fit else {}
    state, losses = start(), []
    for _ in range(2):
        state, history = run(
            task(), state, DATA, validation=VALIDATION, **RUN | {"epochs": 1}, **quiet
        )
        losses.append(history["val_loss"][0])
    equal((state, jnp.stack(losses)), (trained[0], trained[1]["val_loss"]))


def test_law_4_vmapped_runs_equal_single_runs():
    net, keys = classifier(), jax.random.split(jax.random.key(0), 3)
    # Adam would make steps of the rounding that is the gradient of a bias before batch norm.
    states = jax.vmap(lambda key: fnet.train_state(net, "momentum", key, (4, 4)))(keys)

    def run(state):
        return fnet.train(task(net), state, DATA, validation=VALIDATION, **RUN)

    many = jax.jit(jax.vmap(run))(states)
    for i in range(3):
        one = run(slices(states, i))
        chex.assert_trees_all_close(bits(one), bits(slices(many, i)), rtol=1e-4, atol=1e-5)


def test_law_4_an_optimizer_of_arrays_is_a_sweep():
    rates = jnp.array([1e-4, 1e-3, 1e-2])
    net = classifier()

    def run(optimizer):
        state = dataclasses.replace(start(net), optimizer=optimizer)
        return fnet.train(task(net), state, DATA, **RUN)[1]["loss"]

    swept = jax.jit(jax.vmap(run))(fnet.adam(rates))
    for i, rate in enumerate(rates):
        chex.assert_trees_all_close(swept[i], run(fnet.adam(rate)), rtol=1e-4)


def test_law_5_same_seed_same_bits_in_another_process(request):
    code = "import problems; print(problems.digest())"
    there = subprocess.check_output(
        [sys.executable, "-c", code], cwd=request.path.parent, text=True
    )
    assert there.strip() == digest()


@pytest.mark.parametrize("run", [fnet.train, fnet.fit])
def test_law_6_what_was_given_stays_valid_and_unchanged(run):
    state, (x, y) = start(), images(50)
    before = jax.tree.map(np.array, (bits(state), x, y))
    quiet = {"progress": False} if run is fnet.fit else {}
    run(task(), state, (x, y), **RUN, **quiet)
    run(task(), state, (jnp.asarray(x), jnp.asarray(y)), **RUN, **quiet)
    equal((bits(state), x, y), before)


def test_state_starts_from_the_parameters_of_init():
    net, key = classifier(), jax.random.key(4)
    state = fnet.train_state(net, fnet.sgd(0.1), key, (4, 4))
    equal(state.params, fnet.init(net, key, (4, 4)))
    equal(state.model_state, fnet.init_state(net, (4, 4)))
    assert not (jax.random.key_data(state.key) == jax.random.key_data(key)).all()


def test_full_batch_is_gradient_descent_by_hand():
    x = np.array([[1.0], [2.0], [3.0]], np.float32)
    net = fnet.dense(1, use_bias=False)
    state = fnet.train_state(net, fnet.sgd(0.1), jax.random.key(0), (1,))
    w = float(state.params["kernel"][0, 0])
    trained, _ = fnet.train(
        fnet.supervised(net, "mean_squared_error"), state, (x, 2 * x), epochs=1, batch_size=None
    )
    expected = w - 0.1 * np.mean(2 * (w * x - 2 * x) * x)
    assert float(trained.params["kernel"][0, 0]) == pytest.approx(expected, rel=1e-5)


def test_metrics_and_loss_of_an_epoch_are_means_over_samples():
    """With a rate of 0 nothing moves, so the epoch's means are those of `evaluate`."""
    net = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(3), fnet.softmax)
    state = start(net, fnet.sgd(0.0))
    _, history = fnet.train(task(net), state, DATA, **RUN)
    logs = fnet.evaluate(
        fnet.supervised(net, LOSS, METRICS),
        state,
        DATA,
    )
    for name, value in logs.items():
        np.testing.assert_allclose(history[name], value, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 512])
def test_evaluate_and_predict_do_not_depend_on_the_batch_size(batch_size):
    net, state = classifier(), start()
    x, _ = DATA
    whole = fnet.apply(net, state.params, x, state.model_state)
    y = fnet.predict(net, state, x, batch_size=batch_size)
    chex.assert_trees_all_close(y, whole, rtol=1e-5)
    chex.assert_trees_all_equal(
        fnet.predict_classes(net, state, x, batch_size=batch_size), whole.argmax(-1)
    )
    logs = fnet.evaluate(fnet.supervised(net, LOSS), state, DATA, batch_size=batch_size)
    picked = whole[np.arange(50), DATA[1]]
    assert logs["loss"] == pytest.approx(float(-jnp.log(picked).mean()), rel=1e-5)


def test_predict_takes_bare_parameters_and_a_vmap_over_members():
    net = fnet.sequential(fnet.flatten, fnet.dense(3), fnet.softmax)
    x = DATA[0].astype(np.float32) / 255
    params = jax.vmap(lambda key: fnet.init(net, key, (4, 4)))(jax.random.split(jax.random.key(0)))
    members = jax.vmap(lambda params: fnet.predict(net, params, x))(params)
    chex.assert_shape(members, (2, 50, 3))
    chex.assert_trees_all_close(members[1], fnet.predict(net, slices(params, 1), x), rtol=1e-5)


def test_one_probability_is_a_class_above_one_half():
    x = np.array([[-1.0], [2.0]], np.float32)
    assert fnet.predict_classes(fnet.sigmoid, {}, x).tolist() == [0, 1]


def test_half_precision_parameters_train_and_keep_their_dtype():
    net = classifier(8)
    state = start(net)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), state.params)
    state = dataclasses.replace(state, params=half, opt_state=state.optimizer.init(half))
    x, y = DATA
    trained, history = fnet.train(task(net), state, (jnp.asarray(x, jnp.bfloat16), y), **RUN)
    chex.assert_trees_all_equal_dtypes(trained.params, half)
    chex.assert_type(history["loss"], jnp.float32)
    assert history["loss"][-1] < history["loss"][0]


def test_runs_without_jit_to_be_debugged():
    """`jax.disable_jit()` is how JAX's users look into a program."""
    net, x = fnet.dense(1), np.linspace(-1, 1, 6, dtype=np.float32)[:, None]
    state = fnet.train_state(net, "sgd", jax.random.key(0), (1,))
    problem, options = fnet.supervised(net, "mean_squared_error"), {"epochs": 1, "batch_size": 4}
    _, expected = fnet.train(problem, state, (x, 3 * x), **options)
    with jax.disable_jit():
        for run in (fnet.train, functools.partial(fnet.fit, progress=False)):
            _, history = run(problem, state, (x, 3 * x), **options)
            np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
