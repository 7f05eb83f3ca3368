"""Data larger than the memory: rows that are read while `fit` trains, with the bits of arrays."""

import threading
import weakref

import chex
import grain
import h5py
import jax
import numpy as np
import pytest
from array_record.python import array_record_module
from problems import LOSS, METRICS, bits, images, task

import fnet
from fnet.data.random_access import RandomAccessData, is_random_access
from fnet.fitting import source_rows as rows

pytestmark = pytest.mark.bits

NET = fnet.sequential(
    fnet.rescale(1 / 255), fnet.flatten, fnet.dense(4), fnet.dropout(0.2), fnet.dense(3),
    fnet.softmax,
)  # fmt: skip
BEGUN = fnet.train_state(NET, fnet.momentum(0.1), jax.random.key(0), (4, 4))
X, Y = images(50)  # 7 steps an epoch, the last one of 2 samples
RUN = {
    "epochs": 2, "batch_size": 8, "progress": False,
    "record": ["loss", "grad_norm"], "record_every": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def chunks_of_two_batches(monkeypatch):
    monkeypatch.setattr(rows, "CHUNK_BYTES", 2 * 8 * (16 + 4))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rows")]


class Lists:
    """Rows of a list of their numbers; does to the answer what a test wants."""

    def __init__(self, x=X, y=Y, change=lambda rows, batch: batch):
        self.x, self.y, self.change = x, y, change
        self.asked: list[list[int]] = []
        self.threads: set[str] = set()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, numbers):
        assert type(numbers) is list and numbers == sorted(set(numbers))
        self.asked.append(numbers)
        self.threads.add(threading.current_thread().name)
        return self.change(numbers, (self.x[numbers], self.y[numbers]))


class Samples:
    def __len__(self):
        return len(X)

    def __getitem__(self, number):
        return X[range(len(X))[number]], int(Y[number])


class ManySamples(Samples):
    """As a Dataset of PyTorch may have it; it is an iterable too."""

    def __getitems__(self, numbers):
        return [self[number] for number in numbers]

    def __iter__(self):
        raise AssertionError("to be looked up")


def memmap(folder):
    x = np.memmap(folder / "x", X.dtype, "w+", shape=X.shape)
    x[:] = X
    np.save(folder / "y.npy", Y.astype(">i8"))  # int32 in memory too, since JAX has it so
    return np.memmap(folder / "x", X.dtype, "r", shape=X.shape), np.load(
        folder / "y.npy", mmap_mode="r"
    )


def hdf5(folder):
    file = h5py.File(folder / "data.h5", "w")
    return file.create_dataset("x", data=X, chunks=(4, 4, 4)), file.create_dataset("y", data=Y)


class Records(Samples):
    """Samples out of a file of records, as grain reads it."""

    def __init__(self, path):
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for x, y in zip(X, Y, strict=True):
            writer.write(x.tobytes() + y.tobytes())
        writer.close()
        self.records = grain.sources.ArrayRecordDataSource(str(path))

    def __len__(self):
        return len(self.records)

    def __getitem__(self, number):
        x, y = np.split(np.frombuffer(self.records[number], np.uint8), [X[0].nbytes])
        return x.reshape(X[0].shape), y.view(Y.dtype)[0]


FORMS = {
    "memmap": memmap,
    "memmap beside an array": lambda folder: (memmap(folder)[0], Y),
    "hdf5": hdf5,
    "lists": lambda folder: Lists(),
    "samples": lambda folder: Samples(),
    "grain": lambda folder: Records(folder / "records"),
    "many samples": lambda folder: ManySamples(),
}


@pytest.fixture(scope="module")
def whole():
    """The runs on arrays in memory."""
    return {
        shuffle: fnet.fit(task(NET), BEGUN, (X, Y), shuffle=shuffle, **RUN)
        for shuffle in (True, False)
    }


def equal(a, b):
    chex.assert_trees_all_equal(bits(a), bits(b))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_every_source_gives_the_bits_of_arrays(form, shuffle, tmp_path, whole):
    data = FORMS[form](tmp_path)
    assert is_random_access(data)
    ours = fnet.fit(task(NET), BEGUN, data, shuffle=shuffle, **RUN)
    equal(ours, whole[shuffle])
    assert list(ours[1]) == list(whole[shuffle][1])


@pytest.mark.parametrize("size", [1, 10**9])
def test_the_size_of_chunks_changes_nothing(size, monkeypatch, whole):
    monkeypatch.setattr(rows, "CHUNK_BYTES", size)
    equal(fnet.fit(task(NET), BEGUN, Lists(), **RUN), whole[True])


