"""Many models in one program: ensembles, sweeps, and derivatives of whole runs."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import LOSS, bits, classifier, enable_x64, images, start, task

import fnet
from fnet.training.scan import scan, segment_size
from fnet.training.train_many import CACHED, FORMS, fastest_form

DATA, VALIDATION = images(50), images(20, seed=1)
RUN = {"epochs": 2, "batch_size": 8, "validation": VALIDATION}


def member(tree, i):
    return jax.tree.map(lambda a: a[i], tree)


@pytest.fixture(scope="module")
def ensemble():
    keys = jax.random.split(jax.random.key(0), 4)
    return jax.vmap(lambda key: fnet.train_state(classifier(), "momentum", key, (4, 4)))(keys)


@pytest.fixture(scope="module")
def singles(ensemble):
    """Four runs of `train`, with dropout, batch norm and a ragged last batch."""
    run = {"record": ["loss", "grad_norm"], **RUN}
    return [fnet.train(task(), member(ensemble, i), DATA, **run) for i in range(4)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_single_runs_give(form, ensemble, singles):
    many = fnet.train_many(task(), ensemble, DATA, record=["loss", "grad_norm"], form=form, **RUN)
    chex.assert_shape(many[1]["loss"], (4, 2))
    chex.assert_shape(many[1]["record"]["step"], (4, 14))
    for i, single in enumerate(singles):
        chex.assert_trees_all_close(bits(member(many, i)), bits(single), rtol=1e-5, atol=1e-5)
        if form == "map":
            chex.assert_trees_all_equal(bits(member(many, i)), bits(single))


def test_vmap_of_train_itself_gives_it_too(ensemble, singles):
    many = jax.vmap(lambda state: fnet.train(task(), state, DATA, **RUN)[0])(ensemble)
    for i, (single, _) in enumerate(singles):
        chex.assert_trees_all_close(bits(member(many, i)), bits(single), rtol=1e-5, atol=1e-5)


def test_tasks_are_static_arguments_of_a_jit(ensemble):
    evaluate, one = jax.jit(fnet.evaluate), member(ensemble, 0)
    values = evaluate(task(), one, DATA)
    assert isinstance(values["loss"], jax.Array)
    chex.assert_trees_all_close(values, fnet.evaluate(task(), one, DATA), rtol=1e-5)
    evaluate(task(), one, DATA)  # equal, but built anew
    assert evaluate._cache_size() == 1
    _, history = jax.jit(fnet.train, static_argnames=("epochs", "batch_size"))(
        task(), one, DATA, epochs=2, batch_size=16
    )
    _, expected = fnet.train(task(), one, DATA, epochs=2, batch_size=16)
    chex.assert_trees_all_close(history, expected, rtol=1e-5)


def test_evaluate_is_mapped_over_members_and_has_a_gradient(ensemble):
    mapped = jax.vmap(lambda state: fnet.evaluate(task(), state, DATA))(ensemble)
    alone = [fnet.evaluate(task(), member(ensemble, i), DATA) for i in range(4)]
    assert set(mapped) == set(alone[0]) == {*task().names}
    for name, values in mapped.items():
        np.testing.assert_allclose(values, [one[name] for one in alone], rtol=1e-5)

    def loss(params):
        one = dataclasses.replace(member(ensemble, 0), params=params)
        return fnet.evaluate(task(), one, DATA)["loss"]

    slopes = jax.tree.leaves(jax.grad(loss)(member(ensemble, 0).params))
    assert all(jnp.abs(slope).max() > 0 for slope in slopes)


def test_the_average_over_members_is_a_vmap_of_predict(ensemble):
    x, _ = DATA
    average = jax.vmap(lambda state: fnet.predict(classifier(), state, x))(ensemble).mean(axis=0)
    by_hand = sum(fnet.predict(classifier(), member(ensemble, i), x) for i in range(4)) / 4
    chex.assert_trees_all_close(average, by_hand, rtol=1e-5)


def test_the_form_is_chosen_by_the_size_of_all_members():
    small, large = (
        fnet.grid(seed=range(20)).states(classifier(n), "sgd", (4, 4)) for n in (2, 2000)
    )
    assert fnet.count_params(small.params) < CACHED < fnet.count_params(large.params)
    assert fastest_form(small) == "vmap"
    if jax.default_backend() == "cpu":
        assert fastest_form(large) == "map"


def test_another_sweep_of_the_same_size_compiles_nothing(ensemble, compilations):
    for rate in (0.1, 0.2):
        states = dataclasses.replace(ensemble, optimizer=fnet.momentum(np.full(4, rate)))
        fnet.train_many(task(), states, DATA, **RUN)
        if rate == 0.1:
            compilations.clear()
    assert not compilations


class TestGrid:
    GRID = fnet.grid(learning_rate=[1e-3, 1e-2], seed=range(3), rho=[0.5, 0.9])

    def test_is_the_product_of_its_axes(self):
        labels = self.GRID.labels
        assert len(self.GRID) == 12
        assert len(set(zip(*(labels[name].tolist() for name in labels), strict=True))) == 12
        assert labels["rho"].tolist() == [0.5, 0.9] * 6

    def test_its_states_are_those_of_single_runs(self):
        states = self.GRID.states(classifier(), fnet.rmsprop(epsilon=1e-3), (4, 4))
        for i in (0, 5, 11):
            rate, seed, rho = (float(self.GRID.labels[n][i]) for n in self.GRID.axes)
            optimizer = fnet.rmsprop(rate, rho=rho, epsilon=1e-3)
            one = fnet.train_state(classifier(), optimizer, jax.random.key(int(seed)), (4, 4))
            chex.assert_trees_all_close(
                bits(member(states, i)), bits(jax.tree.map(jnp.asarray, one)), rtol=1e-6
            )

    def test_seeds_alone_are_an_ensemble(self):
        states = fnet.grid(seed=[3, 4]).states(classifier(), "adam", (4, 4))
        chex.assert_trees_all_equal(bits(member(states, 1)).params, start(seed=4).params)
        chex.assert_shape(states.optimizer.learning_rate, (2,))

    def test_a_schedule_goes_along_with_an_axis(self):
        optimizer = fnet.momentum(fnet.cosine(0.1, 10))
        states = fnet.grid(beta=[0.5, 0.9]).states(classifier(), optimizer, (4, 4))
        _, history = fnet.train_many(
            task(), states, DATA, record=["learning_rate"], form="map", **RUN
        )
        rates = history["record"]["learning_rate"]
        chex.assert_trees_all_close(rates[0], fnet.cosine(0.1, 10)(np.arange(14.0)), rtol=1e-5)

    def test_mean_and_spread_are_over_the_seeds(self):
        values = np.arange(12.0)
        rows, means, spreads = self.GRID.over_seeds(values)
        cube = values.reshape(2, 3, 2)
        assert rows[1] == {"learning_rate": 1e-3, "rho": 0.9}
        np.testing.assert_allclose(means, cube.mean(axis=1).ravel())
        np.testing.assert_allclose(spreads, cube.std(axis=1, ddof=1).ravel())

    def test_prints_as_a_table_of_the_last_epoch(self):
        history = {
            "loss": np.stack([np.full(12, 9.0), np.arange(12.0)], axis=1),
            "record": {"step": np.zeros((12, 4))},
        }
        assert self.GRID.table(history).splitlines() == [
            "learning_rate   rho   loss",
            "0.001           0.5   2.0000 ± 2.0000",
            "0.001           0.9   3.0000 ± 2.0000",
            "0.01            0.5   8.0000 ± 2.0000",
            "0.01            0.9   9.0000 ± 2.0000",
        ]
        alone = fnet.grid(learning_rate=[0.1, 0.2]).table({"loss": [[1.0], [2.0]]})
        assert alone.splitlines()[1:] == ["0.1             1.0000", "0.2             2.0000"]


BAD = {
    "words": (TypeError, "`rho` of grid must be a list", lambda: fnet.grid(rho=["a"])),
    "a static one": (
        ValueError,
        "`nesterov` must be a hyperparameter of momentum",
        lambda: fnet.grid(nesterov=[0, 1]).states(fnet.dense(1), "momentum", (1,)),
    ),
    "out of range": (
        ValueError,
        r"`rho` of rmsprop must be in \[0, 1\)",
        lambda: fnet.grid(rho=[0.5, 1.5]).states(fnet.dense(1), "rmsprop", (1,)),
    ),
    "arrays of different lengths": (
        ValueError,
        r"the same shape, got learning_rate \(16,\), rho \(3,\)",
        lambda: fnet.rmsprop(np.full(16, 0.1), rho=np.full(3, 0.9)),
    ),
    "another grid's history": (
        ValueError,
        r"one a member, shape \(2,\), got \(3,\)",
        lambda: fnet.grid(rho=[0.5, 0.9]).table({"loss": np.ones((3, 1))}),
    ),
    "an unknown curve": (
        ValueError,
        "`name` must be one of 'loss', got 'val_loss'",
        lambda: fnet.plot_grid(fnet.grid(rho=[0.5]), {"loss": [[1.0]], "record": {}}),
    ),
    "a picture of seeds": (
        ValueError,
        "got seeds alone",
        lambda: fnet.plot_grid(fnet.grid(seed=[0]), {"loss": [[1.0]]}, "loss"),
    ),
    "one member": (
        ValueError,
        r"the members as the first axis of every leaf",
        lambda: fnet.train_many(task(), start(), DATA, **RUN),
    ),
    "an unknown form": (
        ValueError,
        "`form` must be one of 'vmap', 'map', got 'pmap'",
        lambda: fnet.train_many(
            task(), fnet.grid(seed=[0]).states(classifier(), "sgd", (4, 4)), DATA,
            form="pmap", **RUN,
        ),
    ),
    "an unknown series": (
        ValueError,
        "`record` must name series of this run, got 'gradient'. There are 'loss', 'accuracy', "
        "'step', 'grad_norm'",
        lambda: fnet.train(task(), start(), DATA, record=["gradient"], **RUN),
    ),
    "a series as a word": (
        TypeError,
        r"`record` must be a list, got 'loss'. Write \['loss'\]",
        lambda: fnet.fit(task(), start(), DATA, record="loss", **RUN),
    ),
    "every step of none": (
        ValueError,
        "`record_every` must be an integer of at least 1, got 0",
        lambda: fnet.train(task(), start(), DATA, record=["loss"], record_every=0, **RUN),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    error, message, call = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_members_of_different_numbers_are_named(ensemble):
    states = dataclasses.replace(ensemble, optimizer=fnet.momentum(np.full(3, 0.1)))
    with pytest.raises(ValueError, match=r"got \(4,\) in step, \(3,\) in optimizer"):
        fnet.train_many(task(), states, DATA, **RUN)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 37, 101])
def test_the_rematerialised_scan_is_the_scan(length):
    def step(carry, x):
        carry = jnp.sin(carry * x) + x
        return carry, carry**2

    def last(scan, start):
        carry, ys = scan(step, start, jnp.linspace(0.0, 1.0, length))
        return carry + ys.sum(), ys

    def ours(step, carry, xs):
        return scan(lambda number, carry, _: step(carry, xs[number - 5]), carry, 5, length)

    def ahead(step, carry, xs):
        def some(number, steps):
            return jax.lax.dynamic_slice_in_dim(xs, number - 5, steps)

        return scan(lambda _, carry, x: step(carry, x), carry, 5, length, some, unroll=2)

    expected, *found = (jax.value_and_grad(lambda c, s=s: last(s, c), has_aux=True)(0.3)
                        for s in (jax.lax.scan, ours, ahead))  # fmt: skip
    for got in found:
        chex.assert_trees_all_close(got, expected, rtol=1e-6)


def test_segments_are_about_the_root_of_the_length():
    for length in range(1, 2_000):
        assert segment_size(length) + length // segment_size(length) <= 6 * length**0.5


# Each rule has its derivatives compared in test_optimizers.py: here are those of a run.
OPTIMIZERS = [
    fnet.rmsprop(0.01, rho=0.8, epsilon=1e-2),
    fnet.adamw(0.01, beta1=0.8, beta2=0.9, epsilon=1e-2, weight_decay=0.1),
    fnet.momentum(fnet.cosine(0.1, 8)),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
def test_hypergradients_are_central_differences(optimizer):
    """The validation loss after a run, by every hyperparameter of its optimizer, to 6 digits."""
    net = fnet.sequential(fnet.dense(3), fnet.softmax)
    x, y = images(20)
    with enable_x64():
        data = (x.reshape(20, 16) / 255.0, y)
        state = fnet.train_state(net, optimizer, jax.random.key(0), (16,))
        chex.assert_type(jax.tree.leaves(state.params), float)
        leaves, tree = jax.tree.flatten(jax.tree.map(float, optimizer))

        @jax.jit
        @jax.value_and_grad
        def validation_loss(leaves):
            swept = dataclasses.replace(state, optimizer=jax.tree.unflatten(tree, leaves))
            swept = dataclasses.replace(swept, opt_state=swept.optimizer.init(state.params))
            _, history = fnet.train(
                fnet.supervised(net, LOSS), swept, data, epochs=2, batch_size=5, validation=data
            )
            return history["val_loss"][-1]

        _, slopes = validation_loss(leaves)
        for i, leaf in enumerate(leaves):
            h = 1e-5 * max(leaf, 1e-2)
            above, below = ([*leaves[:i], leaf + d, *leaves[i + 1 :]] for d in (h, -h))
            difference = (validation_loss(above)[0] - validation_loss(below)[0]) / (2 * h)
            assert float(slopes[i]) == pytest.approx(float(difference), rel=1e-6, abs=1e-9)


def test_the_memory_of_a_derivative_grows_with_the_root_of_the_steps():
    net = fnet.sequential(fnet.dense(32), fnet.softmax)
    state = fnet.train_state(net, fnet.momentum(0.1), jax.random.key(0), (16,))

    def bytes_kept(batches: int, epochs: int) -> int:
        x, y = np.zeros((batches, 16), np.float32), np.zeros(batches, np.int32)

        def loss(optimizer):
            swept = dataclasses.replace(state, optimizer=optimizer)
            _, history = fnet.train(
                fnet.supervised(net, LOSS), swept, (x, y), epochs=epochs, batch_size=1
            )
            return history["loss"][-1]

        program = jax.jit(jax.grad(loss)).lower(state.optimizer).compile()
        return program.memory_analysis().temp_size_in_bytes

    few = bytes_kept(100, 1)
    assert bytes_kept(1600, 1) < 5 * few  # 4 times by the root, 16 times without
    assert bytes_kept(100, 16) < 2 * few
