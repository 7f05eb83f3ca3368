"""Strict rules for every test, and a key whose seed is printed where a test fails."""

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key(request: pytest.FixtureRequest) -> jax.Array:
    seed = abs(hash(request.node.nodeid)) % 2**31
    print(f"key fixture: jax.random.key({seed})")
    return jax.random.key(seed)
