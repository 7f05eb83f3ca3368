"""Weights from and for Keras and torch, against files and predictions of the real libraries.

The files in data/foreign/files.zip are theirs, written by data/foreign/make.py.
"""

import importlib.util
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import chex
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tables import Leaky

import fnet
from fnet.files.tensor_file import CorruptFileError

FOREIGN = pathlib.Path(__file__).parent / "data" / "foreign"
ENDINGS = (".weights.h5", ".keras", ".torch.safetensors")
LOAD = dict(zip(ENDINGS, (fnet.load_keras, fnet.load_keras, fnet.load_torch), strict=True))
MODULES = {
    "attention": {
        "embedding": "embed",
        "residual/attention": "heads",
        "layer_norm": "norm",
        "rms_norm": "rms",
        "dense": "out",
    },
    "recurrent": {
        "bidirectional": "first",
        "bidirectional_1": "second",
        "lstm": "lstm",
        "gru": "gru",
        "simple_rnn": "rnn",
        "dense": "out",
    },
}


def mean_over_time(x):
    return x.mean(1)


def after(*layers):
    return fnet.sequential(*layers, fnet.softmax)


def recurrent_net():
    return fnet.sequential(
        fnet.bidirectional(fnet.lstm(4, return_sequences=True)),
        fnet.bidirectional(fnet.gru(3, return_sequences=True)),
        fnet.remat(fnet.lstm(4, return_sequences=True, use_bias=False)),
        fnet.gru(2, return_sequences=True),
        fnet.simple_rnn(3),
        fnet.dense(2),
    )


def keras_nets():
    inner = fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(3, use_bias=False))
    return {
        "dense": after(fnet.dense(6), fnet.relu, fnet.dropout(0.5), inner, fnet.dense(2)),
        "conv": fnet.sequential(
            fnet.remat(fnet.conv(3, (3, 3), padding="same")),
            fnet.batch_norm(),
            fnet.relu,
            fnet.max_pool((2, 2)),
            fnet.reshape((6, 3)),
            fnet.conv(4, (2,)),
            fnet.group_norm(2),
            fnet.conv(4, (2,), groups=2, use_bias=False),
            fnet.flatten,
            fnet.dense(3),
        ),
        "attention": fnet.sequential(
            fnet.embedding(9, 8),
            fnet.attention(2, 3),
            fnet.layer_norm(),
            fnet.rms_norm(),
            mean_over_time,
            fnet.dense(3),
        ),
        "more": fnet.sequential(
            fnet.zero_pad((1, 0)),
            fnet.depthwise_conv((2, 2), depth_multiplier=2),
            fnet.batch_norm(use_scale=False),
            fnet.prelu((1, 2)),
            fnet.conv_transpose(3, (3, 3), 2, "same"),
            fnet.up_sample((2, 2)),
            fnet.separable_conv(4, (2, 2)),
            fnet.layer_norm(use_bias=False),
            fnet.global_max_pool,
            fnet.dense(2),
        ),
        "grouped": fnet.sequential(
            fnet.embedding(9, 8),
            fnet.attention(4, 3, key_value_heads=2),
            mean_over_time,
            fnet.dense(3),
        ),
        "recurrent": recurrent_net(),
    }


def torch_nets():
    inner = fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(3, use_bias=False))
    return {
        "dense": after(fnet.dense(6), fnet.relu, inner, fnet.dense(2)),
        "conv": fnet.sequential(
            fnet.conv(3, (3, 3), padding="same"),
            fnet.batch_norm(epsilon=1e-5),
            fnet.relu,
            fnet.max_pool((2, 2)),
            fnet.conv(4, (2, 2), use_bias=False),
            fnet.group_norm(2, epsilon=1e-5),
            fnet.flatten,
            fnet.relu,
            fnet.dense(3),
        ),
        "attention": fnet.sequential(
            fnet.embedding(9, 8),
            fnet.residual(fnet.attention(2)),
            fnet.layer_norm(epsilon=1e-5),
            fnet.rms_norm(),
            mean_over_time,
            fnet.dense(3),
        ),
        "more": fnet.sequential(
            fnet.zero_pad((1, 0)),
            fnet.depthwise_conv((2, 2), depth_multiplier=2),
            fnet.batch_norm(epsilon=1e-5, use_scale=False, use_bias=False),
            fnet.prelu((1, 2)),
            fnet.conv_transpose(3, (3, 3), 2),
            fnet.up_sample((2, 2)),
            fnet.flatten,
            fnet.dense(2),
        ),
        "ranks": fnet.sequential(
            fnet.conv(4, (2, 1, 3), groups=2),
            joined_axes,
            fnet.batch_norm(epsilon=1e-5),
            fnet.conv(3, (2,)),
            fnet.flatten,
            fnet.dropout(0.5),
            fnet.dense(2),
        ),
        "recurrent": recurrent_net(),
    }


