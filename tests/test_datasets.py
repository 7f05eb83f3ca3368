"""Datasets: strict reading, the order of places, downloads from a real server on this machine."""

import ast
import gzip
import hashlib
import socket
import struct
import sys
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from real_data import folder_of

import fnet
from fnet.core.user_cache import user_cache
from fnet.datasets import _FASHION_MNIST, _MNIST, download, fashion_mnist, idx, mnist, mnist_5k
from fnet.datasets.download import Dataset, load
from fnet.datasets.idx_files import TYPES, IdxFile

NAMES = ("train-images", "train-labels", "test-images", "test-labels")
ARRAYS = tuple(
    np.arange(start, start + np.prod(shape), dtype=np.uint8).reshape(shape)
    for start, shape in ((0, (3, 2, 2)), (20, (3,)), (40, (2, 2, 2)), (60, (2,)))
)


def idx_bytes(array):
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


PLAIN = {name: idx_bytes(array) for name, array in zip(NAMES, ARRAYS, strict=True)}
PACKED = {name: gzip.compress(plain) for name, plain in PLAIN.items()}
FILES = tuple(
    IdxFile(name, array.shape, hashlib.sha256(PLAIN[name]).hexdigest())
    for name, array in zip(NAMES, ARRAYS, strict=True)
)
IMAGES = PLAIN["train-images"]


