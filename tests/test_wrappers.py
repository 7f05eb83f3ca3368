"""The wrappers of optimizers: what each adds, and that it keeps the contract."""

import dataclasses
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from problems import LOSS, bits, enable_x64, images, start, task

import fnet
from fnet.core.platform import Absent, made_for

RNG = np.random.default_rng(0)
PARAMS = {
    "dense": {"kernel": RNG.normal(size=(2, 3)).astype(np.float32)},
    "dense_1": {"bias": RNG.normal(size=3).astype(np.float32)},
}
GRADIENTS = jax.tree.map(lambda p: RNG.normal(size=(12, *p.shape)).astype(np.float32), PARAMS)
FIRST = jax.tree.map(lambda g: g[0], GRADIENTS)
DATA = images(50)
RUN = {"epochs": 2, "batch_size": 8}
SMALL = fnet.sequential(fnet.rescale(1 / 255), fnet.flatten, fnet.dense(3), fnet.softmax)


class Transformation(NamedTuple):
    """What optax calls a GradientTransformation."""

    init: Callable[..., Any]
    update: Callable[..., Any]


def trace_init(params):
    return (jax.tree.map(jnp.zeros_like, params),)


def trace_update(grads, state, params=None):
    trace = jax.tree.map(lambda t, g: 0.5 * t + g, state[0], grads)
    return jax.tree.map(lambda t: -0.1 * t, trace), (trace,)


HEAVY_BALL = Transformation(trace_init, trace_update)


def first_layer(path):
    return path.startswith("dense/")


WRAPPERS = {
    "clipped": partial(fnet.clipped, max_norm=0.5),
    "accumulated": partial(fnet.accumulated, every=3),
    "averaged": partial(fnet.averaged, decay=0.5),
    "masked": partial(fnet.masked, mask=first_layer),
    "decayed": partial(fnet.decayed, weight_decay=0.5),
    "all": lambda o: fnet.averaged(
        fnet.accumulated(fnet.clipped(fnet.masked(o, first_layer), 0.5), 3), 0.5
    ),
}
every_wrapper = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
OFF = {
    "clipped": partial(fnet.clipped, max_norm=1e9),
    "accumulated": partial(fnet.accumulated, every=1),
    "averaged": partial(fnet.averaged, decay=0.5),
    "decayed": partial(fnet.decayed, weight_decay=0.0),
    "masked": partial(fnet.masked, mask=bool),  # every path is a word, so True
}


def run(optimizer, params, gradients):
    """Parameters and state after an update with each row of `gradients`."""

    def step(carry, grads):
        params, opt_state = carry
        return optimizer.update(grads, opt_state, params), None

    return lax.scan(step, (params, optimizer.init(params)), gradients)[0]


compiled_run = jax.jit(run)


def close(actual, desired, tolerance=1e-6):
    chex.assert_trees_all_close(actual, desired, rtol=tolerance, atol=tolerance)


def equal(a, b):
    chex.assert_trees_all_equal(bits(a), bits(b))


