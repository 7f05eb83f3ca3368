"""Layouts: which axis of which parameter is cut, for the nets that there are."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

import fnet
from fnet.distributed.layouts import model_parallel

MESH = jax.make_mesh((1, 1), ("data", "model"))
C, R, V = (None, "model"), ("model",), ("model",)  # columns, rows, a vector


def specs(net, in_shape, layout=model_parallel, mesh=MESH):
    """What is cut, by name."""
    params = jax.eval_shape(lambda: fnet.init(net, jax.random.key(0), in_shape))
    leaves = jax.tree_util.tree_leaves_with_path(layout(params, mesh))
    named = {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(sharding.spec)
        for path, sharding in leaves
    }
    return {name: spec for name, spec in named.items() if any(spec)}


def test_kernels_alternate_in_the_order_of_their_numbers():
    net = fnet.sequential(*[fnet.dense(512)] * 11, fnet.dense(10))
    found = specs(net, (512,))
    for i in range(12):
        name = f"dense_{i}" if i else "dense"
        assert found.pop(f"{name}/kernel") == (R if i % 2 else C)
        assert found.pop(f"{name}/bias", None) == (None if i % 2 else V)
    assert not found


def test_a_kernel_of_other_inputs_begins_a_pair():
    net = fnet.sequential(fnet.conv(512, (3,)), fnet.flatten, fnet.dense(1024), fnet.dense(7))
    assert specs(net, (4, 8)) == {
        "conv/kernel": (None, *C), "conv/bias": V,
        "dense/kernel": C, "dense/bias": V, "dense_1/kernel": R,
    }  # fmt: skip


def test_narrow_kernels_and_meshes_of_data_alone_cut_nothing():
    assert not specs(fnet.sequential(fnet.dense(511), fnet.dense(3)), (4,))
    net = fnet.sequential(fnet.dense(512), fnet.dense(3))
    assert not specs(net, (4,), mesh=jax.make_mesh((1,), ("data",)))


def test_a_normalization_lies_as_the_outputs_before_it():
    net = fnet.sequential(fnet.dense(512), fnet.batch_norm(), fnet.dense(3))
    assert {"batch_norm/scale": V, "batch_norm/bias": V}.items() <= specs(net, (4,)).items()
    both = fnet.sequential(fnet.dense(512), fnet.batch_norm(), fnet.dense(512), fnet.batch_norm())
    assert not any("norm" in name for name in specs(both, (4,)))


def block(width=512):
    return fnet.sequential(
        fnet.residual(fnet.layer_norm(), fnet.attention(8)),
        fnet.residual(fnet.layer_norm(), fnet.dense(4 * width), fnet.gelu, fnet.dense(width)),
    )


def test_a_transformer():
    net = fnet.sequential(
        fnet.embedding(1000, 512), fnet.learned_positions(), fnet.scan_layers(block(), 2),
        fnet.dense(1000),
    )  # fmt: skip
    heads = {f"scan_layers/residual/attention/{name}" for name in ("query", "key", "value")}
    assert specs(net, (20,)) == {
        "embedding/embeddings": R,
        **{f"{name}/kernel": (None, *C) for name in heads},
        **{f"{name}/bias": (None, *V) for name in heads},
        "scan_layers/residual/attention/output/kernel": (None, *R),
        "scan_layers/residual_1/dense/kernel": (None, *C),
        "scan_layers/residual_1/dense/bias": (None, *V),
        "scan_layers/residual_1/dense_1/kernel": (None, *R),
        "dense/kernel": C,
        "dense/bias": V,
    }


def test_few_heads_of_keys_and_values_stay_whole():
    found = specs(fnet.attention(8, key_value_heads=1), (20, 512))
    assert found == {"query/kernel": C, "query/bias": V, "output/kernel": R}


def test_fsdp_cuts_what_is_large_over_data_too():
    assert specs(fnet.sequential(fnet.dense(512), fnet.dense(4)), (784,), fnet.fsdp) == {
        "dense/kernel": ("data", "model"), "dense/bias": V, "dense_1/kernel": R,
    }  # fmt: skip
    found = specs(fnet.scan_layers(block(), 2), (20, 512), fnet.fsdp)
    assert found["residual_1/dense/kernel"] == (None, "data", "model")
    assert found["residual_1/dense_1/kernel"] == (None, "model", "data")
    alone = specs(block(), (20, 512), fnet.fsdp, jax.make_mesh((1,), ("data",)))
    assert set(alone.values()) == {(None, "data")} and len(alone) == 6


def test_a_tree_of_ones_own_is_cut_along_its_last_axis():
    params = {"w": jnp.zeros((3, 512)), "layers": [jnp.zeros((512,)), jnp.zeros(())]}
    found = jax.tree.map(lambda sharding: tuple(sharding.spec), model_parallel(params, MESH))
    assert found == {"w": C, "layers": [(), ()]}


@pytest.mark.parametrize("layout", [partial(fnet.shardings, fnet.relu), fnet.fsdp])
def test_bad_meshes_are_refused(layout):
    with pytest.raises(TypeError, match=r"`mesh` must be a jax\.sharding\.Mesh, got 8"):
        layout({}, 8)
    with pytest.raises(ValueError, match="`mesh` must have an axis 'data'"):
        layout({}, jax.make_mesh((1,), ("rows",)))
