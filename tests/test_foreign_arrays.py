"""Data of other libraries: frames, series, labelled arrays, tensors, and loaders of batches."""

import re

import chex
import jax
import numpy as np
import pytest
from problems import bits

import fnet
from fnet.core.checks import check_data

NET = fnet.sequential(fnet.dense(4), fnet.relu, fnet.dense(2), fnet.softmax)
TASK = fnet.supervised(NET, "sparse_categorical_crossentropy")
X = np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3)
Y = np.arange(10) % 2
NAMES = ["chunks", "shape", "b"]  # that attributes have too


@pytest.fixture(scope="module")
def state():
    return fnet.train_state(NET, "sgd", jax.random.key(0), (3,))


def fit(state, data, **options):
    return fnet.fit(TASK, state, data, batch_size=4, shuffle=False, progress=False, **options)


@pytest.fixture(scope="module")
def fitted(state):
    return fit(state, (X, Y))


def equal(a, b):
    chex.assert_trees_all_equal(bits(a), bits(b))


def with_pandas():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=NAMES), pandas.Series(Y, index=range(5, 15))


def with_polars():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(X, NAMES), polars.Series(Y)


def with_xarray():
    xarray = pytest.importorskip("xarray")
    return xarray.DataArray(X, dims=("sample", "feature")), xarray.DataArray(Y)


def with_torch():
    torch = pytest.importorskip("torch")
    return torch.tensor(X), torch.tensor(Y)


def with_tensorflow():
    tensorflow = pytest.importorskip("tensorflow")
    return tensorflow.constant(X), tensorflow.constant(Y)


def with_lists():
    return X.tolist(), Y.tolist()


FORMS = [with_pandas, with_polars, with_xarray, with_torch, with_tensorflow, with_lists]


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_other_libraries_are_those_of_numpy(form, state, fitted):
    x, y = form()
    equal(fit(state, (x, y)), fitted)
    assert fnet.evaluate(TASK, state, (x, y)) == fnet.evaluate(TASK, state, (X, Y))
    equal(fnet.predict(NET, state, x), fnet.predict(NET, state, X))
    equal(fnet.apply(NET, state.params, x), fnet.apply(NET, state.params, X))
    assert len(list(fnet.batches((x, y), 4))) == 3


@pytest.mark.parametrize("form", [with_pandas, with_polars, with_xarray])
def test_arrays_of_other_libraries_beside_one_on_the_disk(form, state, fitted, tmp_path):
    np.save(tmp_path / "x.npy", X)
    on_disk = np.load(tmp_path / "x.npy", mmap_mode="r")
    equal(fit(state, (on_disk, form()[1])), fitted)


def test_an_array_shares_its_memory_where_it_can():
    pandas, xarray = (pytest.importorskip(name) for name in ("pandas", "xarray"))
    assert np.shares_memory(check_data("`x`", xarray.DataArray(X)), X)
    frame = pandas.DataFrame(X)
    assert np.shares_memory(check_data("`x`", frame), frame.to_numpy())


def frame(library, **columns):
    return pytest.importorskip(library).DataFrame(columns)


ROWS = [
    (
        {"age": [1, 2], "name": ["u", "v"], "size": [1, 2]},
        "`x` of `data` must be a frame of numbers, got columns 'name' of ",
        ". Leave them out, x[['age', 'size']], or make numbers of them: of classes ",
    ),
    (
        {"when": np.array(["2020-01-01", "2020-01-02"], "datetime64[ms]")},
        "`x` of `data` must be a frame of numbers, got columns 'when' of ",
        ". Leave them out, or make numbers of them: of classes ",
    ),
    (
        {"age": [1, 2], "size": [0.5, 1.5]},
        "`x` of `data` must be a frame whose columns have one dtype, got columns 'age' of ",
        " or pass the columns apart: a dict of arrays.",
    ),
]


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("columns, begin, end", ROWS)
def test_frames_of_other_columns_are_refused(library, columns, begin, end, state):
    x = frame(library, **columns)
    with pytest.raises(TypeError, match="^" + re.escape(begin) + ".*" + re.escape(end)):
        fit(state, (x, [0, 1]))
    begin = begin.replace(" of `data`", "", 1)
    with pytest.raises(TypeError, match="^" + re.escape(begin) + ".*" + re.escape(end)):
        fnet.predict(NET, state, x)


FIXES = {"pandas": "x.astype('float32')", "polars": "x.cast(pl.Float32)"}


@pytest.mark.parametrize("library", FIXES)
def test_the_fix_of_mixed_columns_works(library):
    x = frame(library, age=[1, 2], size=[0.5, 1.5])
    with pytest.raises(TypeError, match=re.escape(f"Convert it, {FIXES[library]}, or")):
        fnet.apply(fnet.relu, {}, x)
    fixed = eval(FIXES[library], {"x": x, "pl": pytest.importorskip(library)})
    assert fnet.apply(fnet.relu, {}, fixed).tolist() == [[1, 0.5], [2, 1.5]]


def test_a_series_of_classes_is_refused(state):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="^`y` of `data` must hold numbers, got dtype object."):
        fit(state, (X, pandas.Series(["a", "b"] * 5, dtype="category")))


def test_lists_of_rows_of_different_lengths_are_refused(state):
    for call in (fit, lambda state, data: fnet.evaluate(TASK, state, data)):
        with pytest.raises(ValueError, match="^a list of numbers must have rows of one length"):
            call(state, ([[1, 2, 3], [1, 2]], [0, 1]))


def from_torch(unknown_length):
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X), torch.tensor(Y)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(zip(x, y, strict=True))

    samples = Stream() if unknown_length else torch.utils.data.TensorDataset(x, y)
    return torch.utils.data.DataLoader(samples, batch_size=4)


def from_tensorflow(unknown_length):
    samples = pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices((X, Y))
    return (samples.filter(lambda x, y: True) if unknown_length else samples).batch(4).prefetch(2)


@pytest.mark.parametrize("unknown_length", [False, True])
@pytest.mark.parametrize("loader", [from_torch, from_tensorflow])
def test_loaders_of_batches(loader, unknown_length, state, capsys):
    batches = loader(unknown_length)
    state_after, history = fnet.fit(TASK, state, batches, epochs=2)
    assert capsys.readouterr().out.count("loss") == 2
    expected = fnet.fit(TASK, state, (X, Y), epochs=2, batch_size=4, shuffle=False, progress=False)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, 1e-6),
        (state_after.params, history),
        (expected[0].params, expected[1]),
    )
    assert fnet.evaluate(TASK, state, next(iter(batches)))["loss"] > 0


def test_a_dataset_of_torch_is_looked_up(state, fitted):
    torch = pytest.importorskip("torch")
    samples = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    equal(fit(state, samples), fitted)
