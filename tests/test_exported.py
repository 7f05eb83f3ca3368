"""Exported models compute what `apply` does, and not one damaged byte of them is run."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import ACTIVATIONS, LAYERS
from test_layers import built, close

import fnet
from fnet.files.export import HEADER
from fnet.files.tensor_file import CorruptFileError

BATCHES = 1, 3, 7
NAMES = {function.__name__ for function in ACTIVATIONS}  # all at once: a row of their own
ROWS = [row for row in LAYERS if row.name not in NAMES]
NET = fnet.sequential(fnet.rescale(1 / 255), fnet.dense(2))
BLOB = fnet.export(NET, {"dense": {"kernel": jnp.eye(3, 2), "bias": jnp.ones(2)}}, (3,))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_exported_equals_apply_at_every_batch_size(row):
    net, params, state, x = built(row, np.random.default_rng(0), max(BATCHES))
    dtype = jax.tree.leaves(x)[0].dtype
    data = fnet.export(net, params, row.in_shape, state=state, dtype=dtype)
    program = fnet.load_exported(data)
    assert program.in_shape == row.in_shape
    assert program.dtype == jax.tree.map(lambda _: dtype.name, x)

    def first(tree, n):
        return jax.tree.map(lambda array: array[:n], tree)

    def both(x):
        return [program(first(x, n)) for n in BATCHES], fnet.apply(net, params, x, state)

    # One program for all, since compiling takes the time.
    came, expected = jax.jit(both, compiler_options={"xla_backend_optimization_level": 0})(x)
    for n, y in zip(BATCHES, came, strict=True):
        close(y, first(expected, n), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "bfloat16", "bool"])
def test_dtypes_of_the_input(dtype):
    program = fnet.load_exported(fnet.export(fnet.flatten, {}, (2,), dtype=dtype))
    x = np.array([[0, 1]]).astype(dtype)
    assert program.dtype == dtype
    np.testing.assert_array_equal(program(x), x)


def test_program_says_what_it_takes():
    program = fnet.load_exported(bytearray(BLOB))
    assert program.platforms == ("cpu", "cuda", "tpu")
    written = "Program(in_shape=(3,), dtype='float32', platforms=('cpu', 'cuda', 'tpu'))"
    assert repr(program) == written
    for call in (program, jax.jit(program)):
        np.testing.assert_allclose(call(np.full((2, 3), 255, np.float32)), np.full((2, 2), 2))


def test_a_program_is_compiled_once_for_each_batch_size(compilations):
    program = fnet.load_exported(BLOB)
    for n in (4, 5, 4, 5, 4):
        program(np.ones((n, 3), np.float32))
    assert len(compilations) == 2


def test_exporting_compiles_nothing(compilations):
    params = {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}
    fnet.load_exported(fnet.export(fnet.dense(2), params, (3,)))
    assert compilations == []


@pytest.mark.parametrize(
    "call", [lambda: fnet.export(NET, {}, (3,)), lambda: fnet.load_exported(BLOB)]
)
def test_without_flatbuffers(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(
        ImportError, match=r'flatbuffers, got none. Install it: .* "fnet-jax\[export\]"'
    ):
        call()


def damaged(bit):
    data = bytearray(BLOB)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


@pytest.mark.soak
def test_damage_in_a_row(figures):
    bits, kilobytes = np.random.default_rng(1).integers(0, 8 * len(BLOB), 1000), len(BLOB) // 1024
    for data in [*map(damaged, bits.tolist()), *(BLOB[: 1024 * n] for n in range(kilobytes + 1))]:
        with pytest.raises(CorruptFileError):
            fnet.load_exported(data)
    figures("an exported program with one bit flipped, anywhere", "1,000 of 1,000 refused")
    count = f"{kilobytes + 1:,} of {kilobytes + 1:,} refused"
    figures("an exported program cut at every KiB", count)


def test_every_flipped_bit_is_noticed():
    head = 8 * HEADER.size
    others = np.random.default_rng(0).choice(np.arange(head, 8 * len(BLOB)), 1000 - head, False)
    for bit in [*range(head), *others.tolist()]:
        with pytest.raises(CorruptFileError, match="`data` must .*, got "):
            fnet.load_exported(damaged(bit))


def test_every_cut_is_noticed():
    lengths = {*range(HEADER.size + 1), *range(0, len(BLOB), 13), len(BLOB) - 1}
    for data in [*(BLOB[:n] for n in lengths), BLOB + b"\0", BLOB + BLOB, BLOB[1:]]:
        with pytest.raises(CorruptFileError, match="`data` must .*, got "):
            fnet.load_exported(data)


@pytest.mark.parametrize(
    "data, match",
    [
        (b"", "start with the 48 bytes of the header of a program, got 0 bytes"),
        (b"\x93NUMPY" + bytes(99), "got 105 bytes that start with '93 4e 55 4d 50 59 00 00'"),
        (BLOB[:7] + b"\x02" + BLOB[8:], "`data` must be of version 1, got version 2. Load it with"),
        (BLOB[:-1], r"must hold (\d+) bytes of program, as its header says, got \d+. Export"),
        (damaged(8 * len(BLOB) - 1), "have the SHA-256 [0-9a-f]{64}, .* got [0-9a-f]{64}. Export"),
    ],
    ids=["empty", "another file", "version", "cut", "bit"],
)
def test_what_is_said_of_damage(data, match):
    with pytest.raises(CorruptFileError, match=match):
        fnet.load_exported(data)
