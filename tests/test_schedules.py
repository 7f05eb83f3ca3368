"""The schedules: against the reference at every step, exact at their boundaries, and pure."""

import pickle
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings, strategies as st

import fnet


class Case(NamedTuple):
    factory: Callable[..., Any]
    oracle: Callable[..., Any]
    numbers: dict[str, Any]
    others: dict[str, Any]  # more numbers for the same program
    bounds: tuple[float, float]


STEPWISE = {"staircase": True}
DECAY = {"learning_rate": 0.1, "decay_steps": 30, "decay_rate": 0.5}
FASTER_DECAY = {"learning_rate": 0.2, "decay_steps": 7.5, "decay_rate": 0.9}
PIECES = {"boundaries": (10, 50), "values": (0.1, 0.3, 0.02)}
OTHER_PIECES = {"boundaries": (1, 99), "values": (0.5, 0.0, 1.0)}
RISE = {"learning_rate": 0.1, "warmup_steps": 20, "decay_steps": 100, "alpha": 0.01}
FASTER_RISE = {"learning_rate": 0.2, "warmup_steps": 1, "decay_steps": 8.5, "alpha": 0.0}
CYCLE = {"learning_rate": 0.1, "total_steps": 100, "pct_start": 0.25, "div_factor": 5.0}
OTHER_CYCLE = {"learning_rate": 0.3, "total_steps": 40, "pct_start": 0.7, "final_div_factor": 10.0}
RESTARTS = {"learning_rate": 0.1, "first_decay_steps": 10, "m_mul": 0.5, "alpha": 0.2}
SAME_RESTARTS = {"learning_rate": 0.2, "first_decay_steps": 7.5, "t_mul": 1.0}


def warmup_and_fall(fnet_or_reference, rate, steps):
    """Of the library its value; of the reference a function of the step."""
    if fnet_or_reference is fnet:
        parts = fnet.polynomial(0.0, steps, rate), rate, fnet.cosine(rate, 50)
        return fnet.joined(parts, (steps, 2 * steps))
    parts = (
        partial(reference.polynomial, learning_rate=0, decay_steps=steps, end_learning_rate=rate),
        lambda step: np.float64(rate),
        partial(reference.cosine, learning_rate=rate, decay_steps=50),
    )
    return partial(reference.joined, schedules=parts, boundaries=(steps, 2 * steps))


CASES = {
    "inverse_time": Case(
        fnet.inverse_time, reference.inverse_time, DECAY, FASTER_DECAY, (0.0, 0.1)
    ),
    "inverse_staircase": Case(
        partial(fnet.inverse_time, **STEPWISE),
        partial(reference.inverse_time, **STEPWISE),
        DECAY,
        FASTER_DECAY,
        (0.0, 0.1),
    ),
    "polynomial": Case(
        fnet.polynomial,
        reference.polynomial,
        {"learning_rate": 0.1, "decay_steps": 80, "power": 0.5},
        {"learning_rate": 0.0, "decay_steps": 7.5, "end_learning_rate": 0.2},
        (1e-4, 0.1),
    ),
    "cosine_restarts": Case(
        fnet.cosine_restarts, reference.cosine_restarts, RESTARTS, SAME_RESTARTS, (0.02, 0.1)
    ),
    "one_cycle": Case(fnet.one_cycle, reference.one_cycle, CYCLE, OTHER_CYCLE, (2e-6, 0.1)),
    "joined": Case(
        partial(warmup_and_fall, fnet),
        lambda step, **numbers: warmup_and_fall(reference, **numbers)(step),
        {"rate": 0.1, "steps": 10},
        {"rate": 0.3, "steps": 1},
        (0.0, 0.1),
    ),
    "cosine": Case(
        fnet.cosine,
        reference.cosine,
        {"learning_rate": 0.1, "decay_steps": 80, "alpha": 0.2},
        {"learning_rate": 0.3, "decay_steps": 7.5, "alpha": 0.0},
        (0.02, 0.1),
    ),
    "exponential": Case(fnet.exponential, reference.exponential, DECAY, FASTER_DECAY, (0.0, 0.1)),
    "staircase": Case(
        partial(fnet.exponential, **STEPWISE),
        partial(reference.exponential, **STEPWISE),
        DECAY,
        FASTER_DECAY,
        (0.0, 0.1),
    ),
    "piecewise": Case(fnet.piecewise, reference.piecewise, PIECES, OTHER_PIECES, (0.02, 0.3)),
    "warmup_cosine": Case(
        fnet.warmup_cosine, reference.warmup_cosine, RISE, FASTER_RISE, (0.0, 0.1)
    ),
}
every_schedule = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
STEPS = np.arange(120)


