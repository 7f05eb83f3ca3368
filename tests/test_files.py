"""Files of weights and runs: what comes back, what is refused, and what a failing disk leaves."""

import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from problems import bits, enable_x64

import fnet
from fnet.files import atomic, tensor_file

NET = fnet.sequential(fnet.dense(3), fnet.tanh, fnet.dense(1))


def small(optimizer="adam", key=None, net=NET):
    return fnet.train_state(net, optimizer, jax.random.key(0) if key is None else key, (2,))


def params(units: int = 2, dtype=jnp.float32):
    kernel = jnp.arange(3 * units, dtype=jnp.float32).reshape(3, units)
    return {"dense": {"kernel": kernel.astype(dtype), "bias": jnp.ones(units, dtype)}}


def kernels_only(name):
    return name.endswith("kernel")


def ensemble():
    keys = jax.random.split(jax.random.key(0), 4)
    return jax.vmap(lambda key: small(fnet.rmsprop(1e-3), key))(keys)


def wrapped():
    inner = fnet.accumulated(fnet.momentum(fnet.warmup_cosine(0.1, 2, 9), nesterov=True), 2)
    return small(fnet.masked(fnet.averaged(fnet.clipped(inner, 0.5), 0.9), kernels_only))


def assorted():
    numbers = {"float": 0.1, "int": -3, "bool": True, "numpy": np.float64(0.1)}
    arrays = {"host": np.arange(6.0).reshape(2, 3).T, "device": jnp.zeros((0, 2), jnp.int8)}
    return (numbers, [arrays, None, {}], {}, jnp.asarray(2.0), jax.random.split(jax.random.key(1)))


TREES = {
    "weights": params,
    "weights_in_bfloat16": lambda: params(dtype=jnp.bfloat16),
    "one_array": lambda: jnp.arange(3),
    "nothing": dict,
    "every_dtype": lambda: {
        code: (jnp if dtype.itemsize < 8 else np).ones((2, 3), dtype)
        for code, dtype in tensor_file.DTYPES.items()
    },
    "assorted": assorted,
    "adam": small,
    "rbg": lambda: small("lion", jax.random.key(0, impl="rbg")),
    "muon": lambda: small("muon"),
    "batch_norm": lambda: small("sgd", net=fnet.batch_norm()),
    "numbers_of_python": lambda: dataclasses.replace(small("sgd"), optimizer=fnet.sgd(0.1)),
    "piecewise": lambda: small(fnet.sgd(fnet.piecewise((3, 5), (0.1, 0.01, 0.001)))),
    "wrapped": wrapped,
    "ensemble": ensemble,
    "committed": lambda: jax.device_put(params(), jax.devices()[0]),
}


def facts(leaf):
    """All that a leaf is, to the bit."""
    kind = type(leaf), str(getattr(leaf, "dtype", "")), np.shape(leaf)
    kind += getattr(leaf, "weak_type", None), getattr(leaf, "committed", None)
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return *kind, np.asarray(leaf).tobytes()


def assert_same(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for leaf, other in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert facts(leaf) == facts(other)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


@pytest.mark.parametrize("name", TREES)
def test_what_is_saved_comes_back_bit_for_bit_and_compiles_nothing_anew(name, path):
    tree, traces = TREES[name](), []

    @jax.jit
    def used(tree):
        traces.append(name)
        return jax.tree.map(lambda leaf: leaf, tree)

    fnet.save(path, tree)
    before = path.read_bytes()
    back = fnet.load(path, like=tree)
    assert_same(back, tree)
    fnet.save(path, back)
    assert path.read_bytes() == before  # the file follows from the tree
    if name == "every_dtype":
        return  # of which JAX cannot take those of 64 bits
    assert_same(used(back), used(tree))
    assert len(traces) == 1
    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree)):
        shapes = jax.eval_shape(lambda: tree)
        used(fnet.load(path, like=shapes))
        assert len(traces) == 1


def test_a_run_goes_on_from_its_file_bit_for_bit(path):
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    net = fnet.sequential(fnet.dropout(0.2), fnet.dense(1))
    run = {"batch_size": 8, "epochs": 2}
    halfway, _ = fnet.train(
        fnet.supervised(net, "mean_squared_error"), small(net=net), (x, x[:, :1]), **run
    )
    fnet.save(path, halfway)
    resumed = fnet.load(path, like=small(net=net, key=jax.random.key(1)))
    one, _ = fnet.train(fnet.supervised(net, "mean_squared_error"), halfway, (x, x[:, :1]), **run)
    other, _ = fnet.train(fnet.supervised(net, "mean_squared_error"), resumed, (x, x[:, :1]), **run)
    chex.assert_trees_all_equal(bits(one), bits(other))
    assert int(other.step) == 12


