"""The order of samples, and batches of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet
from fnet.data.batches import map_batches
from fnet.data.shuffle import epoch_order, feistel, round_keys

ORDERS = jax.jit(
    jax.vmap(lambda key, size: fnet.index_shuffle(key, jnp.arange(size), size), (0, None)),
    static_argnums=1,
)


def orders(size: int, count: int) -> np.ndarray:
    return np.asarray(ORDERS(jax.random.split(jax.random.key(size), count), size))


@jax.jit
@jax.vmap
def order_of(key, size):
    """The orders of many sizes in one program, which knows none of them; the rest is padding."""
    index = jnp.arange(300, dtype=jnp.uint32)
    return feistel(round_keys(key, 0), jnp.where(index < size, index, 0), size)


def test_every_size_from_1_to_300_is_permuted():
    sizes, keys = np.arange(1, 301, dtype=np.uint32), jax.random.split(jax.random.key(0), 300)
    orders = np.asarray(order_of(keys, sizes))
    for size, order in zip(sizes, orders, strict=True):
        assert sorted(order[:size].tolist()) == list(range(size))
    for size in (1, 2, 64, 65, 256, 257, 300):
        known = fnet.index_shuffle(keys[size - 1], jnp.arange(size), size)
        assert known.tolist() == orders[size - 1, :size].tolist()


@pytest.mark.parametrize("size", [4096, 60_000, 65_537, 1_000_003])
def test_large_sizes_are_permuted(size):
    order = np.asarray(epoch_order(jax.random.key(1), 0, size))
    chex.assert_type(order, np.int32)
    assert np.array_equal(np.sort(order), np.arange(size))


def test_an_index_alone_goes_where_it_goes_among_all(key):
    order = epoch_order(key, 3, 1000)
    alone = jax.jit(lambda i: fnet.index_shuffle(key, i, 1000, epoch=3))
    for i in (0, 1, 500, 999):
        assert alone(i) == order[i]


def chi_squared(counts: np.ndarray) -> float:
    expected = counts.mean()
    return float((np.square(counts - expected) / expected).sum())


def test_all_24_orders_of_four_appear_evenly():
    found, counts = np.unique(orders(4, 24_000), axis=0, return_counts=True)
    assert len(found) == 24
    assert chi_squared(counts) < 49.7  # 23 degrees of freedom, 1 in 1,000


def test_every_sample_comes_at_every_position_evenly():
    size, count = 10, 20_000
    counts = np.stack([np.bincount(column, minlength=size) for column in orders(size, count).T])
    assert chi_squared(counts.ravel()) < 126.1  # 81 degrees of freedom, 1 in 1,000


def test_neighbours_are_uncorrelated():
    order = np.asarray(epoch_order(jax.random.key(0), 0, 60_000)).astype(float)
    for lag in (1, 2, 64, 128):
        correlation = np.corrcoef(order[:-lag], order[lag:])[0, 1]
        assert abs(correlation) < 4 / np.sqrt(len(order))
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 4 / np.sqrt(len(order))


def test_epochs_and_keys_have_orders_of_their_own(key):
    kinds = [
        epoch_order(k, epoch, 1000).tolist() for k in (key, jax.random.key(7)) for epoch in (0, 1)
    ]
    assert len(set(map(tuple, kinds))) == 4


def test_keys_and_epochs_one_apart_share_no_round_keys():
    keys = jax.vmap(jax.random.key)(jnp.arange(50))
    every = jax.vmap(jax.vmap(round_keys, (None, 0)), (0, None))(keys, jnp.arange(50))
    assert len(np.unique(every)) == every.size


@pytest.mark.parametrize("batch_size", [1, 3, 7, 8, 100])
def test_batches_use_every_sample_once(batch_size, key):
    x = np.arange(7)
    taken = list(fnet.batches((x, -x), batch_size, key=key, epoch=2))
    assert [len(x) for x, _ in taken[:-1]] == [min(batch_size, 7)] * (len(taken) - 1)
    assert sorted(np.concatenate([x for x, _ in taken]).tolist()) == list(range(7))
    assert all((x == -y).all() for x, y in taken)


@pytest.mark.parametrize("size", [1, 4, 5, 9])
def test_map_batches_is_the_function_of_every_row(size, key):
    x = jax.random.normal(key, (size, 3))
    y = map_batches(lambda x: {"sum": x.sum(-1), "twice": 2 * x}, x, 4)
    chex.assert_trees_all_close(y, {"sum": x.sum(-1), "twice": 2 * x}, rtol=1e-6)


def test_indices_beyond_the_ends_are_those_at_the_ends(key):
    shuffled = jax.jit(lambda index: fnet.index_shuffle(key, index, 5))
    assert shuffled(jnp.array([-3, 0, 4, 9])).tolist() == shuffled(jnp.array([0, 0, 4, 4])).tolist()