@jax.jit
def rate(schedule, step):
    return schedule(step)


@every_schedule
def test_agrees_with_the_reference(case):
    for numbers in (case.numbers, case.others):
        rates = rate(case.factory(**numbers), STEPS)
        assert rates.dtype == jnp.float32
        np.testing.assert_allclose(rates, case.oracle(STEPS, **numbers), rtol=1e-5, atol=1e-8)


@every_schedule
@settings(deadline=None, derandomize=True)
@given(step=st.integers(0, 2**31 - 1))
def test_stays_between_its_bounds(case, step):
    low, high = case.bounds
    assert low * (1 - 1e-6) <= rate(case.factory(**case.numbers), step) <= high * (1 + 1e-6)


@every_schedule
@pytest.mark.parametrize("number", [int, np.uint8, float], ids=lambda t: t.__name__)
def test_jit_equals_eager_for_every_kind_of_step(case, number):
    schedule = case.factory(**case.numbers)
    for step in (0, 33):
        eager = schedule(number(step))
        np.testing.assert_allclose(eager, rate(schedule, number(step)), rtol=1e-6)
        np.testing.assert_allclose(eager, case.oracle(step, **case.numbers), rtol=1e-5)


@every_schedule
def test_vmap_equals_single_schedules(case):
    schedules = [case.factory(**numbers) for numbers in (case.numbers, case.others)]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *schedules)
    many = jax.vmap(rate, (0, None))(stacked, STEPS)
    for swept, schedule in zip(many, schedules, strict=True):
        np.testing.assert_allclose(swept, rate(schedule, STEPS), rtol=1e-5, atol=1e-8)


@every_schedule
def test_other_numbers_do_not_retrace(case):
    chex.clear_trace_counter()
    traced_once = jax.jit(chex.assert_max_traces(1)(lambda schedule, step: schedule(step)))
    for numbers in (case.numbers, case.others):
        for step in (0, 1):
            traced_once(case.factory(**numbers), step)


@every_schedule
def test_gradient_with_respect_to_the_numbers_is_finite(case):
    slope = jax.grad(lambda schedule: rate(schedule, STEPS).sum())(case.factory(**case.numbers))
    chex.assert_tree_all_finite(slope)
    assert any(jax.tree.leaves(slope))


@every_schedule
def test_pickles(case):
    schedule = case.factory(**case.numbers)
    copied = pickle.loads(pickle.dumps(schedule))
    assert jax.tree.flatten(copied) == jax.tree.flatten(schedule)


COSINE = fnet.cosine(0.5, decay_steps=100, alpha=0.25)
STAIRS = fnet.exponential(0.5, decay_steps=10, decay_rate=0.5, staircase=True)
PIECEWISE = fnet.piecewise((10, 50), (0.5, 0.25, 0.125))
LINE = fnet.polynomial(0.5, 100, end_learning_rate=0.25)
RESTART = fnet.cosine_restarts(0.5, 10, m_mul=0.5)
EQUAL_RESTART = fnet.cosine_restarts(0.5, 10, t_mul=1)
ONE = fnet.one_cycle(0.5, 100, pct_start=0.2, div_factor=4.0, final_div_factor=2.0)
TWO = fnet.joined((0.25, LINE), (10,))
WARMUP = fnet.warmup_cosine(0.5, warmup_steps=10, decay_steps=110, alpha=0.25)


