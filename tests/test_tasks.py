"""Tasks of one's own: the laws hold for them as for supervised learning."""

import functools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own_tasks import BATCH_SIZE, OWN, SAMPLES, Case, centred, drawn, vae
from problems import bits, classifier, images, start, task

import fnet

RUN = {"epochs": 2}


def equal(a, b) -> None:
    chex.assert_trees_all_equal(bits(a), bits(b))


def close(a, b) -> None:
    chex.assert_trees_all_close(bits(a), bits(b), rtol=2e-5, atol=1e-6)


@functools.cache
def trained(name):
    case = OWN[name]
    recorded = {"record": ["loss", "grad_norm"], "record_every": 2}
    return fnet.train(
        case.task, case.start(), case.data, validation=case.data, **RUN, **recorded, **case.options
    )


def each_own(function):
    return pytest.mark.parametrize("name", OWN)(function)


@each_own
@pytest.mark.bits
def test_law_3_steps_train_and_fit_are_the_same_bit_for_bit(name):
    case = OWN[name]
    fitted = fnet.fit(
        case.task,
        case.start(),
        case.data,
        validation=case.data,
        record=["loss", "grad_norm"],
        record_every=2,
        progress=False,
        **RUN,
        **case.options,
    )
    equal(fitted, trained(name))
    step, state = jax.jit(fnet.train_step(case.task)), case.start()
    for epoch in range(RUN["epochs"]):
        for batch in batches(case, state, epoch):
            state, _ = step(state, batch)
    equal(state, trained(name)[0])


def batches(case: Case, state, epoch):
    if case.data is None:
        return [None] * case.options["steps"]
    return fnet.batches(case.data, BATCH_SIZE, key=state.key, epoch=epoch)


@each_own
def test_law_1_each_batch_counts_by_its_samples_the_ragged_one_too(name):
    """The history is the mean of the steps' logs, weighted by the sizes of their batches."""
    case, (state, history) = OWN[name], trained(name)
    assert history["loss"].shape == (2,) and list(history)[0] == "loss"
    step, stepped, sums = jax.jit(fnet.train_step(case.task)), case.start(), np.zeros(2)
    for epoch in range(2):
        for batch in batches(case, stepped, epoch):
            stepped, logs = step(stepped, batch)
            sums[epoch] += logs["loss"] * (
                len(jax.tree.leaves(batch)[0]) if batch is not None else 1
            )
    samples = SAMPLES if case.data is not None else case.options["steps"]
    np.testing.assert_allclose(history["loss"], sums / samples, rtol=2e-5)
    close(stepped, state)


@each_own
def test_law_4_vmapped_runs_equal_single_runs(name):
    case, keys = OWN[name], jax.random.split(jax.random.key(3), 2)
    states = jax.vmap(case.start)(keys)
    many, history = fnet.train_many(
        case.task, states, case.data, form="vmap", **RUN, **case.options
    )
    one, alone = fnet.train(case.task, case.start(keys[1]), case.data, **RUN, **case.options)
    close(jax.tree.map(lambda a: a[1], (many, history)), (one, alone))


@each_own
def test_law_5_and_6_a_second_run_has_the_same_bits_and_nothing_given_changes(name):
    case = OWN[name]
    first, history = trained(name)
    state, before = case.start(), jax.tree.map(np.array, (bits(case.start()), case.data))
    again = fnet.train(
        case.task, state, case.data, validation=case.data, record=["loss", "grad_norm"],
        record_every=2, **RUN, **case.options,
    )  # fmt: skip
    equal(again, (first, history))
    equal((bits(state), case.data), before)


@each_own
def test_a_run_resumes_within_an_epoch(name, tmp_path):
    case = OWN[name]
    options = {"progress": False, "record": ["loss"], **case.options}
    whole = fnet.fit(case.task, case.start(), case.data, **RUN, **options)

    class Cut(Exception):
        pass

    saved = fnet.Checkpoints(tmp_path / "run", every=2)
    write, done = saved.write, []

    def cut(state, extra):
        write(state, extra)
        done.append(int(state.step))
        if int(state.step) == 4:
            raise Cut

    saved.write = cut
    with pytest.raises(Cut):
        fnet.fit(case.task, case.start(), case.data, callbacks=[saved], **RUN, **options)
    assert done[-1] == 4  # of 6, within the second epoch
    saved.write = write
    again = fnet.fit(
        case.task, case.start(), case.data, callbacks=[saved], resume="auto", **RUN, **options
    )
    equal(again, whole)


