"""Tracebacks: they name the lines of the user, unless the defect may be one of fnet."""

import inspect
import pickle
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnet
from fnet.core import tracebacks

NET = fnet.sequential(fnet.dense(2))
PARAMS = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
WRONG, RIGHT = np.ones((4, 5), np.float32), np.ones((4, 3), np.float32)
TASK = fnet.supervised(NET, "mean_squared_error")
STATE = fnet.TrainState.create(PARAMS, "sgd", jax.random.key(0))


@pytest.fixture
def filtering():
    before = jax.config.values["jax_traceback_filtering"]
    yield lambda mode: jax.config.update("jax_traceback_filtering", mode)
    jax.config.update("jax_traceback_filtering", before)


def lines(call):
    """The functions in the traceback of an error below this one, and the innermost of all files."""
    try:
        call()
    except Exception as error:
        frames = list(traceback.walk_tb(error.__traceback__))[1:]
        return [frame.f_code.co_name for frame, _ in frames], frames
    raise AssertionError("no error")


def of_user(call):
    names, frames = lines(call)
    assert all(frame.f_code.co_filename == __file__ for frame, _ in frames)
    return names


def apply():
    fnet.apply(NET, PARAMS, WRONG)


def within_jit():
    @jax.jit
    def function(x):
        return fnet.apply(NET, PARAMS, x)

    function(WRONG)


def in_fit():
    fnet.fit(TASK, STATE, (WRONG, RIGHT[:, :2]), progress=False)


def in_a_step():
    jax.jit(fnet.train_step(TASK))(STATE, (WRONG, RIGHT[:, :2]))


def without_arguments():
    fnet.fit(TASK)


@pytest.mark.parametrize("call", [apply, in_fit, in_a_step, without_arguments])
def test_the_last_line_is_that_of_the_call(call):
    assert of_user(call) == [call.__name__]


def test_the_line_within_jit_is_the_last():
    assert of_user(within_jit) == ["within_jit", "function"]


def test_an_error_in_a_function_of_the_user_names_its_line_too():
    def mine(x):
        raise KeyError("mine")

    def call():
        fnet.apply(fnet.sequential(fnet.residual(mine)), {}, RIGHT)

    assert of_user(call) == ["call", "mine"]


def test_a_defect_of_fnet_keeps_all_lines(monkeypatch):
    monkeypatch.setattr(fnet.dense, "apply", lambda *arguments: {}["missing"])
    monkeypatch.setattr(tracebacks, "OURS", str(Path(__file__).parent.parent))  # with this file
    names, _ = lines(lambda: fnet.apply(NET, PARAMS, RIGHT))
    assert "chain" in names and "connect" in names


def test_all_lines_are_kept_on_demand(filtering):
    filtering("off")
    names, _ = lines(apply)
    assert "chain" in names and "connect" in names


def test_a_notebook_hides_the_lines_and_keeps_them(filtering):
    filtering("tracebackhide")
    names, frames = lines(apply)
    hidden = {frame.f_code.co_name for frame, _ in frames if "__tracebackhide__" in frame.f_locals}
    assert {"chain", "connect"} <= hidden <= set(names)
    assert "__tracebackhide__" not in frames[0][0].f_locals


def test_a_warning_names_the_line_of_the_call():
    data = RIGHT, np.full((4, 2), 1e30, np.float32)
    with pytest.warns(RuntimeWarning, match="^fit stopped") as caught:
        fnet.fit(TASK, STATE, data, progress=False)
    assert caught[0].filename == __file__


def test_a_function_keeps_its_name_and_its_signature():
    assert fnet.fit.__module__ == "fnet.fitting.fit" and fnet.fit.__name__ == "fit"
    assert list(inspect.signature(fnet.predict).parameters)[:3] == ["net", "state", "x"]
    assert pickle.loads(pickle.dumps(fnet.fit)) is fnet.fit