@pytest.mark.parametrize(
    ("schedule", "step", "exact"),
    [
        (COSINE, 0, 0.5),
        (COSINE, 100, 0.125),
        (COSINE, 10**9, 0.125),
        (fnet.exponential(0.5, 10, 0.5), 0, 0.5),
        (fnet.exponential(0.5, 10, 0.5), 10, 0.25),
        *[(STAIRS, 0, 0.5), (STAIRS, 9, 0.5), (STAIRS, 10, 0.25), (STAIRS, 20, 0.125)],
        *[(PIECEWISE, 9, 0.5), (PIECEWISE, 10, 0.25)],
        *[(PIECEWISE, 49, 0.25), (PIECEWISE, 50, 0.125)],
        *[(WARMUP, 0, 0.0), (WARMUP, 5, 0.25), (WARMUP, 10, 0.5)],
        *[(fnet.inverse_time(0.5, 10, 1.0), 0, 0.5), (fnet.inverse_time(0.5, 10, 1.0), 10, 0.25)],
        *[(LINE, 0, 0.5), (LINE, 50, 0.375), (LINE, 100, 0.25), (LINE, 10**9, 0.25)],
        *[(RESTART, 0, 0.5), (RESTART, 10, 0.25), (RESTART, 30, 0.125), (RESTART, 70, 0.0625)],
        *[(RESTART, 630, 0.5 / 64), (RESTART, 1270, 0.5 / 128)],
        *[(EQUAL_RESTART, 0, 0.5), (EQUAL_RESTART, 10, 0.5), (EQUAL_RESTART, 990, 0.5)],
        *[(ONE, 0, 0.125), (ONE, 20, 0.5), (ONE, 100, 0.0625), (ONE, 10**9, 0.0625)],
        *[(TWO, 9, 0.25), (TWO, 10, 0.5), (TWO, 60, 0.375)],
        *[(WARMUP, 110, 0.125), (WARMUP, 111, 0.125)],
    ],
    ids=lambda value: type(value).__name__ if callable(value) else str(value),
)
def test_is_exact_at_its_boundaries(schedule, step, exact):
    assert rate(schedule, step) == exact


def test_moves_next_to_its_boundaries():
    assert rate(COSINE, 1) < 0.5 and rate(COSINE, 99) > 0.125
    assert rate(RESTART, 9) < 0.25 and rate(RESTART, 29) < 0.125 > rate(RESTART, 31)
    assert rate(EQUAL_RESTART, 9) < 0.25 and rate(ONE, 19) < 0.5 > rate(ONE, 21)
    assert rate(WARMUP, 9) < 0.5 > rate(WARMUP, 11) and rate(WARMUP, 109) > 0.125


def test_constant_pieces_without_a_boundary():
    assert rate(fnet.piecewise((), (0.5,)), 7) == 0.5