class Mirror:
    """A server of the tiny dataset that answers its first requests with the `faults` it is given.

    A fault is an HTTP status, or a function from the right body to the one that is sent.
    """

    def __init__(self):
        self.faults, self.requests = [], []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                mirror.requests.append(self.path)
                fault = mirror.faults.pop(0) if mirror.faults else 200
                body = PACKED[self.path.removeprefix("/").removesuffix(".gz")]
                self.send_response(fault if isinstance(fault, int) else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(fault(body) if callable(fault) else body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def mirror():
    mirror = Mirror()
    yield mirror
    mirror.close()


@pytest.fixture
def dead_url():
    """An address at which nothing listens: the socket is bound and refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache in place of the user's, and no waiting between rounds of downloads."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "user"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("FNET_DATA_DIR", raising=False)
    monkeypatch.setattr(download, "PAUSES", (0, 0, 0))
    return user_cache() / "tiny"


def tiny(*mirrors, folders=()):
    return Dataset("tiny", mirrors, FILES, folders)


def put(folder, contents=PACKED, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(content)
    return folder


def check(loaded):
    (x_train, y_train), (x_test, y_test) = loaded
    for array, expected in zip((x_train, y_train, x_test, y_test), ARRAYS, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == (np.uint8 if array.ndim == 3 else np.int32)
        assert array.flags.writeable and array.flags.c_contiguous


# Reading


@pytest.mark.parametrize(("contents", "suffix"), [(PACKED, ".gz"), (PLAIN, "")])
def test_files_are_read_packed_and_plain(tmp_path, contents, suffix):
    check(load(tiny(), put(tmp_path, contents, suffix)))


def test_arrays_are_fresh(tmp_path):
    put(tmp_path)
    load(tiny(), tmp_path)[0][0][:] = 255
    check(load(tiny(), tmp_path))


OTHER_BYTES = "expected the SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}"
DAMAGE = {
    "empty": (b"", "expected 28 bytes, got 0"),
    "magic": (IMAGES.replace(b"\x08\x03", b"\x08\x01"), OTHER_BYTES),
    "shape": (IMAGES.replace(b"\x02", b"\x03", 1), OTHER_BYTES),
    "shape without end": (IMAGES[:4] + b"\xff" * 12 + IMAGES[16:], OTHER_BYTES),
    "axes without end": (b"\0\0\x08\xff" + bytes(1020), "expected 28 bytes, got more"),
    "not idx": (b"<html>", "expected 28 bytes, got 6"),
    "short": (IMAGES[:-1], "expected 28 bytes, got 27"),
    "long": (IMAGES + b"\0", "expected 28 bytes, got more"),
    "element": (IMAGES[:-1] + b"\0", OTHER_BYTES),
}
PACKED_DAMAGE = {
    "not gzip": (
        IMAGES,
        r"expected a complete gzip file, got: Not a gzipped file \(b'\\x00\\x00'\)",
    ),
    "cut gzip": (
        PACKED["train-images"][:-9],
        "expected a complete gzip file, got: Compressed file ended before",
    ),
    "gzip crc": (
        PACKED["train-images"][:-8] + bytes(8),
        "expected a complete gzip file, got: CRC check failed",
    ),
    "gzip stream": (
        PACKED["train-images"][:10] + b"\xff" * 20,
        "expected a complete gzip file, got: Error -3 while decompressing",
    ),
    "no gzip": (b"", "expected 28 bytes, got 0"),
}
CASES = [("", *case) for case in DAMAGE.values()]
CASES += [(".gz", gzip.compress(content), match) for content, match in DAMAGE.values()]
CASES += [(".gz", *case) for case in PACKED_DAMAGE.values()]


@pytest.mark.parametrize(
    ("suffix", "content", "match"),
    CASES,
    ids=[*DAMAGE, *(f"{kind}.gz" for kind in DAMAGE), *PACKED_DAMAGE],
)
def test_damage_is_refused(tmp_path, suffix, content, match):
    put(tmp_path)
    (tmp_path / "train-images.gz").unlink()
    put(tmp_path, {"train-images": content}, suffix)
    match = (
        rf"/train-images{suffix} is not train-images of tiny: .*{match}.*\. "
        "Delete it to download an intact copy, or choose another folder.$"
    )
    with pytest.raises(ValueError, match=match):
        load(tiny(), tmp_path)


@pytest.mark.parametrize("number", TYPES)
@pytest.mark.parametrize("shape", [(3,), (5, 2, 3)])
def test_idx_maps_a_file_of_every_type(tmp_path, number, shape):
    array = np.arange(-2, np.prod(shape) - 2).reshape(shape).astype(TYPES[number])
    start = struct.pack(f">HBB{len(shape)}I", 0, number, len(shape), *shape)
    (tmp_path / "file").write_bytes(start + array.tobytes())
    mapped = idx(tmp_path / "file")
    np.testing.assert_array_equal(mapped, array)
    assert type(mapped) is np.memmap and mapped.dtype == array.dtype
    assert not mapped.flags.writeable


IDX_DAMAGE = {
    "packed": (
        PACKED["train-images"],
        "an uncompressed file, got .*/images, a gzip file. Unpack it, for .* `gunzip",
    ),
    "empty": (b"", "which starts with nothing. Choose another file"),
    "not idx": (b"<html>", "an IDX file, .* which starts with 3c 68 74 6d"),
    "type": (IMAGES.replace(b"\x08\x03", b"\x0a\x03"), "which starts with 00 00 0a 03"),
    "no axes": (b"\0\0\x08\0\0", "which starts with 00 00 08 00"),
    "axes without end": (IMAGES[:15], "which starts with 00 00 08 03 00 00 00 03"),
    "short": (IMAGES[:-1], r"its shape \(3, 2, 2\) 12 bytes of uint8, got .* with 11"),
    "long": (IMAGES + b"\0", "12 bytes of uint8, got .* with 13. Copy the whole"),
    "another type": (IMAGES.replace(b"\x08\x03", b"\x0d\x03"), "48 bytes of float32, .* with 12"),
    "nothing in it": (
        IMAGES[:4] + bytes(12),
        r"one element or more, .* \(0, 0, 0\) 0 bytes",
    ),
}


@pytest.mark.parametrize(("content", "match"), IDX_DAMAGE.values(), ids=IDX_DAMAGE)
def test_idx_refuses_what_is_not_whole(tmp_path, content, match):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(ValueError, match=f"^`path` must .*{match}"):
        idx(tmp_path / "images")


@pytest.fixture
def little_memory():
    """At most 8 MiB at once, of what Python and NumPy take, while the test runs."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**23


BOMB = gzip.compress(IMAGES + bytes(2**26), compresslevel=1)


def test_a_gzip_bomb_is_refused_before_it_takes_memory(tmp_path, little_memory):
    put(tmp_path, PACKED | {"train-images": BOMB})
    with pytest.raises(ValueError, match="expected 28 bytes, got more"):
        load(tiny(), tmp_path)


def test_a_downloaded_gzip_bomb_is_refused_before_it_takes_memory(mirror, cache, little_memory):
    mirror.faults = [lambda body: BOMB]
    check(load(tiny(mirror.url)))
    assert mirror.requests[:2] == ["/train-images.gz"] * 2
    assert (cache / "train-images").read_bytes() == IMAGES


def test_nothing_unpickles():
    """No pickle is imported, and no array file is loaded but with pickles forbidden."""
    for path in Path(fnet.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                assert "allow_pickle=False" in map(ast.unparse, node.keywords), path


# Places


def test_places_are_searched_in_order(tmp_path, monkeypatch, mirror, cache):
    """All places hold a damaged file; the error names the first of those that are left."""
    monkeypatch.setenv("FNET_DATA_DIR", str(tmp_path / "env"))
    dataset = tiny(mirror.url, folders=(str(tmp_path / "system"),))
    places = [tmp_path / place for place in ("data/tiny", "data", "env/tiny", "system")]
    paths = [
        put(place, {"train-images": b"damaged"}, suffix) / f"train-images{suffix}"
        for place in [*places, cache]
        for suffix in (".gz", "")
    ]
    for path in paths[:-2]:
        with pytest.raises(ValueError, match=f"^{path} is not"):
            load(dataset, tmp_path / "data")
        path.unlink()
    assert mirror.requests == []
    check(load(dataset, tmp_path / "data"))
    assert len(mirror.requests) == 4


def test_each_file_is_looked_up_on_its_own(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("FNET_DATA_DIR", str(tmp_path / "env"))
    folders = (tmp_path / "data", tmp_path / "env/tiny", tmp_path / "system", cache)
    for folder, name in zip(folders, NAMES, strict=True):
        put(folder, {name: PACKED[name]})
    check(load(tiny(folders=(str(tmp_path / "system"),)), tmp_path / "data"))


def test_a_mistyped_data_dir_starts_no_download(tmp_path, mirror):
    with pytest.raises(NotADirectoryError, match="`data_dir` must be an existing folder, got '.*/"):
        load(tiny(mirror.url), tmp_path / "typo")
    assert mirror.requests == []


def test_an_empty_environment_variable_counts_as_unset(tmp_path, monkeypatch, mirror):
    put(tmp_path / "tiny", dict.fromkeys(NAMES, b"damaged"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FNET_DATA_DIR", "")
    check(load(tiny(mirror.url)))


@pytest.mark.parametrize(
    ("platform", "folder"),
    [("linux", "xdg/fnet"), ("darwin", "home/Library/Caches/fnet"), ("win32", "local/fnet")],
)
def test_the_cache_is_where_the_platform_keeps_it(tmp_path, monkeypatch, platform, folder):
    monkeypatch.setattr(sys, "platform", platform)
    for variable, place in (("XDG_CACHE_HOME", "xdg"), ("LOCALAPPDATA", "local"), ("HOME", "home")):
        monkeypatch.setenv(variable, str(tmp_path / place))
    assert user_cache() == tmp_path / folder


def test_a_packed_file_is_unpacked_once(tmp_path, cache):
    check(load(tiny(), put(tmp_path / "data")))
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == PLAIN
    put(tmp_path / "data", dict.fromkeys(NAMES, b"not looked at"))
    check(load(tiny(), tmp_path / "data"))


def test_a_damaged_copy_is_unpacked_again(tmp_path, cache):
    put(cache, dict.fromkeys(NAMES, b"damaged"), "")
    check(load(tiny(), put(tmp_path / "data")))
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == PLAIN


def test_a_plain_file_is_not_copied(tmp_path, cache):
    check(load(tiny(), put(tmp_path / "data", PLAIN, "")))
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_takes_nothing_from_a_packed_file(tmp_path, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")
    check(load(tiny(), put(tmp_path / "data")))


# Downloads


def test_a_download_fills_the_cache_once(mirror, cache, capfd):
    check(load(tiny(mirror.url)))
    check(load(tiny(mirror.url)))
    assert mirror.requests == [f"/{name}.gz" for name in NAMES]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == PLAIN
    assert capfd.readouterr() == ("", "")  # the progress bar is for terminals


@pytest.mark.parametrize(
    "fault",
    [
        500,
        lambda body: body[: len(body) // 2],
        lambda body: b"",
        lambda body: b"?" * len(body),
        lambda body: gzip.compress(IMAGES[:-1] + b"\0"),
    ],
    ids=["500", "cut", "dropped", "not gzip", "checksum"],
)
def test_a_failed_download_is_tried_again(mirror, cache, fault):
    mirror.faults = [fault, fault]
    check(load(tiny(mirror.url)))
    assert mirror.requests[:3] == ["/train-images.gz"] * 3
    assert len(mirror.requests) == 6
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)


def test_a_stalled_download_is_given_up_and_tried_again(mirror, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    mirror.faults = [lambda body: time.sleep(0.6) or body]
    check(load(tiny(mirror.url)))
    assert len(mirror.requests) == 5


def test_the_second_mirror_stands_in_for_the_first(mirror, dead_url):
    check(load(tiny(dead_url, mirror.url)))
    assert len(mirror.requests) == 4


def test_a_damaged_cached_file_is_fetched_again(mirror, cache, capfd):
    put(cache, PLAIN | {"test-images": b"damaged"}, "")
    check(load(tiny(mirror.url)))
    assert mirror.requests == ["/test-images.gz"]
    assert (cache / "test-images").read_bytes() == PLAIN["test-images"]
    assert capfd.readouterr() == ("", "")


def test_when_every_mirror_fails_the_error_says_what_was_tried(tmp_path, mirror, dead_url, cache):
    mirror.faults = [404] * 9
    match = (
        f"^tiny needs the file train-images or train-images.gz. No intact copy is in "
        f"{tmp_path}/tiny, {tmp_path}, {cache}, and no mirror provides one: "
        rf"{mirror.url}train-images.gz: HTTP Error 404: Not Found; "
        rf"{dead_url}train-images.gz: <urlopen error .*Connection refused>. "
        "Put the 4 files in a folder and pass it as `data_dir`, "
        "or put them in a folder tiny and set FNET_DATA_DIR to its parent.$"
    )
    with pytest.raises(FileNotFoundError, match=match):
        load(tiny(mirror.url, dead_url), tmp_path)
    assert len(mirror.requests) == 1  # a 404 is final
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_no_data_and_leaves_no_litter(mirror, cache):
    (cache / "train-images").mkdir(parents=True)
    with pytest.warns(UserWarning, match="tiny must be writable to cache train-images, got: "):
        check(load(tiny(mirror.url)))
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)
    assert not any((cache / "train-images").iterdir())


# The real ones


def test_mnist_5k_is_balanced_shuffled_and_small():
    for (x, y), each in zip(mnist_5k(), (400, 100), strict=True):
        assert (x.shape, x.dtype) == ((10 * each, 28, 28), np.uint8)
        assert (y.shape, y.dtype) == ((10 * each,), np.int32)
        assert x.flags.writeable and x.flags.c_contiguous and y.flags.writeable
        assert (x.min(), x.max()) == (0, 255)
        np.testing.assert_array_equal(np.bincount(y), [each] * 10)
        assert np.bincount(y[:each], minlength=10).min() > 0.05 * each  # interleaved
    assert Path(download.__file__).with_name("mnist_5k.npz").stat().st_size < 1_000_000


def test_mnist_5k_is_the_same_and_fresh_at_every_call():
    first, second = mnist_5k(), mnist_5k()
    np.testing.assert_array_equal(first[0][0], second[0][0])
    np.testing.assert_array_equal(first[1][1], second[1][1])
    first[0][0][:] = 0
    assert second[0][0].any()


def test_mnist_5k_has_the_bits_that_its_users_know():
    digest = hashlib.sha256()
    for x, y in mnist_5k():
        digest.update(x.tobytes() + y.astype("<i4").tobytes())
    assert digest.hexdigest() == "486f8646a6792dbd22d03dfb617f957e4dd71be60557239aecf068d8e17aec70"


def test_mnist_5k_has_no_digit_twice():
    (x_train, _), (x_test, _) = mnist_5k()
    assert len({x.tobytes() for x in (*x_train, *x_test)}) == 5_000


@pytest.mark.parametrize(
    ("function", "dataset", "labels"),
    [(mnist, _MNIST, [5, 0, 4, 1, 9]), (fashion_mnist, _FASHION_MNIST, [9, 0, 0, 3, 0])],
    ids=["mnist", "fashion_mnist"],
)
def test_the_real_files_load(function, dataset, labels):
    (x_train, y_train), (x_test, y_test) = function(folder_of(dataset))
    assert (x_train.shape, x_train.dtype) == ((60_000, 28, 28), np.uint8)
    assert (y_train.shape, y_train.dtype) == ((60_000,), np.int32)
    assert (x_test.shape, x_test.dtype) == ((10_000, 28, 28), np.uint8)
    assert (y_test.shape, y_test.dtype) == ((10_000,), np.int32)
    assert y_train[:5].tolist() == labels


def test_mnist_5k_is_part_of_the_training_set_of_mnist():
    (x_train, y_train), _ = mnist(folder_of(_MNIST))
    labels = {x.tobytes(): y for x, y in zip(x_train, y_train, strict=True)}
    for images, digits in mnist_5k():
        assert [labels.get(x.tobytes()) for x in images] == digits.tolist()
