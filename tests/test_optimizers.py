"""The optimizers: one step by hand, 100 steps against float64, and what holds for all of them."""

import copy
import dataclasses
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
from jax import lax

import fnet


class Case(NamedTuple):
    factory: Callable[..., Any]
    oracle: Callable[..., Any]
    numbers: dict[str, float]  # every hyperparameter but the learning rate, off its default
    rates: tuple[Any, Any]  # that converge on the parabola and on Rosenbrock's valley


ADAM = {"beta1": 0.5, "beta2": 0.75, "epsilon": 0.1}
ADAGRAD = {"initial_accumulator_value": 0.5, "epsilon": 0.1}
ADAFACTOR = {"decay": 0.5, "threshold": 0.5, "epsilon1": 0.1, "epsilon2": 0.5}
LION = {"beta1": 0.5, "beta2": 0.75, "weight_decay": 0.1}
MUON = {"beta": 0.5, "adam_share": 0.5, **ADAM}
FALLING = fnet.cosine(0.01, 1_000)  # a sign has no smaller steps of its own
CASES = {
    "sgd": Case(fnet.sgd, reference.sgd, {}, (0.1, 1e-3)),
    "momentum": Case(fnet.momentum, reference.momentum, {"beta": 0.5}, (0.03, 1e-3)),
    "nesterov": Case(
        partial(fnet.momentum, nesterov=True), reference.nesterov, {"beta": 0.5}, (0.03, 1e-3)
    ),
    "rmsprop": Case(fnet.rmsprop, reference.rmsprop, {"rho": 0.5, "epsilon": 0.1}, (0.03, 3e-4)),
    "adagrad": Case(fnet.adagrad, reference.adagrad, ADAGRAD, (1.0, 0.5)),
    "adam": Case(fnet.adam, reference.adam, ADAM, (0.03, 3e-3)),
    "adamw": Case(fnet.adamw, reference.adamw, ADAM | {"weight_decay": 0.1}, (0.03, 3e-3)),
    "adamax": Case(fnet.adamax, reference.adamax, ADAM, (0.1, 0.02)),
    "nadam": Case(fnet.nadam, reference.nadam, ADAM, (0.03, 3e-3)),
    "amsgrad": Case(fnet.amsgrad, reference.amsgrad, ADAM, (0.3, 0.3)),
    "lamb": Case(
        fnet.lamb,
        reference.lamb,
        ADAM | {"weight_decay": 0.1},
        (FALLING, fnet.cosine(3e-3, 20_000)),
    ),
    "adafactor": Case(
        fnet.adafactor,
        reference.adafactor,
        ADAFACTOR,
        (fnet.cosine(0.02, 1_000), fnet.cosine(0.01, 20_000)),
    ),
    "lion": Case(fnet.lion, reference.lion, LION, (FALLING, fnet.cosine(3e-3, 20_000))),
    "muon": Case(fnet.muon, reference.muon, MUON, (2.0, 0.2)),
    "muon_without_nesterov": Case(
        partial(fnet.muon, nesterov=False),
        partial(reference.muon, nesterov=False),
        MUON,
        (2.0, 0.2),
    ),
}
every_optimizer = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

RNG = np.random.default_rng(0)
PARAMS = {
    "kernel": RNG.normal(size=(2, 3)).astype(np.float32),
    "inner": {"bias": RNG.normal(size=3).astype(np.float32)},
}
# Gradients of the last column are so small that it matters where epsilon stands.
GRADIENTS = jax.tree.map(
    lambda p: (RNG.normal(size=(100, *p.shape)) * [1, 0.1, 1e-4]).astype(np.float32), PARAMS
)
FIRST = jax.tree.map(lambda g: g[0], GRADIENTS)


@jax.jit
def update(optimizer, grads, opt_state, params):
    return optimizer.update(grads, opt_state, params)


@jax.jit
def run(optimizer, params, gradients):
    """Parameters and state after an update with each row of `gradients`."""

    def step(carry, grads):
        params, opt_state = carry
        return optimizer.update(grads, opt_state, params), None

    return lax.scan(step, (params, optimizer.init(params)), gradients)[0]