@each_own
def test_evaluation_averages_over_samples_whatever_the_batch(name):
    case = OWN[name]
    state, all_at_once = case.start(), fnet.evaluate(case.task, case.start(), case.data)
    if name in ("sampling", "of the batch") or case.data is None:
        assert all_at_once == fnet.evaluate(case.task, state, case.data)  # the same noise
        return
    ragged = fnet.evaluate(case.task, state, case.data, batch_size=BATCH_SIZE)
    assert ragged == pytest.approx(all_at_once, rel=1e-5)
    values = case.task.evaluate(state.params, state.model_state, case.data, state.key)
    assert all_at_once["loss"] == pytest.approx(float(values["loss"].mean()), rel=1e-5)


def test_evaluation_of_a_batch_as_a_whole_takes_the_ragged_batch_as_it_is():
    case = OWN["of the batch"]
    values = fnet.evaluate(case.task, case.start(), case.data, batch_size=BATCH_SIZE)
    expected = sum(
        len(left) * float(case.task.evaluate(case.params, {}, (left, right), None)["loss"])
        for left, right in fnet.batches(case.data, BATCH_SIZE)
    )
    assert values["loss"] == pytest.approx(expected / SAMPLES, rel=1e-5)


def test_another_function_evaluates_and_names_the_validation():
    _, history = trained("stateful")
    assert list(history) == ["loss", "val_loss", "val_absolute", "record"]
    state, _ = trained("stateful")
    assert state.model_state["seen"] == 6  # steps
    case = OWN["stateful"]
    evaluated = fnet.evaluate(case.task, state, case.data)
    assert evaluated["absolute"] == pytest.approx(float(history["val_absolute"][-1]), rel=1e-6)


class Trees:
    """Rows by number, as trees."""

    def __init__(self, data, lists):
        self.data, self.lists = data, lists

    def __len__(self):
        return SAMPLES

    def __getitem__(self, rows):
        if not self.lists and not isinstance(rows, int):
            raise TypeError("one row at a time")
        return jax.tree.map(lambda a: a[rows], self.data)


@pytest.mark.parametrize("kind", ["lists", "samples", "memmap", "batches", "list", "host"])
def test_every_source_of_trees_gives_the_bits_of_arrays(kind, tmp_path):
    case = OWN["three inputs"]
    options = {"epochs": 1, "shuffle": False, "progress": False}
    expected = fnet.fit(case.task, case.start(), case.data, batch_size=BATCH_SIZE, **options)
    mesh = jax.make_mesh((1,), ("data",))

    def memmap(array):
        path = tmp_path / f"{array.dtype}{array.shape}"
        array.tofile(path)
        return np.memmap(path, array.dtype, "r", shape=array.shape)

    data = {
        "lists": lambda: Trees(case.data, lists=True),
        "samples": lambda: Trees(case.data, lists=False),
        "memmap": lambda: case.data | {"image": memmap(case.data["image"])},
        "batches": lambda: iter(fnet.batches(case.data, BATCH_SIZE)),
        "list": lambda: list(fnet.batches(case.data, BATCH_SIZE)),
        "host": lambda: fnet.host_batches(case.data, BATCH_SIZE, mesh),
    }[kind]()
    given = {"mesh": mesh} if kind == "host" else {}
    close(
        fnet.fit(case.task, case.start(), data, batch_size=BATCH_SIZE, **given, **options), expected
    )


def test_a_mesh_gives_the_same():
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    for name in ("three inputs", "without data", "statistic"):
        case = OWN[name]
        on_mesh = fnet.train(case.task, case.start(), case.data, mesh=mesh, **RUN, **case.options)
        close(on_mesh, fnet.train(case.task, case.start(), case.data, **RUN, **case.options))


def test_a_grid_takes_a_constructor_of_states():
    grid = fnet.grid(learning_rate=[0.01, 0.1], seed=[0, 1])
    states = grid.states(OWN["sampling"].start)
    assert states.optimizer.learning_rate.tolist() == pytest.approx([0.01, 0.01, 0.1, 0.1])
    case = OWN["sampling"]
    many, history = fnet.train_many(case.task, states, case.data, **RUN, **case.options)
    one = fnet.train(case.task, case.start(1, fnet.adam(0.1)), case.data, **RUN, **case.options)
    close(jax.tree.map(lambda a: a[3], (many, history)), one)


def test_the_start_is_that_of_a_model():
    net = classifier()
    params, model_state = fnet.init(net, jax.random.key(0), (4, 4)), fnet.init_state(net, (4, 4))
    equal(fnet.TrainState.create(params, "adam", jax.random.key(0), model_state), start(net))


def test_tasks_are_values_and_a_rebuilt_one_compiles_nothing(compilations):
    def built():
        return fnet.penalized(fnet.task(functools.partial(scaled, scale=2.0)), fnet.l2(0.1, where))

    assert built() == built() and hash(built()) == hash(built())
    assert pickle.loads(pickle.dumps(built())) == built()
    assert jax.tree.structure(built()) == jax.tree.structure(built())
    assert fnet.task(vae) != fnet.task(drawn)
    state = fnet.TrainState.create({"w": jnp.ones(2)}, "sgd", jax.random.key(0))
    fnet.train(built(), state, jnp.ones((4, 2)), epochs=1)
    compilations.clear()
    fnet.train(built(), state, jnp.ones((4, 2)), epochs=1)
    assert not compilations