def global_norm(tree):
    return np.sqrt(sum(np.sum(np.float64(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("wrap", OFF.values(), ids=OFF)
def test_a_wrapper_that_does_nothing_changes_no_bit(wrap):
    plain, opt_state = compiled_run(fnet.adam(0.1), PARAMS, GRADIENTS)
    params, wrapped_state = compiled_run(wrap(fnet.adam(0.1)), PARAMS, GRADIENTS)
    equal((params, getattr(wrapped_state, "inner", wrapped_state)), (plain, opt_state))
    assert wrapped_state.step == 12


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 3.0])
def test_clipped_agrees_with_float64(max_norm):
    params, _ = compiled_run(fnet.clipped(fnet.sgd(0.1), max_norm), PARAMS, GRADIENTS)
    desired, clipped = jax.tree.map(np.float64, PARAMS), 0
    for i in range(12):
        grads = jax.tree.map(lambda g, i=i: np.float64(g[i]), GRADIENTS)
        scale = min(1, max_norm / global_norm(grads))
        clipped += scale < 1
        desired = jax.tree.map(lambda p, g, s=scale: p - 0.1 * s * g, desired, grads)
    assert clipped == 12 if max_norm < 1 else 0 < clipped < 12
    close(params, jax.tree.map(np.float32, desired), 1e-5)


def test_clipped_leaves_a_gradient_of_zero_alone_and_its_hypergradient_finite():
    def goal(optimizer, grad):
        return optimizer.update(grad, optimizer.init(jnp.ones(3)), jnp.ones(3))[0].sum()

    slopes = jax.jit(jax.grad(goal, argnums=(0, 1)))(fnet.clipped(fnet.sgd(0.1), 1.0), jnp.zeros(3))
    chex.assert_tree_all_finite(slopes)


@pytest.mark.parametrize("every", [1, 3, 5])
def test_accumulated_is_an_update_with_the_mean(every):
    optimizer = fnet.adam(fnet.cosine(0.1, 4))
    whole = 12 // every * every
    means = jax.tree.map(
        lambda g: g[:whole].reshape(-1, every, *g.shape[1:]).mean(1, dtype=np.float32), GRADIENTS
    )
    desired, inner = compiled_run(optimizer, PARAMS, means)
    params, opt_state = compiled_run(fnet.accumulated(optimizer, every), PARAMS, GRADIENTS)
    close((params, opt_state.inner), (desired, inner), 1e-5)
    assert opt_state.step == 12
    rest = jax.tree.map(lambda g: g[whole:].sum(0), GRADIENTS)
    close(opt_state.gradients, rest)


def test_accumulated_has_no_branch_on_an_accelerator_unless_an_update_is_dear():
    def branches(optimizer, platform):
        with made_for(Absent(platform, None)):
            traced = jax.jit(partial(run)).trace(fnet.accumulated(optimizer, 3), PARAMS, GRADIENTS)
        return traced.lower().as_text().count("stablehlo.case")

    both = fnet.partitioned({"dense": fnet.muon(), "dense_1": fnet.clipped("adam", 1.0)})
    assert branches("adam", "cpu") == branches("adam", "gpu") + 1 == branches("adam", "tpu") + 1
    assert branches(both, "cpu") == branches(both, "gpu") == 1
    optimizer = fnet.accumulated(fnet.averaged(fnet.adam(0.1), 0.5), 3)
    with made_for(Absent("gpu", None)):
        found = jax.jit(partial(run))(optimizer, PARAMS, GRADIENTS)
    close(found, compiled_run(optimizer, PARAMS, GRADIENTS), 1e-5)


def test_accumulated_small_batches_are_a_large_one():
    x, y = DATA[0][:48], DATA[1][:48]
    small = start(SMALL, fnet.accumulated("sgd", 4))
    few, _ = fnet.train(
        fnet.supervised(SMALL, LOSS), small, (x, y), epochs=2, batch_size=4, shuffle=False
    )
    large = start(SMALL, "sgd")
    many, _ = fnet.train(
        fnet.supervised(SMALL, LOSS), large, (x, y), epochs=2, batch_size=16, shuffle=False
    )
    close(few.params, many.params)


def test_the_recorded_rate_counts_updates():
    optimizer = fnet.averaged(fnet.accumulated(fnet.momentum(fnet.cosine(0.1, 4)), 3), 0.9)
    _, history = fnet.train(
        task(SMALL, metrics=()), start(SMALL, optimizer), DATA, record=["learning_rate"], **RUN
    )
    desired = fnet.cosine(0.1, 4)(np.arange(14.0) // 3)
    close(history["record"]["learning_rate"], desired)


def test_averaged_agrees_with_float64():
    optimizer = fnet.clipped(fnet.averaged(fnet.sgd(0.1), 0.75), 1e9)
    _, opt_state = compiled_run(optimizer, PARAMS, GRADIENTS)
    average = p = jax.tree.map(np.float64, PARAMS)
    for i in range(12):
        p = jax.tree.map(lambda p, g, i=i: p - 0.1 * g[i], p, GRADIENTS)
        average = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, average, p)
    close(fnet.averaged_params(opt_state), jax.tree.map(np.float32, average), 1e-5)


def test_an_average_of_half_precision_is_kept_in_float32():
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), PARAMS)
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.bfloat16), GRADIENTS)
    trained, opt_state = compiled_run(fnet.averaged(fnet.sgd(0.1), 0.999), params, grads)
    chex.assert_trees_all_equal_dtypes(trained, params)
    chex.assert_trees_all_equal_dtypes(fnet.averaged_params(opt_state), PARAMS)
    moved = jax.tree.map(
        lambda a, p: jnp.abs(a - p.astype(a.dtype)).max(), fnet.averaged_params(opt_state), params
    )
    assert min(jax.tree.leaves(moved)) > 0


