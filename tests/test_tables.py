"""What a notebook shows: HTML of summaries, sweeps, histories and plans."""

import copy
import pickle
from xml.etree import ElementTree

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet
from fnet.core.tables import Table
from fnet.training.history import History

NET = fnet.sequential(fnet.residual(fnet.dense(2)), fnet.dense(1))
TASK = fnet.supervised(NET, "mean_squared_error", ["mean_absolute_error"])
X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)
DATA = X, X[:, :1]


@pytest.fixture(scope="module")
def state():
    return fnet.train_state(NET, "sgd", jax.random.key(0), (2,))


@pytest.fixture(scope="module")
def history(state):
    return fnet.fit(
        TASK, state, DATA, epochs=3, batch_size=4, validation=DATA, record=["loss"], progress=False
    )[1]


def cells(value):
    """The text of the cells, from HTML that is also XML, by rows."""
    table = ElementTree.fromstring(value._repr_html_())
    return [[cell.text or "" for cell in row] for row in table]


def test_a_summary_is_a_table_that_prints_as_text():
    summary = fnet.summary(NET, (2,))
    assert isinstance(summary, str) and cells(summary)[0] == [
        "layer", "output shape", "parameters", "bytes", "FLOPs a sample",
    ]  # fmt: skip
    assert [row[0] for row in cells(summary)] == ["layer", "residual", "  dense", "dense", "total"]
    for line, row in zip(summary.splitlines(), cells(summary), strict=True):
        assert "".join(line.split()) == "".join("".join(row).split())


def test_a_table_of_a_sweep():
    grid = fnet.grid(learning_rate=[0.1, 0.2], seed=[0, 1])
    table = grid.table({"loss": np.arange(4.0).reshape(4, 1)})
    assert cells(table)[0] == ["learning_rate", "loss"]
    assert cells(table)[1:] == [["0.1", "0.5000 ± 0.7071"], ["0.2", "2.5000 ± 0.7071"]]
    assert table.splitlines()[1] == "0.1             0.5000 ± 0.7071"


def test_a_plan(state):
    plan = fnet.plan(TASK, state, DATA, batch_size=4)
    shown, lines = cells(plan), repr(plan).splitlines()
    assert len(shown) == len(lines)
    for row, line in zip(shown, lines, strict=True):
        assert len(row) in (1, 3)
        assert "".join(line.split()) == "".join("".join(row).split())


def test_html_escapes_its_text_and_names_no_colour():
    table = Table.of([("a & b", "n"), ("<script>", '"1"')], right=1)
    assert "&lt;script&gt;" in table._repr_html_() and "<script>" not in table._repr_html_()
    assert cells(table) == [["a & b", "n"], ["<script>", '"1"']]
    assert "color" not in table._repr_html_() and "#" not in table._repr_html_()
    assert "text-align: right" in table._repr_html_()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copy_of_a_table_is_one(copied):
    table = Table.of([("a", "b"), ("1", "2")])
    assert copied(table) == table and copied(table)._repr_html_() == table._repr_html_()


def test_a_history_shows_its_epochs(history):
    header, *rows = cells(history)
    assert header == ["epoch", *(name for name in history if name != "record")]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert float(rows[2][1]) == pytest.approx(float(history["loss"][2]), rel=1e-3)


def test_a_long_history_shows_its_ends():
    shown = cells(History(loss=np.arange(100.0)))
    assert [row[0] for row in shown[1:]] == [*"12345", "...", "96", "97", "98", "99", "100"]


def test_a_history_of_many_members_shows_their_mean():
    shown = cells(History(loss=np.array([[1.0, 2.0], [3.0, 6.0]])))
    assert shown == [["mean of 2", "loss"], ["1", "2"], ["2", "4"]]


def test_a_history_is_a_dict(history):
    assert isinstance(history, dict) and history == dict(history)
    assert sorted(history)[0] == "loss" and repr(history) == repr(dict(history))
    assert type(history | {}) is dict
    for same in (copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert type(same) is History and list(same) == list(history)


def test_a_history_is_a_pytree_as_a_dict_is(history, tmp_path):
    assert jax.tree.leaves(history) == jax.tree.leaves(dict(history))
    paths, like = (jax.tree_util.tree_leaves_with_path(h) for h in (history, dict(history)))
    assert [path for path, _ in paths] == [path for path, _ in like]
    doubled = jax.jit(lambda history: jax.tree.map(lambda v: 2 * v, history))(history)
    assert type(doubled) is History
    chex.assert_trees_all_close(doubled["loss"], 2 * history["loss"])
    slope = jax.grad(lambda history: history["loss"].sum())(History(loss=jnp.ones(3)))
    assert slope["loss"].tolist() == [1, 1, 1]


def test_train_gives_the_same_form_as_fit_also_within_a_transformation(state, history):
    def run(state):
        return fnet.train(
            TASK, state, DATA, epochs=3, batch_size=4, validation=DATA, record=["loss"]
        )[1]

    assert type(jax.eval_shape(run, state)) is History
    assert jax.tree.structure(jax.eval_shape(run, state)) == jax.tree.structure(history)
