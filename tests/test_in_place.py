"""`fit(on_nonfinite="ignore")`: nothing is checked, and the state takes its memory once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import bits, images, start, task

import fnet
from fnet.fitting import source_batches, sources

DATA = images(36)
RUN = {"epochs": 3, "batch_size": 8, "progress": False}
IGNORE = RUN | {"on_nonfinite": "ignore"}
TASK = task(metrics=())


class Indexed:
    """The same rows by number."""

    def __len__(self):
        return len(DATA[0])

    def __getitem__(self, rows):
        return tuple(array[rows] for array in DATA)


KINDS = {
    "arrays": DATA,
    "rows": Indexed(),
    "batches": list(fnet.batches(DATA, 8, key=start().key)),
}


@pytest.fixture(scope="module")
def checked():
    return fnet.fit(TASK, start(), DATA, **RUN | {"epochs": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_the_run_is_that_of_checked_steps_and_the_start_stays_valid(kind, checked):
    begun = start()
    before = jax.device_get(bits(begun))
    ours = fnet.fit(TASK, begun, KINDS[kind], **IGNORE | {"epochs": 1})
    chex.assert_trees_all_equal(jax.device_get(bits(begun)), before)
    chex.assert_trees_all_close(bits(ours), bits(checked), rtol=1e-5, atol=1e-6)


@pytest.mark.bits
def test_its_bits_are_those_of_train():
    ours = fnet.fit(TASK, start(), DATA, **IGNORE)
    chex.assert_trees_all_equal(
        bits(ours), bits(fnet.train(TASK, start(), DATA, epochs=3, batch_size=8))
    )


def test_what_is_not_finite_goes_through():
    x = np.ones((8, 1), np.float32)
    net = fnet.dense(1)
    state = fnet.train_state(net, fnet.sgd(1e30), jax.random.key(0), (1,))
    squares = fnet.supervised(net, "mean_squared_error")
    for data in ((x, x), [(x, x)]):
        state_after, history = fnet.fit(squares, state, data, **IGNORE | {"epochs": 4})
        assert history["loss"].shape == (4,) and not np.isfinite(history["loss"][-1])
        assert int(state_after.step) == 4 and np.isfinite(state.params["kernel"]).all()


def test_steps_take_the_memory_of_the_state(monkeypatch):
    """By the compiled program, and by the arrays of the state before, which are gone."""
    for module, name in ((sources, "steps_in_place"), (source_batches, "step_in_place")):
        given, taken = getattr(module, name), []

        def watch(program, state, *others, given=given, taken=taken):
            compiled = given.lower(program, state, *others).compile()
            taken.append((compiled.memory_analysis().alias_size_in_bytes, state))
            return given(program, state, *others)

        monkeypatch.setattr(module, name, watch)
        data = DATA if module is sources else list(fnet.batches(DATA, 8))
        fnet.fit(TASK, start(), data, **IGNORE | {"epochs": 1})
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(start().params))
        assert all(alias >= 2 * size for alias, _ in taken)  # the optimizer's too
        assert all(leaf.is_deleted() for _, state in taken for leaf in jax.tree.leaves(state))


def test_callbacks_keep_what_they_were_shown_and_give_what_they_keep(tmp_path):
    seen = []

    def twice(epoch, state, logs):
        seen.append(state)
        return seen[0] if epoch == 1 else None

    saved = fnet.Checkpoints(tmp_path, best="loss")
    state, _ = fnet.fit(TASK, start(), DATA, callbacks=[twice, saved], **IGNORE)
    assert len(seen) == 3 and all(jnp.isfinite(each.step) for each in seen)
    chex.assert_trees_all_equal(bits(saved.latest(start())), bits(state))
    assert int(saved.best(start()).step) in (5, 10, 15)
    chex.assert_trees_all_equal(bits(seen[2].params), bits(state.params))


def test_a_run_that_fails_is_saved_and_goes_on(tmp_path, monkeypatch):
    def stop(epoch, state, logs):
        if epoch:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fnet.fit(TASK, start(), DATA, callbacks=[stop, fnet.Checkpoints(tmp_path)], **IGNORE)
    options = IGNORE | {"callbacks": [fnet.Checkpoints(tmp_path)], "resume": "auto"}
    given = sources.steps_in_place

    def lost(*arguments):
        given(*arguments)
        raise RuntimeError("lost")

    monkeypatch.setattr(sources, "steps_in_place", lost)
    with pytest.raises(RuntimeError, match="lost"):  # not one of saving what the step took
        fnet.fit(TASK, start(), DATA, **options)
    monkeypatch.undo()
    state, history = fnet.fit(TASK, start(), DATA, **options)
    assert int(state.step) == 15 and len(history["loss"]) == 3