def test_an_average_is_evaluated_in_place_of_the_parameters():
    state, _ = fnet.train(
        task(SMALL, metrics=()), start(SMALL, fnet.averaged("adam", 0.5)), DATA, **RUN
    )
    average = dataclasses.replace(state, params=fnet.averaged_params(state.opt_state))
    own, other = (
        fnet.evaluate(
            fnet.supervised(SMALL, LOSS),
            s,
            DATA,
        )
        for s in (state, average)
    )
    assert own != other


MASKS = {
    "a function": first_layer,
    "a tree": {"dense": {"kernel": True}, "dense_1": {"bias": np.False_}},
    "a layer": {"dense": True, "dense_1": False},
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masked_freezes_and_forgets_the_rest(mask):
    params, opt_state = compiled_run(fnet.masked("adam", mask), PARAMS, GRADIENTS)
    one = {"dense": PARAMS["dense"]}, {"dense": GRADIENTS["dense"]}
    alone, alone_state = compiled_run(fnet.adam(), *one)
    equal(params, alone | {"dense_1": PARAMS["dense_1"]})
    equal(opt_state.mean["dense"], alone_state.mean["dense"])
    assert len(jax.tree.leaves(opt_state)) == 3


def test_equal_masks_are_one_program():
    chex.clear_trace_counter()
    counted = jax.jit(chex.assert_max_traces(run, n=1))
    for mask in (MASKS["a tree"], dict(MASKS["a tree"])):
        counted(fnet.masked(fnet.sgd(0.1), mask), PARAMS, GRADIENTS)


def test_everything_frozen_stays():
    params, _ = compiled_run(fnet.masked("adam", lambda path: False), PARAMS, GRADIENTS)
    equal(params, PARAMS)


def test_a_bare_array_has_a_bare_mask():
    optimizer = fnet.masked(fnet.sgd(1.0), True)
    params, grads = jnp.ones(2), jnp.ones(2)
    equal(optimizer.update(grads, optimizer.init(params), params)[0], jnp.zeros(2))


@pytest.mark.parametrize("rate", [0.1, fnet.cosine(0.1, 8)], ids=["number", "schedule"])
def test_decayed_around_adam_is_adamw_for_kernels(rate):
    optimizer = fnet.decayed(fnet.adam(rate), 0.5)
    params, opt_state = compiled_run(optimizer, PARAMS, GRADIENTS)
    plain, adam_state = compiled_run(fnet.adam(rate), PARAMS, GRADIENTS)
    whole, _ = compiled_run(fnet.adamw(rate, weight_decay=0.5), PARAMS, GRADIENTS)
    close(params["dense"], whole["dense"])
    equal((params["dense_1"], opt_state), (plain["dense_1"], adam_state))
    everything = fnet.decayed(fnet.adam(rate), 0.5, mask={"dense": True, "dense_1": True})
    close(compiled_run(everything, PARAMS, GRADIENTS)[0], whole)


def test_from_optax_is_what_the_transformation_does():
    params, opt_state = compiled_run(fnet.from_optax(HEAVY_BALL), PARAMS, GRADIENTS)
    own, own_state = compiled_run(fnet.momentum(0.1, beta=0.5), PARAMS, GRADIENTS)
    close((params, opt_state.inner[0]), (own, own_state.velocity))
    assert opt_state.step == 12


def polyak_init(params):
    return ()


def polyak_update(grads, state, params=None, *, value, value_fn):
    step = value / sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))
    lower = value_fn(jax.tree.map(lambda p, g: p - step * g, params, grads)) < value
    return jax.tree.map(lambda g: jnp.where(lower, -step * g, 0), grads), state