def joined_axes(x):
    return x.reshape(x.shape[0], -1, x.shape[-1])


SHAPES = {"dense": (5,), "conv": (6, 5, 2), "attention": (6,), "ranks": (3, 2, 5, 2)}
SHAPES |= {"more": (4, 4, 3), "grouped": (6,), "recurrent": (5, 3)}
NETS = {"keras": keras_nets(), "torch": torch_nets()}
CASES = [(library, name) for library, nets in NETS.items() for name in nets]


def library_of(ending):
    return "torch" if ending == ".torch.safetensors" else "keras"


def names_of(library, name):
    return MODULES.get(name) if library == "torch" else None


def trees_of(net, in_shape, key):
    """Parameters and state of which no two numbers are the same."""
    kinds = jax.eval_shape(lambda: (fnet.init(net, key, in_shape), fnet.init_state(net, in_shape)))
    leaves, structure = jax.tree.flatten(kinds)
    numbers = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    draws = [numbers.uniform(0.1, 0.6, leaf.shape).astype(leaf.dtype) for leaf in leaves]
    return jax.tree.unflatten(structure, [jnp.asarray(draw) for draw in draws])


def save(library, path, name, params, state):
    net, names = NETS[library][name], names_of(library, name)
    function = fnet.save_keras if library == "keras" else fnet.save_torch
    function(path, net, SHAPES[name], params, state, names)


def load(path, library, name):
    function = fnet.load_keras if library == "keras" else fnet.load_torch
    return function(path, NETS[library][name], SHAPES[name], names_of(library, name))


def ending_for(library):
    return ".weights.h5" if library == "keras" else ".safetensors"