@pytest.mark.parametrize("saved", [fnet.sgd(0.1), fnet.sgd(jnp.asarray(0.1))])
def test_numbers_of_python_and_of_jax_take_the_place_of_one_another(saved, path):
    fnet.save(path, dataclasses.replace(small("sgd"), optimizer=saved))
    back = fnet.load(path, like=small("sgd")).optimizer.learning_rate
    assert back.weak_type and back == jnp.float32(0.1)
    like = dataclasses.replace(small("sgd"), optimizer=fnet.sgd(0.5))
    back = fnet.load(path, like=like).optimizer.learning_rate
    assert type(back) is float and np.float32(back) == np.float32(0.1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "bool", "uint32"])
def test_other_readers_see_the_same_numbers(dtype, path):
    tree = {"a": {"b": np.arange(6).reshape(2, 3).T.astype(dtype)}, "scalar": jnp.ones((), dtype)}
    fnet.save_weights(path, tree, NET)
    chex.assert_trees_all_equal(
        safetensors.numpy.load_file(path), {"a/b": tree["a"]["b"], "scalar": np.ones((), dtype)}
    )
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["model"] == repr(NET)


def test_the_parser_of_safetensors_agrees_on_every_dtype(path):
    tree = TREES["every_dtype"]()
    fnet.save_weights(path, tree)
    entries = dict(safetensors.deserialize(path.read_bytes()))
    assert {name: entry["dtype"] for name, entry in entries.items()} == {
        name: name for name in tree
    }
    for name, entry in entries.items():
        assert bytes(entry["data"]) == np.asarray(tree[name]).tobytes()


def test_weights_come_back_without_like(path):
    fnet.save_weights(path, params())
    assert_same(fnet.load_weights(path), params())


def test_weights_of_other_programs_are_read(path):
    safetensors.numpy.save_file({"dense/kernel": np.ones((2, 1))}, path, {"format": "pt"})
    kernel = fnet.load_weights(path)["dense"]["kernel"]
    assert type(kernel) is np.ndarray and kernel.dtype == np.float64  # JAX would cut it
    with enable_x64():
        assert isinstance(fnet.load_weights(path)["dense"]["kernel"], jax.Array)
    with pytest.raises(fnet.CorruptFileError, match="must be an fnet file of the kind 'state'"):
        fnet.load(path, like={"dense": {"kernel": np.ones((2, 1))}})


def header_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


def two(first, second):
    spans = [{"dtype": "U8", "shape": [s[1] - s[0]], "data_offsets": s} for s in (first, second)]
    return dict(zip("ab", spans, strict=True))