def test_a_task_shows_what_it_is_made_of():
    assert repr(OWN["statistic"].task) == "penalized(sharpness_aware(task(detector), 0.1), l2)"
    assert repr(task()).endswith("dense(3), softmax), 'sparse_categorical_crossentropy')")


def scaled(params, batch, key, scale):
    return scale * (batch @ params["w"])


def where(path):
    return path == "w"


def test_a_penalty_adds_its_gradient():
    params = {"dense": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.ones(2)}}
    inner = fnet.task(lambda params, batch, key: 0 * batch)
    for penalty, expected in ((fnet.l2(0.5), [[1.0, -2.0]]), (fnet.l1(0.5), [[0.5, -0.5]])):
        state = fnet.TrainState.create(params, fnet.sgd(1.0), jax.random.key(0))
        new, logs = fnet.train_step(fnet.penalized(inner, penalty))(state, jnp.ones(3))
        change = params["dense"]["kernel"] - new.params["dense"]["kernel"]
        chex.assert_trees_all_close(change, jnp.array(expected))
        assert logs["loss"] == penalty(params)
        chex.assert_trees_all_equal(new.params["dense"]["bias"], params["dense"]["bias"])


def test_sharpness_aware_takes_the_gradient_at_the_ascended_point():
    """Foret et al. 2021, algorithm 1, by hand for the loss w^T A w / 2."""
    matrix = jnp.array([[3.0, 1.0], [1.0, 2.0]])
    inner = fnet.task(lambda w, batch, key: w @ matrix @ w / 2)
    w = jnp.array([1.0, -1.0])
    state = fnet.TrainState.create(w, fnet.sgd(0.1), jax.random.key(0))
    new, _ = fnet.train_step(fnet.sharpness_aware(inner, rho=0.2))(state, None)
    gradient = matrix @ w
    nearby = w + 0.2 * gradient / jnp.linalg.norm(gradient)
    chex.assert_trees_all_close(new.params, w - 0.1 * matrix @ nearby, rtol=1e-6)
    flat = fnet.TrainState.create(jnp.zeros(2), fnet.sgd(0.1), jax.random.key(0))
    assert not fnet.train_step(fnet.sharpness_aware(inner))(flat, None)[0].params.any()


def test_sharpness_aware_works_with_dropout_and_running_statistics():
    plain = start()
    state, history = fnet.train(
        fnet.sharpness_aware(task()), plain, images(), epochs=2, batch_size=8
    )
    assert np.isfinite(history["loss"]).all()
    assert not jnp.array_equal(state.model_state["batch_norm"]["mean"], 0)


def test_a_step_that_is_not_finite_is_named():
    def exploding(params, batch, key):
        return jnp.where(batch > 3, jnp.inf, 1.0) * params["w"]

    state = fnet.TrainState.create({"w": 1.0}, fnet.sgd(1e-3), jax.random.key(0))
    with pytest.warns(RuntimeWarning, match="from before step 4, .*the loss gives what is not"):
        fnet.fit(
            fnet.task(exploding), state, np.arange(8.0, dtype=np.float32), batch_size=1,
            shuffle=False, progress=False,
        )  # fmt: skip


ONE = jnp.ones((4, 2))
STATE = fnet.TrainState.create({"w": jnp.ones(2)}, "sgd", jax.random.key(0))


def run(function, data=ONE, state=STATE, stateful=False, **options):
    return fnet.train(fnet.task(function, stateful=stateful), state, data, epochs=1, **options)