def reference_run(oracle, params, gradients, numbers):
    def one_array(p, gradients):
        p, slots = np.float64(p), ()
        for g in np.float64(gradients):
            p, *slots = oracle(p, g, *slots, **numbers)
        return p

    return jax.tree.map(one_array, params, gradients)


def assert_close(actual, desired, tolerance):
    chex.assert_trees_all_close(
        jax.tree.map(np.float64, actual),
        jax.tree.map(np.float64, desired),
        rtol=tolerance,
        atol=tolerance,
    )


BY_HAND = {  # optimizer, its state before, and where p = 1 is after g = 2
    # 1 - 0.1 * 2
    "sgd": (fnet.sgd(0.1), {}, 0.8),
    # v = 0.5 * 1 + 2 = 2.5;  1 - 0.1 * 2.5
    "momentum": (fnet.momentum(0.1, beta=0.5), {"velocity": 1.0}, 0.75),
    # v = 2.5 as before;  1 - 0.1 * (2 + 0.5 * 2.5)
    "nesterov": (fnet.momentum(0.1, beta=0.5, nesterov=True), {"velocity": 1.0}, 0.675),
    # v = 0.75 * 4 + 0.25 * 2^2 = 4;  1 - 0.3 * 2 / sqrt(4 + 5)
    "rmsprop": (fnet.rmsprop(0.3, rho=0.75, epsilon=5.0), {"mean_square": 4.0}, 0.8),
    # a = 4 + 2^2 = 8;  1 - 0.3 * 2 / sqrt(8 + 1)
    "adagrad": (fnet.adagrad(0.3, initial_accumulator_value=4.0, epsilon=1.0), {}, 0.8),
    # t = 2;  m = 0.5 * 1 + 0.5 * 2 = 1.5, m_hat = 1.5 / (1 - 0.5^2) = 2
    # v = 0.6 * 1.6 + 0.4 * 2^2 = 2.56, v_hat = 2.56 / (1 - 0.6^2) = 4
    # 1 - 0.1 * 2 / (sqrt(4) + 2)
    "adam": (
        fnet.adam(0.1, beta1=0.5, beta2=0.6, epsilon=2.0),
        {"step": 1, "mean": 1.0, "mean_square": 1.6},
        0.95,
    ),
    # 0.95 as before, less 0.1 * 0.5 * 1
    "adamw": (
        fnet.adamw(0.1, beta1=0.5, beta2=0.6, epsilon=2.0, weight_decay=0.5),
        {"step": 1, "mean": 1.0, "mean_square": 1.6},
        0.9,
    ),
    # t = 2;  m_hat = 1.5 / (1 - 0.5^2) = 2;  u = max(0.5 * 10, 2 + 2) = 5;  1 - 0.1 * 2 / 5
    "adamax": (
        fnet.adamax(0.1, beta1=0.5, beta2=0.5, epsilon=2.0),
        {"step": 1, "mean": 1.0, "largest": 10.0},
        0.96,
    ),
    # t = 2;  m = 1.5, v_hat = 4 as for adam
    # m_hat = 0.5 * 1.5 / (1 - 0.5^3) + 0.5 * 2 / (1 - 0.5^2) = 6 / 7 + 4 / 3
    # 1 - 0.1 * m_hat / (sqrt(4) + 2)
    "nadam": (
        fnet.nadam(0.1, beta1=0.5, beta2=0.6, epsilon=2.0),
        {"step": 1, "mean": 1.0, "mean_square": 1.6},
        1 - 0.1 * (6 / 7 + 4 / 3) / 4,
    ),
    # m_hat = 2, v_hat = 4 as for adam;  w = max(9, 4);  1 - 0.1 * 2 / (sqrt(9) + 2)
    "amsgrad": (
        fnet.amsgrad(0.1, beta1=0.5, beta2=0.6, epsilon=2.0),
        {"step": 1, "mean": 1.0, "mean_square": 1.6, "largest": 9.0},
        0.96,
    ),
    # u = 2 / (sqrt(4) + 2) + 0.5 * 1 = 1 as for adam;  1 - 0.1 * |1| / |1| * 1
    "lamb": (
        fnet.lamb(0.1, beta1=0.5, beta2=0.6, epsilon=2.0, weight_decay=0.5),
        {"step": 1, "mean": 1.0, "mean_square": 1.6},
        0.9,
    ),
    # t = 2;  b = 1 - 2^-1 = 0.5;  r = 0.5 * 12 + 0.5 * (2^2 + 16) = 16;  u = 2 / sqrt(16)
    # 1 - 0.1 * max(0.5, 1) * 0.5 / max(1, 0.5 / 0.25)
    "adafactor": (
        fnet.adafactor(0.1, decay=1.0, threshold=0.25, epsilon1=16.0, epsilon2=0.5),
        {"step": 1, "row": 12.0},
        0.975,
    ),
    # c = 0.5 * -4 + 0.5 * 2 = -1;  1 - 0.1 * (-1 + 0.5 * 1)
    "lion": (fnet.lion(0.1, beta1=0.5, weight_decay=0.5), {"mean": -4.0}, 1.05),
    # Adam's 0.95 as above: a number is no matrix
    "muon": (
        fnet.muon(0.2, adam_share=0.5, beta1=0.5, beta2=0.6, epsilon=2.0),
        {"step": 1, "velocity": 1.0, "mean_square": 1.6},
        0.95,
    ),
}