TWICE = b'"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "a"'
BAD_FILES = {
    "empty": (b"", "0 bytes that do not begin with the length"),
    "short": (b"1234567", "7 bytes that do not begin with the length"),
    "long_header": (header_file({}, length=3), "10 bytes that do not begin with the length"),
    "huge_header": (header_file({}, length=2**63), "do not begin with the length"),
    "no_json": (header_file(b"{"), "in header"),
    "no_text": (header_file(b'{"\xff":1}'), "in header"),
    "no_dict": (header_file([1]), "in header"),
    "nested": (header_file(b"[" * 100_000), "in header"),
    "long_number": (header_file(b"1" * 10_000), "in header"),
    "metadata": (header_file({"__metadata__": 3}), "in header"),
    "number_in_metadata": (
        header_file({"__metadata__": {"a": 3}}),
        "in header",
    ),
    "entry": (header_file({"a": 3}), "JSON in header"),
    "no_shape": (
        header_file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}),
        "missing field `shape`",
    ),
    "dtype": (
        header_file(entry(dtype="F31"), bytes(8)),
        "unknown variant `F31`",
    ),
    "dtype_list": (header_file(entry(dtype=[]), bytes(8)), "JSON in header"),
    "negative": (
        header_file(entry(shape=[-2]), bytes(8)),
        "invalid value: integer `-2`",
    ),
    "fraction": (header_file(entry(shape=[2.0]), bytes(8)), "floating point"),
    "shape": (header_file(entry(shape=[3]), bytes(8)), "invalid shape"),
    "axes": (header_file(entry(shape=[1] * 99 + [2]), bytes(8)), "100 axes, too many"),
    "offset": (
        header_file(entry(data_offsets=[8, 16]), bytes(16)),
        "invalid offset",
    ),
    "offsets": (header_file(entry(data_offsets=[0]), bytes(8)), "JSON in header"),
    "overlap": (header_file(two([0, 2], [1, 3]), bytes(3)), "invalid offset"),
    "gap": (header_file(two([0, 2], [3, 4]), bytes(4)), "invalid offset"),
    "too_little": (header_file(entry(), bytes(7)), "fully covered"),
    "too_much": (header_file(entry(), bytes(9)), "fully covered"),
    "terabytes": (
        header_file(entry(shape=[2**40], data_offsets=[0, 2**42])),
        "fully covered",
    ),
    "long_number_beside": (
        header_file(
            json.dumps(entry()).encode().replace(b"}", b', "x": ' + b"1" * 5000 + b"}", 1), bytes(8)
        ),
        "cannot be parsed",
    ),
    "dtype_of_no_array": (
        header_file(entry(dtype="F4", data_offsets=[0, 1]), bytes(1)),
        "dtype F4",
    ),
    "a_name_twice": (
        header_file(json.dumps(entry()).encode().replace(b'"a"', TWICE), bytes(8)),
        "two entries are called 'a'",
    ),
    "too_many": (header_file(b'"data_offsets"' * 100_001), "100001 tensors, which are more than"),
    "no_digest": (header_file({"__metadata__": {"fnet": "1"}}), "changed bits in the header"),
    "other_digest": (
        header_file({"__metadata__": {"digest": "0" * 64, "sha256": "{}"}}),
        "changed bits in the header",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_none_are_refused(name, path):
    content, words = BAD_FILES[name]
    path.write_bytes(content)
    for read in (fnet.load_weights, lambda path: fnet.load(path, like=params())):
        with pytest.raises(
            fnet.CorruptFileError, match=rf"`{path}` must .* got .*{words}.*\. Read"
        ):
            read(path)


def signed(metadata):
    """A file whose header is as good as its digest can tell."""
    marks = {"__metadata__": {"digest": tensor_file.ZEROS, **metadata}}
    file = header_file(marks)
    return file.replace(b"0" * 64, tensor_file.digest(file[8:]).encode(), 1)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"fnet": "1"}, "no checksums of its tensors"),
        ({"fnet": "1", "sha256": "["}, "no checksums of its tensors"),
        ({"fnet": "1", "sha256": "3"}, "no checksums of its tensors"),
        ({"fnet": "2", "sha256": "{}"}, "format 2, but this version of fnet reads 1"),
        ({"fnet": "1", "sha256": "{}"}, "must be an fnet file of the kind 'weights', got 'no"),
    ],
)
def test_files_of_fnet_without_their_marks_are_refused(metadata, words, path):
    path.write_bytes(signed(metadata))
    with pytest.raises(fnet.CorruptFileError, match=words):
        fnet.load_weights(path)


def test_a_file_of_another_kind_is_refused(path):
    fnet.save(path, params())
    with pytest.raises(fnet.CorruptFileError, match="kind 'weights', got 'state'. Read files of"):
        fnet.load_weights(path)
    fnet.save_weights(path, params())
    with pytest.raises(fnet.CorruptFileError, match="kind 'state', got 'weights'"):
        fnet.load(path, like=params())