BAD = {
    "no loss": (
        ValueError, r'`function` of a task must return a loss, or a dict with "loss" in it, got',
        lambda: run(lambda p, b, k: {"elbo": b.sum(-1)}),
    ),
    "a matrix": (
        ValueError, r"`loss` must be one value a sample, shape \(4,\), or the mean of the batch",
        lambda: run(lambda p, b, k: b * 2),
    ),
    "values of another length": (
        ValueError, r"`extra` must be one value a sample, shape \(4,\), .* got shape \(3,\)",
        lambda: run(lambda p, b, k: {"loss": b.sum(-1), "extra": b[:3, 0]}),
    ),
    "lengths": (
        ValueError, r"`data` must hold as many samples in every leaf, got `a` of .* and `b/0` of",
        lambda: run(lambda p, b, k: b["a"], {"a": ONE, "b": [ONE[:3]]}),
    ),
    "a scalar leaf": (
        ValueError, r"`b` of `data` must|as many samples in every leaf",
        lambda: run(lambda p, b, k: b["a"], {"a": ONE, "b": 1.0}),
    ),
    "no leaf": (
        TypeError, r"`data` must be a tree of arrays, such as \(x, y\) or a dict, got a dict",
        lambda: run(lambda p, b, k: 0.0, {}),
    ),
    "no steps": (
        ValueError, r"`steps` must be the length of an epoch where `data` is None",
        lambda: run(lambda p, b, k: p["w"].sum(), None),
    ),
    "steps and data": (
        ValueError, r"`steps` must be left out with data", lambda: run(lambda p, b, k: 0, steps=3),
    ),
    "no steps in fit": (
        ValueError, r"`steps` must be the length of an epoch where `data` is None",
        lambda: fnet.fit(fnet.task(drawn), STATE, None),
    ),
    "a split of nothing": (
        ValueError, r"`validation_split` must be 0 without data to split",
        lambda: fnet.fit(fnet.task(drawn), STATE, None, steps=2, validation_split=0.2),
    ),
    "a model for a task": (
        TypeError, r"`task` must be a task, got dense\(1\)\. Wrap it: fnet.supervised\(net, loss\)",
        lambda: fnet.train(fnet.dense(1), STATE, ONE, epochs=1),
    ),
    "a function for a task": (
        TypeError, r"`task` must be a task, got vae\. Make one of any function: fnet.task",
        lambda: fnet.train(vae, STATE, ONE, epochs=1),
    ),
    "no function": (
        TypeError, r"`function` must be a function, got 3", lambda: fnet.task(3),
    ),
    "another signature": (
        TypeError, r"must take \(params, batch, key\), got lambda\(params, x\)\.",
        lambda: fnet.task(lambda params, x: x),
    ),
    "a signature without the state": (
        TypeError, r"`evaluate` of a stateful task must take \(params, model_state, batch, key\)",
        lambda: fnet.task(centred, stateful=True, evaluate=vae),
    ),
    "a grid of a model without an optimizer": (
        TypeError, r"`optimizer` must come with a model, got none with dense\(1\)",
        lambda: fnet.grid(seed=[0]).states(fnet.dense(1)),
    ),
    "a grid of no states": (
        TypeError, "`state` must be a TrainState, got an array of shape",
        lambda: fnet.grid(seed=[0]).states(jax.random.key_data),
    ),
    "no pair": (
        TypeError, r"`function` of a stateful task must return \(values, model_state\)",
        lambda: run(lambda p, s, b, k: b.sum(-1), stateful=True),
    ),
    "another state": (
        TypeError, r"must return a model state of the form that it takes, got leaves \['t'\]",
        lambda: run(lambda p, s, b, k: (b.sum(-1), {"t": b}), stateful=True),
    ),
    "a state of another shape": (
        TypeError, r"form that it takes, got an array of shape \(2,\) .* at 'mean'",
        lambda: run(
            lambda p, s, b, k: (b.sum(-1), {"mean": b[0, :2], "seen": s["seen"]}),
            state=OWN["stateful"].start(), stateful=True,
        ),
    ),
    "integer parameters": (
        TypeError, r"`params` must be a tree of floating arrays, got int32 in 'n'",
        lambda: fnet.TrainState.create({"n": 3}, "sgd", jax.random.key(0)),
    ),
    "no parameters": (
        TypeError, r"`params` must be a tree of floating arrays, got a dict",
        lambda: fnet.TrainState.create({}, "sgd", jax.random.key(0)),
    ),
    "no kernel": (
        ValueError, r"`where` of l2 must choose some parameters, got none of \['w'\]",
        lambda: fnet.l2(0.1)({"w": ONE}),
    ),
    "a negative scale": (ValueError, r"`scale` of l1 must be in", lambda: fnet.l1(-1.0)),
    "a negative rho": (
        ValueError, r"`rho` must be in \[0, inf\)",
        lambda: fnet.sharpness_aware(fnet.task(vae), -0.1),
    ),
    "a loss tree for one output": (
        TypeError, r"the output of `net` must be a tree with the leaves \['a', 'b'\]",
        lambda: fnet.evaluate(
            fnet.supervised(fnet.dense(1), {"a": "mean_squared_error", "b": "huber"}),
            fnet.init(fnet.dense(1), jax.random.key(0), (2,)), (ONE, {"a": ONE, "b": ONE}),
        ),
    ),
    "metrics of another form": (
        TypeError, r"`metrics` must be a tree of the form of `loss`, with one for each of",
        lambda: fnet.supervised(fnet.dense(1), {"a": "huber", "b": "huber"}, ["accuracy"]),
    ),
    "a loss weight in words": (
        ValueError, r"`loss_weights` must be numbers of at least 0, got 'much'",
        lambda: fnet.supervised(fnet.dense(1), {"a": "huber"}, loss_weights={"a": "much"}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, compilations):
    error, words, call = BAD[name]
    with pytest.raises(error, match=words):
        call()