@pytest.mark.parametrize(
    "data",
    [(X, Y), (X.tolist(), Y.tolist()), [(X, Y)], (jax.numpy.asarray(X), range(50)), {"x": X}],
)
def test_arrays_and_batches_stay_what_they_are(data):
    assert not is_random_access(data)


def test_weights_and_a_split_are_those_of_arrays(tmp_path):
    options = RUN | {"validation_split": 0.2}
    weights = np.linspace(0, 2, 50) * fnet.class_weights(Y, {0: 2.0, 2: 0.5})
    expected = fnet.fit(task(NET), BEGUN, (X, Y, weights), **options)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    equal(fnet.fit(task(NET), BEGUN, (mapped, Y, weights), **options), expected)
    threes = Lists(change=lambda rows, batch: (*batch, weights[rows]))
    equal(fnet.fit(task(NET), BEGUN, threes, **options), expected)


def test_a_run_goes_on_within_an_epoch_and_reads_only_its_rest(tmp_path, whole):
    class Interrupting(fnet.Checkpoints):
        def write(self, state, extra):
            super().write(state, extra)
            if int(state.step) == 10:
                raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        fnet.fit(task(NET), BEGUN, Lists(), callbacks=[Interrupting(tmp_path, every=5)], **RUN)
    checkpoints = fnet.Checkpoints(tmp_path, every=5)
    assert checkpoints.steps()[-1] == 10
    source = Lists()
    equal(
        fnet.fit(task(NET), BEGUN, source, callbacks=[checkpoints], resume="auto", **RUN),
        whole[True],
    )
    order = [y for _, y in fnet.batches((X, np.arange(50)), 8, key=BEGUN.key, epoch=1)]
    read = [numbers for numbers in source.asked if len(numbers) > 2 or numbers == sorted(order[6])]
    assert read == [sorted(numbers.tolist()) for numbers in order[3:]]


def test_another_form_of_the_same_data_goes_on_with_it_too(tmp_path, whole):
    checkpoints = fnet.Checkpoints(tmp_path)
    options = dict(callbacks=[checkpoints], resume="auto")
    fnet.fit(task(NET), BEGUN, (X, Y), **RUN | {"epochs": 1}, **options)
    equal(fnet.fit(task(NET), BEGUN, Lists(), **RUN, **options), whole[True])


def test_a_step_that_is_not_finite_is_found_again_in_its_chunk():
    net = fnet.sequential(fnet.dense(4), lambda x: x * x, fnet.dense(1))
    state = fnet.train_state(net, "sgd", jax.random.key(0), (3,))
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[20] = 1e25
    options = {"batch_size": 8, "progress": False}
    numbers = [y for _, y in fnet.batches((x, np.arange(50)), 8, key=state.key)]
    step = next(i for i, batch in enumerate(numbers) if 20 in batch)
    with pytest.warns(RuntimeWarning, match=f"from before step {step}, .*lambda: gives what is"):
        fnet.fit(fnet.supervised(net, "mean_squared_error"), state, Lists(x, x[:, :1]), **options)
    options |= {"on_nonfinite": "skip", "epochs": 2}
    expected = fnet.fit(fnet.supervised(net, "mean_squared_error"), state, (x, x[:, :1]), **options)
    equal(
        fnet.fit(fnet.supervised(net, "mean_squared_error"), state, Lists(x, x[:, :1]), **options),
        expected,
    )


def test_a_chunk_is_read_in_a_thread_while_the_one_before_it_trains():
    """On the device there is one other chunk at most whenever a row is read."""
    x, y = images(82)
    alive, taken, given = [], [], []

    def change(numbers, batch):
        alive.append(sum(a.shape == (14, 16) for a in jax.live_arrays()))
        given.extend(map(weakref.ref, batch))
        taken.append(sum(reference() is not None for reference in given))
        return batch

    rows_of_two = {"batch_size": 7, "epochs": 2}
    source = Lists(x, y, change)
    fnet.fit(task(NET), BEGUN, source, **RUN | rows_of_two)
    reading = source.threads - {threading.current_thread().name}
    assert len(reading) == 1 and reading.pop().startswith("rows")
    assert len(alive) > 24
    assert max(alive) == 1
    assert max(taken) <= 4  # x and y of a batch, and of the one before it


def failing(number, result):
    """A source whose answer for this row is an error, or another batch."""

    def change(numbers, batch):
        if number not in numbers or len(numbers) == 1:
            return batch
        if isinstance(result, Exception):
            raise result
        return result(*batch)

    return Lists(change=change)