@pytest.mark.parametrize(("optimizer", "before", "after"), BY_HAND.values(), ids=BY_HAND)
def test_one_step_by_hand(optimizer, before, after):
    p, g = jnp.array(1.0), jnp.array(2.0)
    opt_state = optimizer.init(p)._replace(**jax.tree.map(jnp.asarray, before))
    p, new_state = update(optimizer, g, opt_state, p)
    np.testing.assert_allclose(p, after, rtol=1e-6)
    assert new_state.step == opt_state.step + 1


@every_optimizer
@pytest.mark.parametrize("defaults", [True, False], ids=["defaults", "others"])
def test_100_steps_agree_with_float64(case, defaults):
    numbers = {} if defaults else {"learning_rate": 0.05, **case.numbers}
    params, opt_state = run(case.factory(**numbers), PARAMS, GRADIENTS)
    assert_close(params, reference_run(case.oracle, PARAMS, GRADIENTS, numbers), 1e-5)
    assert opt_state.step == 100


@every_optimizer
def test_jit_equals_eager(case):
    optimizer = case.factory(0.05)
    params, opt_state = run(optimizer, PARAMS, GRADIENTS)
    eager = optimizer.update(FIRST, opt_state, params)
    assert_close(eager, update(optimizer, FIRST, opt_state, params), 1e-6)


