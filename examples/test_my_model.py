"""How to test a model: with pytest and chex, in seconds, before it trains for days.

    pytest examples/test_my_model.py

The model is a small one of two inputs; put your own in its place.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.test_util import check_grads

import fnet

IN_SHAPE = {"image": (8, 8, 1), "age": (1,)}
CLASSES, SAMPLES = 3, 12


def of_both(layers: Any, x: Any) -> jax.Array:
    seen = layers.look(x["image"])
    return layers.head(jnp.concatenate([seen, x["age"].astype(seen.dtype)], axis=-1))


@pytest.fixture(scope="module")
def net() -> fnet.Layer:
    look = fnet.sequential(
        fnet.conv(4, (3, 3)), fnet.batch_norm(), fnet.tanh, fnet.dropout(0.1), fnet.flatten
    )
    head = fnet.sequential(fnet.dense(16), fnet.tanh, fnet.dense(CLASSES), fnet.softmax)
    return fnet.graph(of_both, look=look, head=head)


@pytest.fixture(scope="module")
def task(net: fnet.Layer) -> fnet.Task:
    return fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])


@pytest.fixture(scope="module")
def state(net: fnet.Layer) -> fnet.TrainState:
    return fnet.train_state(net, fnet.adam(0.01), jax.random.key(0), IN_SHAPE)


@pytest.fixture(scope="module")
def batch() -> Any:
    """One batch of noise, with labels that only memory can tell."""
    keys = jax.random.split(jax.random.key(1))
    x = {
        "image": jax.random.normal(keys[0], (SAMPLES, 8, 8, 1)),
        "age": jax.random.uniform(keys[1], (SAMPLES, 1)),
    }
    return x, jnp.arange(SAMPLES) % CLASSES


def test_outputs_are_probabilities(net: fnet.Layer, state: fnet.TrainState, batch: Any) -> None:
    y = fnet.predict(net, state, batch[0])
    chex.assert_shape(y, (SAMPLES, CLASSES))
    chex.assert_type(y, jnp.float32)
    chex.assert_trees_all_close(y.sum(axis=-1), jnp.ones(SAMPLES), rtol=1e-5)
    assert fnet.output_shape(net, IN_SHAPE) == (CLASSES,)


def test_a_sample_does_not_see_the_others(
    net: fnet.Layer, state: fnet.TrainState, batch: Any
) -> None:
    """At inference: in training, batch norm mixes them on purpose."""
    together = fnet.predict(net, state, batch[0])
    first = fnet.predict(net, state, jax.tree.map(lambda leaf: leaf[:1], batch[0]))
    chex.assert_trees_all_close(together[:1], first, rtol=1e-4)


def test_every_parameter_gets_a_finite_gradient(
    task: fnet.Task, state: fnet.TrainState, batch: Any
) -> None:
    def loss(params: Any) -> jax.Array:
        values, _ = task.loss(params, state.model_state, batch, jax.random.key(2))
        return values["loss"].mean()

    grads = jax.jit(jax.grad(loss))(state.params)
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, state.params)
    chex.assert_tree_all_finite(grads)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert jnp.abs(grad).max() > 0, f"nothing reaches {jax.tree_util.keystr(path)}"


def test_gradients_are_those_of_finite_differences(
    net: fnet.Layer, state: fnet.TrainState, batch: Any
) -> None:
    def loss(params: Any) -> jax.Array:
        y = fnet.apply(net, params, batch[0], state.model_state)
        return fnet.sparse_categorical_crossentropy(batch[1], y).mean()

    check_grads(jax.jit(loss), (state.params,), order=1, modes=["rev"], rtol=0.02, atol=0.002)


def test_a_step_changes_what_it_should_and_is_traced_once(
    task: fnet.Task, state: fnet.TrainState, batch: Any
) -> None:
    chex.clear_trace_counter()

    def one_step(state: fnet.TrainState, batch: Any) -> tuple[fnet.TrainState, Any]:
        return fnet.train_step(task)(state, batch)

    step, after = jax.jit(chex.assert_max_traces(one_step, n=1)), state
    for _ in range(3):
        after, logs = step(after, batch)
    chex.assert_tree_all_finite((after.params, after.model_state, logs))
    chex.assert_trees_all_equal_shapes_and_dtypes(after.params, state.params)
    assert int(after.step) == 3
    for tree, before in ((after.params, state.params), (after.model_state, state.model_state)):
        changed = jax.tree.map(lambda new, old: bool((new != old).any()), tree, before)
        assert all(jax.tree.leaves(changed)), changed


def learn(task: fnet.Task, state: fnet.TrainState, batch: Any) -> tuple[fnet.TrainState, Any]:
    # A run is one pure function, compiled once: a test may train as long as it needs, and twice.
    return fnet.train(task, state, batch, epochs=100, batch_size=SAMPLES)


def test_one_batch_can_be_learned_by_heart(
    task: fnet.Task, state: fnet.TrainState, batch: Any
) -> None:
    """If not, the model is too small, or what it is told does not reach it."""
    learned, history = learn(task, state, batch)
    assert history["loss"][0] > 0.9  # about log 3: before it learns, it knows nothing
    assert fnet.evaluate(task, learned, batch)["accuracy"] == 1


def test_the_same_key_gives_the_same_run(
    task: fnet.Task, state: fnet.TrainState, batch: Any
) -> None:
    """If not, something in the model is not a function of its arguments."""
    once, again = learn(task, state, batch), learn(task, state, batch)
    chex.assert_trees_all_equal(once[0].params, again[0].params)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