POLYAK = Transformation(polyak_init, polyak_update)


def test_from_optax_gives_the_loss_to_a_transformation_that_asks():
    net, optimizer = fnet.dense(1, use_bias=False), fnet.from_optax(POLYAK)
    x = np.linspace(1, 2, 8, dtype=np.float32).reshape(8, 1)
    state = fnet.train_state(net, optimizer, jax.random.key(0), (1,))
    step = jax.jit(fnet.train_step(fnet.supervised(net, "mean_squared_error")))
    before = state.params["kernel"]
    state, _ = step(state, (x, 3 * x))
    # The loss is c (w - 3)^2, of which the step of Polyak halves the distance.
    close(state.params["kernel"], (before + 3) / 2, 1e-5)


LINE_SEARCHES = {
    "clipped": lambda o: fnet.clipped(o, 1e9),
    "accumulated": lambda o: fnet.accumulated(o, 1),
    "averaged": lambda o: fnet.averaged(o, 0.5),
    "masked": lambda o: fnet.masked(o, first_layer),
    "partitioned": lambda o: fnet.partitioned({"dense": o, "dense_1": None}),
}


@pytest.mark.parametrize("wrap", LINE_SEARCHES.values(), ids=LINE_SEARCHES)
def test_wrappers_pass_the_loss_on(wrap):
    """Frozen parameters are part of the loss, but not of what the transformation moves."""

    def loss(params):
        return (params["dense"]["kernel"].mean() - params["dense_1"]["bias"].mean()) ** 2

    @jax.jit
    def update(optimizer, params):
        value, grads = jax.value_and_grad(loss)(params)
        objective = fnet.Objective(value, loss)
        return optimizer.update(grads, optimizer.init(params), params, objective)[0]

    params = update(wrap(fnet.from_optax(POLYAK)), PARAMS)
    # A quadratic that can become 0: half of the distance is left, and a quarter of the loss.
    np.testing.assert_allclose(loss(params), loss(PARAMS) / 4, rtol=1e-5)


class StepState(NamedTuple):
    step: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Descent:
    """An optimizer of the user's own: three methods, and no base class."""

    learning_rate: float = 0.1

    def init(self, params):
        return StepState(jnp.zeros((), jnp.int32))

    def update(self, grads, opt_state, params, objective=None):
        params = jax.tree.map(lambda p, g: p - self.learning_rate * g, params, grads)
        return params, StepState(opt_state.step + 1)

    def learning_rate_at(self, step):
        return self.learning_rate


@every_wrapper
def test_wrappers_take_an_optimizer_of_the_users_own(wrap):
    own, known = (compiled_run(wrap(o), PARAMS, GRADIENTS)[0] for o in (Descent(), fnet.sgd(0.1)))
    close(own, known)


def test_from_optax_trains_and_its_rate_is_not_known():
    optimizer = fnet.averaged(fnet.from_optax(HEAVY_BALL), 0.5)
    state, history = fnet.train(
        task(SMALL, metrics=()), start(SMALL, optimizer), DATA, record=["learning_rate"], **RUN
    )
    assert np.isnan(history["record"]["learning_rate"]).all()
    assert state.opt_state.step == state.step == 14


@pytest.mark.parametrize("wrap", [WRAPPERS["clipped"], WRAPPERS["all"]], ids=["clipped", "all"])
def test_train_and_fit_are_the_same_bit_for_bit(wrap):
    begun = start(SMALL, wrap("adam"))
    trained = fnet.train(task(SMALL, metrics=()), begun, DATA, **RUN)
    equal(fnet.fit(task(SMALL, metrics=()), begun, DATA, progress=False, **RUN), trained)