def test_a_damaged_tensor_is_named(path):
    fnet.save_weights(path, {"one": jnp.ones(3), "two": jnp.zeros(3)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(fnet.CorruptFileError, match="changed bits in two. Read"):
        fnet.load_weights(path)


class Opaque:
    def __repr__(self):
        return "Opaque"


@pytest.mark.parametrize(
    ("tree", "error", "words"),
    [
        ({"a": {"b": "text"}}, TypeError, "every leaf must be an array .* got 'text' as 'a/b'"),
        ({"a": Opaque()}, TypeError, "every leaf must be an array .* got a Opaque as 'a'"),
        ({"a/b": 1, "a": {"b": 2}}, ValueError, "different names, got two called 'a/b'. Remove"),
        (
            {"__metadata__": 1},
            ValueError,
            "must differ from __metadata__, .*, got .*. Rename",
        ),
        ({"a": np.ones(2, complex)}, TypeError, "a must have a dtype .* got complex128. Convert"),
        ({"a": np.array(["x"])}, TypeError, "a must have a dtype of safetensors"),
        ({"a": np.ones(2, ">f4")}, TypeError, "a must have a dtype of .* got >f4"),
        ({"a": jnp.ones(2, jnp.int4)}, TypeError, "a must have a dtype of .* got int4"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(tree, error, words, path):
    path.write_bytes(b"old")
    for write in (fnet.save_weights, fnet.save):
        with pytest.raises(error, match=words):
            write(path, tree)
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == [path.name]


def test_further_refusals(path, monkeypatch):
    with pytest.raises(TypeError, match="call this outside of jax.jit"):
        jax.jit(lambda tree: fnet.save(path, tree))(params())
    with pytest.raises(ValueError, match="not begin with run/, which is .* got 'run/loss'. Rename"):
        fnet.save(path, {"run": {"loss": 1.0}})
    with pytest.raises(TypeError, match="`net` must be a layer"):
        fnet.save_weights(path, params(), "dense")
    monkeypatch.setattr(tensor_file, "MAX_HEADER", 100)
    with pytest.raises(ValueError, match="must fit into 100 bytes, got .* Stack"):
        fnet.save_weights(path, params())
    monkeypatch.setattr(tensor_file, "MAX_TENSORS", 1)
    with pytest.raises(ValueError, match="must hold at most 1 tensors, got 2. Stack"):
        fnet.save_weights(path, {"a": 1.0, "b": 2.0})
    assert not path.exists()


def test_a_name_cannot_be_a_tensor_and_a_dict(path):
    tree = {"a": 1, "a/b": 2}
    fnet.save_weights(path, tree)
    with pytest.raises(ValueError, match="must describe a nested dict, got 'a/b' beside .* `like`"):
        fnet.load_weights(path)
    assert fnet.load_weights(path, like=tree) == tree


@pytest.mark.parametrize(
    ("like", "error", "words"),
    [
        (
            {"dense": {"kernel": jnp.ones((3, 4))}},
            TypeError,
            r"'dense/bias' is unexpected; 'dense/kernel' has .* instead of \(3, 4\)\. Build",
        ),
        (params(4), ValueError, r"'dense/bias' has .*; 'dense/kernel' has shape \(3, 2\) instead"),
        (params() | {"x": 1}, TypeError, "`.*file.safetensors` must hold .* 'x' is missing. Build"),
        (
            params(dtype=jnp.bfloat16),
            TypeError,
            "'dense/bias' has dtype float32 instead of bfloat16; 'dense/kernel' has dtype float32",
        ),
        ({"dense": "text"}, TypeError, "every leaf must be an array or a number, got 'text' as"),
    ],
)
def test_every_difference_to_like_is_listed(like, error, words, path):
    fnet.save_weights(path, params())
    with pytest.raises(error, match=words):
        fnet.load_weights(path, like)
    fnet.save(path, params())
    with pytest.raises(error, match=words):
        fnet.load(path, like)


@pytest.mark.parametrize(
    ("like", "words"),
    [
        (
            "rmsprop",
            r"optimizer is momentum\(.*nesterov=False\) instead of rmsprop\(learning",
        ),
        (
            fnet.momentum(0.1, nesterov=True),
            r"=False\) instead of .*nesterov=True\)\. Build",
        ),
        (fnet.momentum(fnet.cosine(0.1, 9)), r"/learning_rate is a plain tree instead of cosine\("),
        (fnet.clipped("momentum"), r"optimizer is momentum\(.* instead of clipped\(optimizer="),
    ],
)
def test_a_state_of_another_optimizer_is_refused_with_both_named(like, words, path):
    fnet.save(path, small("momentum"))
    with pytest.raises(TypeError, match=words):
        fnet.load(path, like=small(like))


def test_a_state_of_another_mask_or_algorithm_is_refused(path):
    first, second = ({"dense": True, "dense_1": flag} for flag in (True, False))
    fnet.save(path, dataclasses.replace(small("sgd"), optimizer=fnet.masked("sgd", first)))
    with pytest.raises(TypeError, match=r"'dense_1', True.* instead of masked.*'dense_1', False"):
        like = dataclasses.replace(small("sgd"), optimizer=fnet.masked("sgd", second))
        fnet.load(path, like)
    fnet.save(path, small("sgd"))
    with pytest.raises(TypeError, match="'key:rbg' is missing; 'key:threefry2x32' is unexpected"):
        fnet.load(path, small("sgd", jax.random.key(0, impl="rbg")))


def test_paths_that_are_no_files(tmp_path):
    missing = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError, match="missing/file"):
        fnet.load_weights(missing)
    with pytest.raises(FileNotFoundError, match=r"got 'No such file .* folder .*missing/file"):
        fnet.save_weights(missing, params())
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        fnet.load(tmp_path, like=params())
    with pytest.raises(IsADirectoryError, match=f"got a folder. Add a file name .*{tmp_path}"):
        fnet.save(tmp_path, params())
    for call in (fnet.load_weights, lambda path: fnet.save(path, params())):
        with pytest.raises(TypeError, match="must be a path, got 0"):
            call(0)


def test_a_link_is_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    fnet.save_weights(link, params())
    assert link.is_symlink() and not path.is_symlink()
    assert_same(fnet.load_weights(path), params())


class FailingDisk:
    """The module `os`, whose k-th call that touches the disk fails."""

    def __init__(self, failing, error):
        self.failing, self.error, self.calls = failing, error, []

    def __getattr__(self, name):
        function = getattr(os, name)
        if name not in ("open", "write", "fsync", "close", "replace"):
            return function

        def call(*arguments):
            self.calls.append(name)
            if len(self.calls) - 1 == self.failing:
                if name == "close":
                    function(*arguments)
                raise self.error
            return function(*arguments)

        return call


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "EIO"), OSError(errno.ENOSPC, "ENOSPC"), KeyboardInterrupt()],
    ids=["broken", "full", "interrupted"],
)
def test_a_disk_that_fails_leaves_the_old_file(error, path, monkeypatch):
    fnet.save(path, params(2))
    old = path.read_bytes()
    working = FailingDisk(-1, error)
    monkeypatch.setattr(atomic, "os", working)
    fnet.save(path, params(3))
    new = path.read_bytes()
    for failing, name in enumerate(working.calls):
        path.write_bytes(old)
        monkeypatch.setattr(atomic, "os", FailingDisk(failing, error))
        with pytest.raises(type(error)) as raised:
            fnet.save(path, params(3))
        only_the_folder = failing > working.calls.index("replace")
        assert path.read_bytes() == (new if only_the_folder else old), name
        assert os.listdir(path.parent) == [path.name], name
        if isinstance(error, OSError):
            words = "The new file is in place" if only_the_folder else "older file is intact"
            assert raised.value.errno == error.errno
            assert re.search(f"got '{error.strerror}'.*{words}.*{path.parent}", str(raised.value))
    assert working.calls.count("write") == 4 and working.calls.count("fsync") == 2


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(path, monkeypatch):
    class SlowDisk(FailingDisk):
        def write(self, descriptor, data):
            return os.write(descriptor, data[:7])

    monkeypatch.setattr(atomic, "os", SlowDisk(-1, None))
    fnet.save(path, params())
    assert_same(fnet.load(path, params()), params())


@pytest.fixture
def full_disk(tmp_path):
    """A real disk of 1 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_leaves_the_old_file(full_disk):
    path, large = full_disk / "weights", {"kernel": jnp.ones(150_000)}
    fnet.save_weights(path, large)
    words = (
        r"'No space left on device' for 600\d+ bytes, with \d+ bytes free. An older .* Free some"
    )
    with pytest.raises(OSError, match=f"{words}.*{path}") as raised:
        fnet.save_weights(path, {"kernel": jnp.zeros(150_000)})
    assert raised.value.errno == errno.ENOSPC and os.listdir(full_disk) == ["weights"]
    assert_same(fnet.load_weights(path), large)


@pytest.mark.parametrize("kind", ["weights", "state"])
def test_flipped_bits_and_cuts_are_found(kind, path):
    tree = params() if kind == "weights" else small("sgd")
    (fnet.save_weights if kind == "weights" else fnet.save)(path, tree)
    content, random = path.read_bytes(), np.random.default_rng(0)

    def load():
        return fnet.load_weights(path) if kind == "weights" else fnet.load(path, tree)

    for bit in random.integers(0, 8 * len(content), 200).tolist():
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(fnet.CorruptFileError):
            load()
    for length in random.integers(0, len(content), 100).tolist():
        path.write_bytes(content[:length])
        with pytest.raises(fnet.CorruptFileError):
            load()
    path.write_bytes(content)
    assert_same(load(), tree)