BATCHES = list(fnet.batches((X, np.arange(50)), 8, key=BEGUN.key))
STEP = 4  # the second of its chunk, since the first chunk is one step
BAD = int(BATCHES[STEP][1][5])
FIRST = ", ".join(map(str, BATCHES[STEP][1][:3].tolist()))
NAN = np.where(np.arange(50) == BAD, np.nan, 1.0).astype(np.float32)[:, None, None]


@pytest.fixture(scope="module")
def by_hand():
    """The state before the step with the bad row."""
    state, step = BEGUN, jax.jit(fnet.train_step(fnet.supervised(NET, LOSS, METRICS)))
    for _, numbers in BATCHES[:STEP]:
        state, _ = step(state, (X[numbers], Y[numbers]))
    return state


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (failing(BAD, OSError("the disk is gone")), OSError, "the disk is gone"),
        (
            failing(BAD, IndexError("no row")),
            ValueError,
            f"as many rows as its length says, 50, got an IndexError for rows {FIRST}, ...: no row",
        ),
        (
            failing(BAD, lambda x, y: (x[:-1], y[:-1])),
            ValueError,
            rf"as many rows as it is asked for, 8, got \[7, 7\] for rows {FIRST}, ...\. Its length",
        ),
        (
            failing(BAD, lambda x, y: (x[:, :2], y)),
            ValueError,
            r"the same shapes and dtypes, uint8 of shape \(4, 4\) and int32 of shape \(\) at first"
            rf", got uint8 of shape \(2, 4\) and .* in rows {FIRST}, ...\.",
        ),
        (
            failing(BAD, lambda x, y: (x.astype(np.float32), y)),
            ValueError,
            rf"got float32 of shape \(4, 4\) and .* in rows {FIRST}",
        ),
        (
            failing(BAD, lambda x, y: x),
            ValueError,
            rf"must give every row with the same shapes .* got uint8 of .* in rows {FIRST}",
        ),
        (
            Lists(y=np.where(np.arange(50) == BAD, 3, Y)),
            ValueError,
            rf"^row {BAD} of `data`: `y` must hold labels in \[0, 3\), got 3 to 3",
        ),
        (
            Lists(x=X * NAN),
            ValueError,
            rf"^row {BAD} of `data`: `x` must be finite, got nan at index",
        ),
    ],
    ids=["raises", "index", "short", "shape", "dtype", "no tuple", "label", "not finite"],
)
@pytest.mark.parametrize("batches", [2, 100])  # a chunk; of more than all, three at each look
def test_an_error_says_where_and_what_was_trained_until_then_is_saved(
    batches, source, error, words, tmp_path, by_hand, monkeypatch
):
    monkeypatch.setattr(rows, "CHUNK_BYTES", batches * 8 * (16 + 4))
    monkeypatch.setattr(rows, "LOOKS", 2)
    checkpoints = fnet.Checkpoints(tmp_path)
    with pytest.raises(error, match=words) as caught:
        fnet.fit(task(NET), BEGUN, source, callbacks=[checkpoints], **RUN)
    assert caught.value.__notes__[-1].startswith(
        f"in place of batch {STEP + 1} of the epoch, before step {STEP}; what was trained"
    )
    assert checkpoints.steps() == [STEP]
    equal(checkpoints.latest(BEGUN), by_hand)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ((Lists(), Y[1:]), ValueError, r"as many samples in .*, at least one, got lengths \["),
        (Lists(X[:0], Y[:0]), ValueError, r"at least one, got lengths \[0\]"),
        (Lists(change=lambda rows, batch: (*batch, -Y[rows])), ValueError, "must not be negative"),
        (Lists(change=lambda rows, batch: {"x": X[rows]}), TypeError, "pair of .* got a dict"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_used_is_refused_at_once(data, error, words, compilations):
    with pytest.raises(error, match=words):
        fnet.fit(task(NET), BEGUN, data, **RUN)
    assert not compilations


@pytest.mark.parametrize("source", [Lists, Samples, ManySamples])
def test_a_length_that_is_not_true_is_refused_at_once(source, compilations):
    class Lying(source):
        def __len__(self):
            return 51

    with pytest.raises(
        ValueError, match="as its length says, 51, got an IndexError for rows 0, 50"
    ):
        fnet.fit(task(NET), BEGUN, Lying(), **RUN)
    assert not compilations


def test_what_a_source_raised_for_a_list_is_told_beside_what_it_raised_for_a_row():
    class Broken(Lists):
        def __getitem__(self, numbers):
            raise OSError("no file" if isinstance(numbers, list) else "no row")

    with pytest.raises(OSError, match="no row") as caught:
        RandomAccessData(Broken())
    words = "raised by `data[0]`, after `data[[0, 1]]` raised OSError('no file')"
    assert caught.value.__notes__ == [words]