def test_can_be_built_inside_a_transformation():
    def at_30(learning_rate, warmup):
        return fnet.warmup_cosine(learning_rate, warmup, 2 * warmup)(30)

    rates = jax.jit(jax.vmap(at_30))(jnp.array([0.1, 0.2]), jnp.array([20.0, 60.0]))
    np.testing.assert_allclose(rates, [0.05, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: fnet.cosine(-0.1, 10),
            ValueError,
            "`learning_rate` of cosine must be in [0, inf), got -0.1.",
        ),
        (
            lambda: fnet.cosine(0.1, 0),
            ValueError,
            "`decay_steps` of cosine must be in [1, inf), got 0.",
        ),
        (
            lambda: fnet.cosine(0.1, 10, alpha=np.nan),
            ValueError,
            "`alpha` of cosine must be in [0, inf), got nan. Its default is 0.0.",
        ),
        (
            lambda: fnet.cosine("fast", 10),
            TypeError,
            "`learning_rate` of cosine must be a number, or an array of them, got 'fast'.",
        ),
        (
            lambda: fnet.exponential(0.1, 10, -0.5),
            ValueError,
            "`decay_rate` of exponential must be in [0, inf), got -0.5.",
        ),
        (
            lambda: fnet.cosine(fnet.exponential(0.1, 10, 0.5), 10),
            TypeError,
            "`learning_rate` of cosine must be a number, or an array of them, got exponential(",
        ),
        (
            lambda: fnet.piecewise((10,), (0.1,)),
            ValueError,
            "`values` of piecewise must be one longer than `boundaries`, got 1 values and 1 bound",
        ),
        (
            lambda: fnet.piecewise((10, 10), (0.1, 0.2, 0.3)),
            ValueError,
            "`boundaries` of piecewise must increase, got (10.0, 10.0). Sort them.",
        ),
        (
            lambda: fnet.piecewise((20, 10), (0.1, 0.2, 0.3)),
            ValueError,
            "`boundaries` of piecewise must increase, got (20.0, 10.0). Sort them.",
        ),
        (
            lambda: fnet.piecewise((10,), (0.1, np.inf)),
            ValueError,
            "`values[1]` of piecewise must be in [0, inf), got inf.",
        ),
        (
            lambda: fnet.piecewise((10,), ("fast", 0.1)),
            TypeError,
            "`values[0]` of piecewise must be a number, or an array of them, got 'fast'.",
        ),
        (
            lambda: fnet.joined((0.1,), (10,)),
            ValueError,
            "`schedules` of joined must be one longer than `boundaries`, got 1 schedules and 1 bou",
        ),
        (
            lambda: fnet.joined((0.1, "fast"), (10,)),
            TypeError,
            "`schedules[1]` of joined must be a number, or an array of them, got 'fast'.",
        ),
        (
            lambda: fnet.joined((0.1, 0.2, 0.3), (10, 5)),
            ValueError,
            "`boundaries` of joined must increase, got (10.0, 5.0). Sort them.",
        ),
        (
            lambda: fnet.cosine_restarts(0.1, 10, t_mul=0.5),
            ValueError,
            "`t_mul` of cosine_restarts must be in [1, inf), got 0.5. Its default is 2.0.",
        ),
        (
            lambda: fnet.one_cycle(0.1, 10, pct_start=1),
            ValueError,
            "`pct_start` of one_cycle must be in [0, 1), got 1. Its default is 0.3.",
        ),
        (
            lambda: fnet.warmup_cosine(0.1, 0, 10),
            ValueError,
            "`warmup_steps` of warmup_cosine must be in [1, inf), got 0.",
        ),
        (
            lambda: fnet.warmup_cosine(0.1, 10, 10),
            ValueError,
            "`decay_steps` of warmup_cosine must be above `warmup_steps`, 10.0, got 10.0.",
        ),
    ],
)
def test_refuses(build, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        build()


def constant(step, rate):
    return rate


def tenth(step):
    return 0.1


@pytest.mark.parametrize("schedule", [tenth, partial(constant, rate=0.1), lambda step: 0.1])
def test_a_plain_function_is_a_learning_rate(schedule, tmp_path):
    net = fnet.dense(1)
    task = fnet.supervised(net, "mean_squared_error")
    x = jnp.linspace(-1, 1, 16).reshape(16, 1)
    runs = []
    for rate in (schedule, 0.1):
        optimizer = fnet.clipped(fnet.momentum(rate))
        state = fnet.train_state(net, optimizer, jax.random.key(0), (1,))
        trained, history = fnet.train(
            task, state, (x, 3 * x), epochs=2, batch_size=4, record=["learning_rate"]
        )
        fnet.save(tmp_path / "run.safetensors", trained)
        assert int(fnet.load(tmp_path / "run.safetensors", like=state).step) == 8
        runs.append((trained.params, history))
    chex.assert_trees_all_close(*runs, rtol=1e-6)


def test_a_run_with_another_function_is_not_loaded(tmp_path):
    def begun(rate):
        return fnet.train_state(fnet.dense(1), fnet.sgd(rate), jax.random.key(0), (1,))

    fnet.save(tmp_path / "run.safetensors", begun(partial(constant, rate=0.1)))
    fnet.load(tmp_path / "run.safetensors", like=begun(partial(constant, rate=0.1)))
    with pytest.raises(TypeError, match="learning_rate is FunctionSchedule.*0.1.*instead of.*0.2"):
        fnet.load(tmp_path / "run.safetensors", like=begun(partial(constant, rate=0.2)))


def test_a_function_built_anew_is_the_same_learning_rate():
    structures = {jax.tree.structure(fnet.sgd(partial(constant, rate=0.1))) for _ in range(2)}
    assert len(structures) == 1