@every_wrapper
def test_jit_equals_eager(wrap):
    optimizer = wrap(fnet.adam(0.1))
    opt_state = optimizer.init(PARAMS)
    eager = optimizer.update(FIRST, opt_state, PARAMS)
    close(jax.jit(lambda o, *a: o.update(*a))(optimizer, FIRST, opt_state, PARAMS), eager)


@every_wrapper
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_keeps_structure_and_dtype(wrap, dtype):
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), PARAMS)
    optimizer = wrap(fnet.adam(0.1))
    opt_state = optimizer.init(params)
    after = jax.eval_shape(optimizer.update, params, opt_state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes((params, opt_state), after)


@every_wrapper
def test_pickles_and_is_a_pytree_of_numbers(wrap):
    optimizer = wrap(fnet.momentum(0.1, beta=0.5))
    leaves, structure = jax.tree.flatten(optimizer)
    assert {0.1, 0.5} <= set(leaves)
    assert jax.tree.flatten(pickle.loads(pickle.dumps(optimizer))) == (leaves, structure)


def test_a_grid_reaches_the_numbers_within():
    wrap, grid = WRAPPERS["all"], fnet.grid(learning_rate=[0.01, 0.1], seed=[0, 1])
    states = grid.states(SMALL, wrap(fnet.momentum(beta=0.5)), (4, 4))
    many, _ = fnet.train_many(task(SMALL, metrics=()), states, DATA, form="map", **RUN)
    one = start(SMALL, wrap(fnet.momentum(0.1, beta=0.5)), seed=1)
    single, _ = fnet.train(task(SMALL, metrics=()), one, DATA, **RUN)
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[3], many.params), single.params, rtol=1e-5, atol=1e-5
    )


def test_a_grid_over_the_number_of_a_wrapper():
    grid = fnet.grid(max_norm=[0.1, 1.0], beta=[0.5, 0.9])
    optimizer = grid.states(SMALL, fnet.clipped("momentum", 1.0), (4, 4)).optimizer
    np.testing.assert_allclose(optimizer.max_norm, [0.1, 0.1, 1.0, 1.0])
    np.testing.assert_allclose(optimizer.optimizer.beta, [0.5, 0.9, 0.5, 0.9])


def test_hypergradients_are_central_differences():
    """By the numbers of the wrappers and of the optimizer within, through every one of them."""
    optimizer = fnet.averaged(
        fnet.accumulated(fnet.clipped(fnet.momentum(0.1, beta=0.5), 0.5), 3), 0.75
    )
    leaves, tree = jax.tree.flatten(optimizer)
    with enable_x64():
        arguments = jax.tree.map(np.float64, (PARAMS, GRADIENTS))

        @jax.jit
        def goal(leaves):
            params, opt_state = run(jax.tree.unflatten(tree, leaves), *arguments)
            trees = params, fnet.averaged_params(opt_state)
            return sum((leaf**2).sum() for leaf in jax.tree.leaves(trees))

        slopes = jax.jit(jax.grad(goal))(leaves)
        for i, leaf in enumerate(leaves):
            above, below = ([*leaves[:i], leaf + h, *leaves[i + 1 :]] for h in (1e-6, -1e-6))
            difference = (goal(above) - goal(below)) / 2e-6
            assert float(slopes[i]) == pytest.approx(float(difference), rel=1e-6)
            assert slopes[i] != 0