def forms(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("foreign")
    with zipfile.ZipFile(FOREIGN / "files.zip") as archive:
        archive.extractall(path)
    return path


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        (name, ending)
        for name in ("dense", "conv", "attention", "more", "grouped", "recurrent")
        for ending in ENDINGS
        if name in NETS[library_of(ending)]
    ],
)
def test_real_files_predict_what_the_real_libraries_predict(name, ending, folder, key):
    known, library = load_file(folder / "known.safetensors"), library_of(ending)
    params, state = load(folder / f"{name}{ending}", library, name)
    net = NETS[library][name]
    chex.assert_trees_all_equal_shapes_and_dtypes((params, state), trees_of(net, SHAPES[name], key))
    y = fnet.apply(net, params, known[f"{name}/x"], state)
    np.testing.assert_allclose(y, known[f"{name}/{library}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_what_is_written_is_read_bit_for_bit(library, name, tmp_path, key):
    path = tmp_path / f"weights{ending_for(library)}"
    trees = trees_of(NETS[library][name], SHAPES[name], key)
    save(library, path, name, *trees)
    chex.assert_trees_all_equal(load(path, library, name), trees)
    first = path.read_bytes()
    save(library, path, name, *trees)
    assert path.read_bytes() == first


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("library", ["keras", "torch"])
def test_narrow_floats_widen_without_loss(library, dtype, tmp_path, key):
    path = tmp_path / f"weights{ending_for(library)}"
    trees = trees_of(NETS[library]["conv"], SHAPES["conv"], key)
    narrow = jax.tree.map(lambda leaf: leaf.astype(dtype), trees)
    save(library, path, "conv", *narrow)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    chex.assert_trees_all_equal(load(path, library, "conv"), wide)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_the_real_library_reads_what_is_written(library, name, tmp_path, key):
    if not all(map(importlib.util.find_spec, ("keras", "torch"))):
        pytest.skip("needs keras and torch")
    net, path = NETS[library][name], tmp_path / f"weights{ending_for(library)}"
    params, state = trees_of(net, SHAPES[name], key)
    save(library, path, name, params, state)
    x = np.asarray(jax.random.normal(key, (4, *SHAPES[name])))
    x = (np.abs(x) * 3).astype(np.int32) % 9 if SHAPES[name] == (6,) else x
    np.save(tmp_path / "x.npy", x)
    program = [sys.executable, FOREIGN / "make.py", library, name, path]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    files = [tmp_path / "x.npy", tmp_path / "y.npy"]
    subprocess.run([*program, *files], env=environment, check=True)
    y = fnet.apply(net, params, x, state)
    np.testing.assert_allclose(np.load(files[1]), y, rtol=1e-5, atol=1e-5)


def test_torch_modules_are_named_by_position_and_kernels_turned(tmp_path, key):
    net = fnet.sequential(
        fnet.conv(5, (2, 1, 3)), fnet.relu, fnet.sequential(fnet.flatten, fnet.dense(2))
    )
    params, _ = trees_of(net, (3, 2, 4, 6), key)
    fnet.save_torch(tmp_path / "net", net, (3, 2, 4, 6), params)
    arrays = load_file(tmp_path / "net")
    assert set(arrays) == {"0.weight", "0.bias", "2.1.weight", "2.1.bias"}
    kernel = np.asarray(params["conv"]["kernel"])
    for place in np.ndindex(5, 6, 2, 1, 3):
        out, into, *window = place
        assert arrays["0.weight"][place] == kernel[(*window, into, out)]
    rows, image = np.asarray(params["sequential"]["dense"]["kernel"]), (2, 2, 2, 5)
    for column, place in enumerate(np.ndindex(5, 2, 2, 2)):
        channel, *where = place
        row = np.ravel_multi_index((*where, channel), image)
        np.testing.assert_array_equal(arrays["2.1.weight"][:, column], rows[row])


def test_torch_has_two_biases(tmp_path, key):
    """The biases of an lstm add up, those of a gru stay apart, and its gates trade places."""
    net = fnet.sequential(fnet.lstm(1, return_sequences=True), fnet.gru(1))
    params, _ = trees_of(net, (3, 2), key)
    fnet.save_torch(tmp_path / "net", net, (3, 2), params)
    arrays, (lstm, gru) = load_file(tmp_path / "net"), map(params.get, ("lstm", "gru"))
    np.testing.assert_array_equal(arrays["0.bias_ih_l0"], lstm["bias"])
    np.testing.assert_array_equal(arrays["0.bias_hh_l0"], np.zeros(4))
    for row, name in enumerate(("1.bias_ih_l0", "1.bias_hh_l0")):
        np.testing.assert_array_equal(arrays[name], gru["bias"][row, np.array([1, 0, 2])])
    arrays["0.bias_hh_l0"] += 1
    save_file(arrays, tmp_path / "net")
    loaded, _ = fnet.load_torch(tmp_path / "net", net, (3, 2))
    np.testing.assert_allclose(loaded["lstm"]["bias"], lstm["bias"] + 1, rtol=1e-6)


def test_cells_of_ones_own_are_in_no_file_of_another_library(tmp_path):
    for net in (fnet.recurrent(Leaky(0.5)), fnet.bidirectional(fnet.recurrent(Leaky(0.5)))):
        params = fnet.init(net, jax.random.key(0), (3, 2))
        for save in (fnet.save_keras, fnet.save_torch):
            with pytest.raises(ValueError, match=f"^{net.name}: expected a layer that files of"):
                save(tmp_path / "a.weights.h5", net, (3, 2), params)


def test_modules_come_in_natural_order(tmp_path, key):
    net = fnet.sequential(*[fnet.dense(2)] * 12)
    trees = trees_of(net, (2,), key)
    fnet.save_torch(tmp_path / "net", net, (2,), *trees)
    chex.assert_trees_all_equal(fnet.load_torch(tmp_path / "net", net, (2,)), trees)


def test_one_layer_alone(tmp_path, key):
    net, trees = fnet.dense(2), trees_of(fnet.dense(2), (3,), key)
    fnet.save_torch(tmp_path / "net", net, (3,), *trees)
    assert set(load_file(tmp_path / "net")) == {"weight", "bias"}
    chex.assert_trees_all_equal(fnet.load_torch(tmp_path / "net", net, (3,)), trees)
    fnet.save_keras(tmp_path / "net.weights.h5", net, (3,), *trees)
    chex.assert_trees_all_equal(fnet.load_keras(tmp_path / "net.weights.h5", net, (3,)), trees)


def test_the_counter_of_batch_norm_is_written_and_not_needed(tmp_path, key):
    net, path = fnet.batch_norm(), tmp_path / "net"
    trees = trees_of(net, (3,), key)
    fnet.save_torch(path, net, (3,), *trees)
    arrays = load_file(path)
    assert arrays["num_batches_tracked"].dtype == np.int64
    del arrays["num_batches_tracked"]
    save_file(arrays, path)
    chex.assert_trees_all_equal(fnet.load_torch(path, net, (3,)), trees)


@pytest.mark.parametrize("library", ["keras", "torch"])
def test_other_combinators_need_names(library, tmp_path, key):
    net = fnet.sequential(
        fnet.dense(3), fnet.parallel(fnet.dense(3), fnet.remat(fnet.dense(3)), merge=sum)
    )
    trees = trees_of(net, (3,), key)
    names = {"dense": "c", "parallel/dense": "a/deep" if library == "keras" else "a.deep"}
    names["parallel/dense_1"] = "b"
    path = tmp_path / f"weights{ending_for(library)}"
    write, read = getattr(fnet, f"save_{library}"), getattr(fnet, f"load_{library}")
    write(path, net, (3,), *trees, names)
    chex.assert_trees_all_equal(read(path, net, (3,), names), trees)
    for call in (lambda: write(path, net, (3,), *trees), lambda: read(path, net, (3,))):
        with pytest.raises(ValueError, match="^parallel/dense: expected layers in `sequential` on"):
            call()
    with pytest.raises(ValueError, match="`names` must give each of the layers .*'dense'"):
        read(path, net, (3,), {"dense": "c"})
    with pytest.raises(ValueError, match="a different name"):
        read(path, net, (3,), dict.fromkeys(names, "c"))
    with pytest.raises(TypeError, match="`names` must be a dict from layers"):
        read(path, net, (3,), {"dense": 0})


def backwards(x):
    return x[..., ::-1]


def flat_by_hand(x):
    return x.reshape(x.shape[0], -1)


ORDERS = [
    (
        "norm",
        (fnet.conv(2, (1, 1)), fnet.flatten, fnet.layer_norm(), fnet.dense(1)),
        "^layer_norm: ",
    ),
    ("own", (fnet.conv(2, (1, 1)), fnet.flatten, backwards, fnet.dense(1)), "^backwards: "),
    ("hand", (fnet.conv(2, (1, 1)), flat_by_hand, fnet.dense(1)), "^flat_by_hand: "),
    ("reshape", (fnet.conv(2, (1, 1)), fnet.reshape((6, 8)), fnet.dense(1)), "^reshape: "),
    (
        "made",
        (fnet.flatten, fnet.reshape((12, 4)), fnet.conv(2, (1,))),
        "^reshape: .* an image of|^reshape: .* features that were",
    ),
    (
        "into",
        (fnet.dense(4), fnet.reshape((3, 4, 8)), fnet.conv(2, (1, 1))),
        r"^conv: .* a reshape to \(3, 4, 8\)",
    ),
    (
        "residual",
        (fnet.conv(2, (1, 1)), fnet.flatten, fnet.residual(fnet.dense(48))),
        "^residual: ",
    ),
    (
        "parallel",
        (fnet.conv(2, (1, 1)), fnet.parallel(fnet.flatten, fnet.flatten), fnet.dense(1)),
        "^parallel: ",
    ),
    ("scan", (fnet.scan_layers(fnet.dense(2), 3),), "^scan_layers: expected a layer that files"),
    (
        "wide",
        (fnet.flatten, fnet.dense(48), fnet.reshape((24, 2)), fnet.attention(2, 3)),
        "^attention: expected heads whose widths",
    ),
]


@pytest.mark.parametrize(("name", "layers", "match"), ORDERS, ids=[row[0] for row in ORDERS])
def test_an_order_that_torch_may_not_have_is_refused(name, layers, match, tmp_path, key):
    net, shape = fnet.sequential(*layers), (4, 6, 2)
    params, _ = trees_of(net, shape, key)
    with pytest.raises(ValueError, match=match):
        fnet.save_torch(tmp_path / "net", net, shape, params)
    assert not list(tmp_path.iterdir())


STAYS = [  # where no order changes: the rows of the kernel stay
    ("one channel", (fnet.conv(1, (1, 1)), fnet.flatten), (4, 6, 2)),
    ("one place", (fnet.conv(5, (4, 6)), fnet.flatten), (4, 6, 2)),
    ("no image", (fnet.flatten,), (4, 6)),
    ("sequence", (fnet.embedding(9, 3), fnet.flatten), (6,)),
    ("pixels", (fnet.conv(2, (1, 1)), fnet.dense(3), fnet.flatten), (4, 6, 2)),
    ("pooled", (fnet.conv(2, (1, 1)), fnet.global_avg_pool), (4, 6, 2)),
]


@pytest.mark.parametrize(("name", "layers", "shape"), STAYS, ids=[row[0] for row in STAYS])
def test_rows_stay_where_no_order_changes(name, layers, shape, tmp_path, key):
    net = fnet.sequential(*layers, fnet.sequential(fnet.dense(2)))
    params, state = trees_of(net, shape, key)
    fnet.save_torch(tmp_path / "net", net, shape, params, state)
    written = load_file(tmp_path / "net")[f"{len(layers)}.0.weight"]
    np.testing.assert_array_equal(written.T, params["sequential"]["dense"]["kernel"])


def test_every_difference_at_once(folder):
    net = fnet.sequential(fnet.dense(7), fnet.sequential(fnet.dense(4), fnet.dense(3)))
    with pytest.raises(ValueError) as caught:
        fnet.load_keras(folder / "dense.weights.h5", net, (5,))
    for line in (
        r"got 6 differences",
        r"dense: layers/dense/vars/0 must have shape (5, 7), got (5, 6)",
        r"dense: layers/dense/vars/1 must have shape (7,), got (6,)",
        r"sequential/dense: layers/sequential/layers/dense/vars/0 must have shape (7, 4), got (6,",
        r"sequential/dense_1: layers/sequential/layers/dense_1/vars/1 of shape (3,) is missing",
        r"layers/dense_1/vars/0 of shape (3, 2) belongs to no layer",
    ):
        assert line in str(caught.value)
    net = fnet.sequential(*[fnet.dense(6, use_bias=False)] * 4)
    with pytest.raises(ValueError) as caught:
        fnet.load_torch(folder / "dense.torch.safetensors", net, (5,))
    for line in (
        "got 6 differences",
        "dense_1: 2.0.weight must have shape (6, 6), got (4, 6)",
        "0.bias of shape (6,) belongs to no layer",
    ):
        assert line in str(caught.value)


def refused_names(folder):
    net = NETS["torch"]["attention"]
    chain = fnet.sequential(*[fnet.dense(2)] * 2)
    yield net, "attention", "^residual/attention: expected layers in `sequential` only"
    yield chain, "attention", r"\['dense', 'dense_1'\], got the modules \['embed', 'heads', 'norm'"
    yield chain, "dense", r"got the modules \['0', '2.0', '2.2', '3'\]. Pass `names`"


def test_modules_that_tell_no_order_need_names(folder):
    for net, name, match in refused_names(folder):
        with pytest.raises(ValueError, match=match):
            fnet.load_torch(folder / f"{name}.torch.safetensors", net, SHAPES[name])


def test_trees_of_another_model_are_refused(tmp_path, key):
    net = fnet.sequential(fnet.dense(3), fnet.batch_norm())
    params, _ = trees_of(net, (2,), key)
    for save in (fnet.save_keras, fnet.save_torch):
        path = tmp_path / "a.weights.h5"
        match = "batch_norm: state/batch_norm/mean of shape .* is missing"
        with pytest.raises(ValueError, match=match):
            save(path, net, (2,), params)
        with pytest.raises(ValueError, match=r"params/dense/kernel must have shape \(4, 3\)"):
            save(path, net, (4,), params, trees_of(net, (4,), key)[1])
        with pytest.raises(ValueError, match="must be float32 or narrower, got int32"):
            save(path, net, (2,), jax.tree.map(lambda leaf: leaf.astype(int), params))
    with pytest.raises(ValueError, match="must end in .weights.h5"):
        fnet.save_keras(tmp_path / "a.h5", net, (2,), params)
    assert not list(tmp_path.iterdir())


KERNEL, PLACE = np.ones((3, 2), np.float32), "layers/dense/vars/0"


def plain(file):
    file["layers/dense/vars/1"] = np.ones(2, np.float32)


def soft(file):
    file["layers/else"] = KERNEL
    file[PLACE] = h5py.SoftLink("/layers/else")


def external(file):
    file[PLACE] = h5py.ExternalLink("secret.h5", "/kernel")


def outside(file):
    file.create_dataset(PLACE, (3, 2), "f4", external=[("secret", 0, h5py.h5f.UNLIMITED)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "kernel", (3, 2))
    file.create_virtual_dataset(PLACE, layout)


def bomb(file):
    file.create_dataset(PLACE, (1 << 16, 1 << 16), "f4", fillvalue=0, compression="gzip")


def declared(file):
    file.create_dataset(PLACE, (1 << 20, 1 << 20), "f4")


def packed(file):
    file.create_dataset(PLACE, data=KERNEL, compression="gzip")


def cycle(file):
    file[PLACE] = KERNEL
    file["layers/dense/again"] = file["layers"]


def kind(file):
    file[PLACE] = np.dtype("f4")


def text(file):
    file[PLACE] = np.full((3, 2), b"word")


def records(file):
    file[PLACE] = np.zeros((3, 2), [("a", "f4"), ("b", "i4")])


def strings(file):
    file.create_dataset(PLACE, (3, 2), h5py.string_dtype())


def wider(file):
    file[PLACE] = KERNEL.astype(np.float64)


def integers(file):
    file[PLACE] = KERNEL.astype(np.int8)


CORRUPT, VALUE = CorruptFileError, ValueError
GROUPS = [
    (soft, CORRUPT, r"got a link \(SoftLink\) at 'layers/dense/vars/0'"),
    (external, CORRUPT, r"got a link \(ExternalLink\)"),
    (outside, CORRUPT, "got an array in chunks, elsewhere, or virtual"),
    (virtual, CORRUPT, "got an array in chunks, elsewhere, or virtual"),
    (bomb, CORRUPT, "got an array in chunks, elsewhere, or virtual"),
    (packed, CORRUPT, "got an array in chunks, elsewhere, or virtual"),
    (declared, VALUE, r"must have shape \(3, 2\), got \(1048576, 1048576\)"),
    (cycle, CORRUPT, "more than 50000 objects, or 64 levels"),
    (kind, CORRUPT, "got a Datatype at"),
    (text, VALUE, r"must be float32 or narrower, got \|S4"),
    (records, VALUE, "must be float32 or narrower, got"),
    (strings, VALUE, "must be float32 or narrower, got object"),
    (wider, VALUE, "must be float32 or narrower, got float64"),
    (integers, VALUE, "must be float32 or narrower, got int8"),
]


@pytest.mark.parametrize("form", ["h5", "keras"])
@pytest.mark.parametrize(
    ("fill", "error", "match"), GROUPS, ids=[row[0].__name__ for row in GROUPS]
)
def test_what_keras_does_not_write_is_refused(fill, error, match, form, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = KERNEL
    (tmp_path / "secret").write_bytes(KERNEL.tobytes())
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        plain(file)
        fill(file)
    if form == "keras":
        archive = tmp_path / "a.keras"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packing:
            packing.write(path, "model.weights.h5")
        path = archive
    with pytest.raises(error, match=match) as caught:
        fnet.load_keras(path, fnet.dense(2), (3,))
    assert type(caught.value) is error


def zipped(*members, compression=zipfile.ZIP_STORED):
    def write(path, weights):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members:
                archive.writestr(name, weights if content is None else content)

    return write


def huge(path, weights):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(80):
                member.write(bytes(1 << 20))


def twice(path, weights):
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(("model.weights.h5", None), ("model.weights.h5", None))(path, weights)


def replaced(old, new):
    def changed(path, weights):
        zipped(("model.weights.h5", None))(path, weights)
        content = path.read_bytes()
        assert content.count(old)
        path.write_bytes(content.replace(old, new))

    return changed


def encrypted(path, weights):
    zipped(("model.weights.h5", None))(path, weights)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


ARCHIVES = [
    ("empty", lambda path, weights: path.write_bytes(b""), "got one that begins with b''"),
    ("other", lambda path, weights: path.write_bytes(b"hello"), "begins with b'hello'"),
    ("short", lambda path, weights: path.write_bytes(weights[:3000]), "cannot be read"),
    ("cut", lambda path, weights: path.write_bytes(b"PK\x03\x04" + weights), "BadZipFile"),
    ("absent", zipped(("config.json", "{}")), "got 0 members instead of one"),
    ("twice", twice, "got 2 members instead of one"),
    ("no hdf5", zipped(("model.weights.h5", b"{}")), "2 bytes that are not the HDF5"),
    ("lzma", zipped(("model.weights.h5", None), compression=zipfile.ZIP_LZMA), "of kind 14"),
    ("huge", huge, "bytes where .* are more than enough"),
    ("encrypted", encrypted, "cannot be read"),
    ("sum", replaced(b"\x00\x00\x80?", b"\x00\x00\x80@"), "Bad CRC-32"),
]


@pytest.mark.parametrize(("name", "write", "match"), ARCHIVES, ids=[row[0] for row in ARCHIVES])
def test_damaged_files_of_keras_are_refused(name, write, match, tmp_path):
    net, path = fnet.dense(2), tmp_path / "a.keras"
    params = jax.tree.map(jnp.ones_like, fnet.init(net, jax.random.key(0), (3,)))
    fnet.save_keras(tmp_path / "a.weights.h5", net, (3,), params)
    write(path, (tmp_path / "a.weights.h5").read_bytes())
    with pytest.raises(CorruptFileError, match=match):
        fnet.load_keras(path, net, (3,))


def test_nothing_but_the_weights_of_an_archive_is_looked_at(folder, tmp_path):
    with zipfile.ZipFile(folder / "dense.keras") as archive:
        weights = archive.read("model.weights.h5")
    members = ("../outside", b"x"), ("config.json", b"\xff"), ("model.weights.h5", None)
    zipped(*members)(tmp_path / "a.keras", weights)
    chex.assert_trees_all_equal(
        load(tmp_path / "a.keras", "keras", "dense"), load(folder / "dense.keras", "keras", "dense")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.keras"]


TENSORS = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)}


def archived_pickle(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(TENSORS))


def header(text):
    return lambda path: path.write_bytes(len(text).to_bytes(8, "little") + text)


PICKLES = [
    ("pickle", lambda path: path.write_bytes(pickle.dumps(TENSORS, 2)), "which can run any code"),
    ("archive", archived_pickle, "got a pickle.*save_file.model.state_dict"),
    ("empty", lambda path: path.write_bytes(b""), "one that begins with b''"),
    ("other", lambda path: path.write_bytes(b"hello world"), "one that begins with b'hello wor"),
    ("json", header(b"{"), "cannot be read"),
    (
        "offsets",
        header(b'{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,99]}}'),
        "cannot be read",
    ),
    (
        "huge",
        header(b'{"weight":{"dtype":"F32","shape":[99999999999,3],"data_offsets":[0,24]}}'),
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("name", "write", "match"), PICKLES, ids=[row[0] for row in PICKLES])
def test_damaged_files_of_torch_and_pickles_are_refused(name, write, match, tmp_path):
    write(tmp_path / "net.pt")
    with pytest.raises(CorruptFileError, match=match):
        fnet.load_torch(tmp_path / "net.pt", fnet.dense(2), (3,))


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.bool_])
def test_dtypes_that_would_lose_are_refused(dtype, tmp_path):
    save_file({name: array.astype(dtype) for name, array in TENSORS.items()}, tmp_path / "net")
    with pytest.raises(ValueError, match="weight must be float32 or narrower"):
        fnet.load_torch(tmp_path / "net", fnet.dense(2), (3,))


def test_a_missing_file_is_named(tmp_path):
    for load in (fnet.load_keras, fnet.load_torch):
        with pytest.raises(FileNotFoundError, match="nothing"):
            load(tmp_path / "nothing", fnet.dense(2), (3,))


@pytest.mark.parametrize("flips", [40, pytest.param(120, marks=pytest.mark.soak)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_flipped_bits_are_refused_or_give_a_tree_of_the_right_form(
    ending, flips, folder, tmp_path, figures
):
    library, draw = library_of(ending), np.random.default_rng(ENDINGS.index(ending))
    content, path = (folder / f"dense{ending}").read_bytes(), tmp_path / f"flipped{ending}"
    right = forms(load(folder / f"dense{ending}", library, "dense"))
    refused = 0
    for flip in range(flips):
        changed = bytearray(content)
        end = len(content) if flip % 2 else min(len(content), 2048)  # where the headers are
        changed[draw.integers(end)] ^= 1 << draw.integers(8)
        path.write_bytes(changed)
        try:
            assert forms(load(path, library, "dense")) == right
        except ValueError as error:  # which CorruptFileError is too
            refused += 1
            assert str(path) in str(error)
    assert 0 < refused < flips
    outcome = f"{refused} refused, {flips - refused} of the right form: there is no checksum in it"
    figures(f"a file of another library, {ending}, with one bit flipped", f"{flips}: {outcome}")