@every_optimizer
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("number", [float, jnp.float32], ids=["floats", "arrays"])
def test_keeps_structure_and_dtype(case, dtype, number):
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), PARAMS)
    optimizer = jax.tree.map(number, case.factory(0.05))
    opt_state = optimizer.init(params)
    after = jax.eval_shape(optimizer.update, params, opt_state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes((params, opt_state), after)


@every_optimizer
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_agrees_with_float64(case, dtype):
    numbers = {"learning_rate": 0.05, **case.numbers}
    params, gradients = jax.tree.map(
        lambda a: jnp.asarray(a, dtype), (PARAMS, jax.tree.map(lambda g: g[:1], GRADIENTS))
    )
    moved, _ = run(case.factory(**numbers), params, gradients)
    desired = reference_run(case.oracle, params, gradients, numbers)
    assert_close(moved, desired, 2 * jnp.finfo(dtype).eps)


@every_optimizer
def test_vmap_over_learning_rates_equals_single_runs(case):
    rates = np.array([0.1, 0.01, 0.001], np.float32)
    swept, _ = jax.vmap(run, in_axes=(0, None, None))(case.factory(rates), PARAMS, GRADIENTS)
    for i, rate in enumerate(rates):
        single, _ = run(case.factory(float(rate)), PARAMS, GRADIENTS)
        assert_close(jax.tree.map(lambda leaf, i=i: leaf[i], swept), single, 1e-6)


@every_optimizer
def test_another_number_does_not_retrace(case):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def step(optimizer, opt_state, params):
        return optimizer.update(params, opt_state, params)

    params = jax.tree.map(jnp.asarray, PARAMS)
    opt_state = case.factory().init(params)
    for optimizer in (case.factory(), case.factory(0.1), case.factory(0.2, **case.numbers)):
        params, opt_state = step(optimizer, opt_state, params)


def parabola(p):
    return jnp.sum(jnp.array([1.0, 10.0]) * (p - 1) ** 2)


def rosenbrock(p):
    x, y = p
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


@partial(jax.jit, static_argnames=("function", "steps"))
def minimise(function, optimizer, start, steps):
    def step(_, carry):
        params, opt_state = carry
        return optimizer.update(jax.grad(function)(params), opt_state, params)

    return lax.fori_loop(0, steps, step, (start, optimizer.init(start)))[0]


@every_optimizer
def test_converges(case):
    start = jnp.array([-1.2, 1.0])
    for function, rate, steps in zip(
        (parabola, rosenbrock), case.rates, (1_000, 20_000), strict=True
    ):
        minimum = minimise(function, case.factory(rate), start, steps)
        np.testing.assert_allclose(minimum, [1, 1], atol=1e-3, err_msg=function.__name__)


@every_optimizer
def test_gradient_with_respect_to_every_number(case):
    """A hypergradient is the central difference of the reference, in float64."""
    numbers = {"learning_rate": 0.1, **case.numbers}
    gradients = jax.tree.map(lambda g: g[:5], GRADIENTS)

    def goal(params):
        return sum((p**2).sum() for p in jax.tree.leaves(params))

    def goal_with(name, number):
        return goal(reference_run(case.oracle, PARAMS, gradients, numbers | {name: number}))

    slope = jax.jit(jax.grad(lambda o: goal(run(o, PARAMS, gradients)[0])))(case.factory(**numbers))
    assert len(jax.tree.leaves(slope)) == len(numbers)
    for name, number in numbers.items():
        difference = (goal_with(name, number + 1e-5) - goal_with(name, number - 1e-5)) / 2e-5
        np.testing.assert_allclose(
            getattr(slope, name), difference, rtol=1e-3, atol=1e-4, err_msg=name
        )


@every_optimizer
def test_hypergradients_survive_a_gradient_of_zero(case):
    """Most pixels of a border are 0 in every image, and so is the gradient of their weights."""

    def goal(optimizer, dead):
        params = {"dead": jnp.ones(2), "alive": jnp.ones(2)}
        opt_state = optimizer.init(params)
        for _ in range(2):
            grads = {"dead": dead * params["dead"], "alive": params["alive"]}
            params, opt_state = optimizer.update(grads, opt_state, params)
        return (params["dead"] + params["alive"]).sum()

    slope = jax.jit(jax.grad(goal, argnums=(0, 1)))(case.factory(0.1), 0.0)
    chex.assert_tree_all_finite(slope)


@every_optimizer
def test_is_a_pytree_of_its_numbers(case):
    optimizer = case.factory(0.05, **case.numbers)
    leaves, structure = jax.tree.flatten(optimizer)
    assert leaves == [0.05, *case.numbers.values()]
    assert jax.tree.leaves(structure.unflatten(leaves)) == leaves
    unchecked = jax.tree.map(lambda leaf: -leaf, optimizer)
    assert jax.tree.leaves(unchecked) == [-leaf for leaf in leaves]


@every_optimizer
def test_pickles(case):
    optimizer = case.factory(0.05, **case.numbers)
    copied = pickle.loads(pickle.dumps(optimizer))
    assert jax.tree.flatten(copied) == jax.tree.flatten(optimizer)


def test_a_matrix_of_adafactor_keeps_a_row_and_a_column():
    opt_state = fnet.adafactor().init({"conv": jnp.ones((3, 4, 5)), "bias": jnp.ones(5)})
    shapes = jax.tree.map(jnp.shape, opt_state._asdict())
    assert shapes["row"] == {"conv": (3, 4), "bias": (5,)}
    assert shapes["column"] == {"conv": (3, 5), "bias": (0,)}
    with pytest.raises(TypeError, match=r"^adafactor: `row` must match `params`, got unexpected"):
        fnet.adafactor().update(FIRST, fnet.adafactor().init(FIRST["inner"]), FIRST)


def test_a_state_of_adafactor_is_saved(tmp_path):
    net = fnet.sequential(fnet.dense(3), fnet.batch_norm())
    first, second = (
        fnet.train_state(net, "adafactor", jax.random.key(seed), (2,)) for seed in (0, 1)
    )
    opt_state = jax.tree.map(lambda leaf: leaf + 1, first.opt_state)
    first = dataclasses.replace(first, opt_state=opt_state)
    fnet.save(tmp_path / "run.safetensors", first)
    loaded = fnet.load(tmp_path / "run.safetensors", like=second)
    chex.assert_trees_all_equal(loaded.opt_state, opt_state)


def test_nesterov_is_part_of_the_structure():
    plain, ahead = (fnet.momentum(0.1, nesterov=nesterov) for nesterov in (False, True))
    assert jax.tree.leaves(plain) == jax.tree.leaves(ahead)
    assert jax.tree.structure(plain) != jax.tree.structure(ahead)


@every_optimizer
def test_a_schedule_gives_what_its_rate_of_the_step_gives(case):
    schedule = fnet.warmup_cosine(0.1, warmup_steps=2, decay_steps=5)
    params, opt_state = PARAMS, case.factory().init(PARAMS)
    for t in range(6):
        scheduled = update(case.factory(schedule), FIRST, opt_state, params)
        plain = update(case.factory(float(schedule(t))), FIRST, opt_state, params)
        assert_close(scheduled, plain, 1e-6)
        params, opt_state = scheduled


@every_optimizer
def test_leaves_its_arguments_alone(case):
    optimizer = case.factory(np.float32(0.1))
    opt_state = jax.tree.map(np.array, optimizer.init(PARAMS))
    arguments = (FIRST, opt_state, PARAMS)
    before = copy.deepcopy(arguments)
    optimizer.update(*arguments)
    chex.assert_trees_all_equal(arguments, before)


@every_optimizer
@pytest.mark.parametrize("bad", [-0.1, -1, np.nan, np.inf, np.array([0.1, -0.1])])
def test_refuses_a_number_out_of_range(case, bad):
    for name in ("learning_rate", *case.numbers):
        message = rf"^`{name}` of \w+ must be in \[0, (inf|1)\), got {re.escape(str(bad))}\. Its d"
        with pytest.raises(ValueError, match=message):
            case.factory(**{name: bad})


@pytest.mark.parametrize(
    "bad", ["fast", "0.1", None, 1j, object()], ids=lambda bad: type(bad).__name__
)
def test_refuses_a_rate_that_is_no_number(bad):
    message = f"must be a number, or an array of them, got {bad!r}. Its default is 0.001."
    with pytest.raises(TypeError, match=re.escape(message)):
        fnet.adam(bad)


@pytest.mark.parametrize(
    ("factory", "name", "default"),
    [
        (fnet.momentum, "beta", 0.9),
        (fnet.rmsprop, "rho", 0.9),
        (fnet.adam, "beta1", 0.9),
        (fnet.adamw, "beta2", 0.999),
    ],
)
def test_refuses_a_decay_of_one(factory, name, default):
    message = rf"^`{name}` of {factory.__name__} must be in \[0, 1\), got 1\. .*{default}\.$"
    with pytest.raises(ValueError, match=message):
        factory(**{name: 1})


def test_refuses_the_state_of_another_optimizer():
    message = (
        r"^adam: `opt_state` must be of type AdamState, got SGDState\. .*optimizer\.init\(params\)"
    )
    with pytest.raises(TypeError, match=message):
        fnet.adam().update(FIRST, fnet.sgd().init(PARAMS), PARAMS)


@every_optimizer
def test_refuses_gradients_of_another_tree(case):
    grads = {"kernel": FIRST["kernel"], "outer": FIRST["inner"]}
    message = (
        r"^\w+: `grads` must match `params`, got unexpected leaves: "
        r"\[\"\['outer'\]\['bias'\] \(3,\)\"\], "
        r"missing leaves: \[\"\['inner'\]\['bias'\] \(3,\)\"\]"
    )
    with pytest.raises(TypeError, match=message):
        case.factory().update(grads, case.factory().init(PARAMS), PARAMS)


def test_refuses_the_state_of_other_parameters():
    opt_state = fnet.momentum().init(PARAMS["inner"])
    with pytest.raises(TypeError, match=r"^momentum: `velocity` must match `params`"):
        fnet.momentum().update(FIRST, opt_state, PARAMS)