ADAM_STATE = fnet.adam().init(PARAMS)
OTHER = {"dense": PARAMS["dense"], "dense_2": PARAMS["dense_1"]}
BAD = {
    "a norm below 0": (
        ValueError, r"^`max_norm` of clipped must be in \[0, inf\), got -1\. Its default is 1\.0\.",
        lambda: fnet.clipped("adam", -1),
    ),
    "a decay of 1": (
        ValueError, r"^`decay` of averaged must be in \[0, 1\), got 1\. Its default is 0\.999\.",
        lambda: fnet.averaged("adam", 1),
    ),
    "every 0 steps": (
        ValueError, r"^`every` must be an integer of at least 1, got 0\.",
        lambda: fnet.accumulated("adam", 0),
    ),
    "an unknown name": (
        ValueError, r"^`optimizer` must be an optimizer or one of .*'muon'.*, got 'adm'\.",
        lambda: fnet.clipped("adm"),
    ),
    "a class": (
        TypeError, r"^`optimizer` must be .*, got the class adam\. Pass fnet\.adam\(",
        lambda: fnet.averaged(fnet.adam),
    ),
    "a bare transformation": (
        TypeError, r"^`optimizer` must be .*, got a Transformation\. Wrap it in "
        r"fnet\.from_optax\.",
        lambda: start(SMALL, HEAVY_BALL),
    ),
    "no transformation": (
        TypeError, r"^`transformation` of from_optax must have the functions init and update of "
        r"optax, got 'adam'\.",
        lambda: fnet.from_optax("adam"),
    ),
    "an optimizer of its own": (
        TypeError, r"^`transformation` of from_optax .* Use optimizers of fnet directly\.",
        lambda: fnet.from_optax(fnet.adam()),
    ),
    "no loss for one that asks": (
        TypeError, r"^from_optax: the transformation needs 'value', 'value_fn', got no `objective`",
        lambda: run(fnet.from_optax(POLYAK), PARAMS, GRADIENTS),
    ),
    "no boolean": (
        TypeError, r"^`mask` of masked must be a tree of booleans or a function of a path, got 1 "
        r"at 'dense/kernel'\. Write True",
        lambda: fnet.masked("adam", {"dense": {"kernel": 1}}),
    ),
    "a mask of another tree": (
        TypeError, r"^masked: `mask` must match `params`, .* got unexpected leaves: "
        r"\['dense_2/bias'\], missing leaves: \['dense_1/bias'\]\. "
        r"Make it from the parameters: jax\.tree\.map",
        lambda: fnet.masked("adam", jax.tree.map(lambda p: True, OTHER)).init(PARAMS),
    ),
    "half a name": (
        TypeError, r"got unexpected leaves: \['dens'\], missing leaves: \['dense/kernel'\]",
        lambda: fnet.masked("adam", {"dens": True, "dense_1": True}).init(PARAMS),
    ),
    "a decay of nothing": (
        TypeError, r"^decayed: `mask` must choose a parameter, got none\. Name those that decay",
        lambda: fnet.decayed("adam").init({"w": jnp.ones(2)}),
    ),
    "a decay without a rate": (
        TypeError, r"^decayed: `optimizer` must have one learning rate .*, got from_optax\. Let",
        lambda: run(fnet.decayed(fnet.from_optax(HEAVY_BALL)), PARAMS, GRADIENTS),
    ),
    "a decay below 0": (
        ValueError, r"^`weight_decay` of decayed must be in \[0, inf\), got -1\.",
        lambda: fnet.decayed("adam", -1),
    ),
    "the state of another optimizer": (
        TypeError, r"^averaged: `opt_state` must be of type AveragedState, got AdamState\.",
        lambda: fnet.averaged("adam").update(FIRST, ADAM_STATE, PARAMS),
    ),
    "gradients of another tree": (
        TypeError, r"^accumulated: `grads` must match `params`, got unexpected leaves: ",
        lambda: fnet.accumulated("adam", 2).update(
            OTHER, fnet.accumulated("adam", 2).init(PARAMS), PARAMS
        ),
    ),
    "frozen gradients of another tree": (
        TypeError, r"^masked: `grads` must match `params`, got unexpected leaves: ",
        lambda: fnet.masked("adam", bool).update(OTHER, ADAM_STATE, PARAMS),
    ),
    "no average": (
        TypeError, r"^`opt_state` must be the state of an averaged optimizer, got a "
        r"AdamState\. Train",
        lambda: fnet.averaged_params(ADAM_STATE),
    ),
    "no axis of a wrapper": (
        ValueError, r"^`rho` must be a hyperparameter of clipped, got an axis beside max_norm, "
        r"learning_rate, beta\.",
        lambda: fnet.grid(rho=[0.5]).states(SMALL, fnet.clipped("momentum"), (4, 4)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    error, message, call = BAD[case]
    with pytest.raises(error, match=message):
        call()
