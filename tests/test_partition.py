"""Another optimizer for each part of the parameters."""

import pickle
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from problems import LOSS, bits, images, start

import fnet
from fnet.distributed.sharding import devices_of

RNG = np.random.default_rng(0)
PARAMS = {
    "encoder": {"kernel": RNG.normal(size=(2, 3)).astype(np.float32)},
    "head": {
        "kernel": RNG.normal(size=(3, 2)).astype(np.float32),
        "bias": RNG.normal(size=2).astype(np.float32),
    },
    "trunk": {"kernel": RNG.normal(size=(2, 2)).astype(np.float32)},
}
GRADIENTS = jax.tree.map(lambda p: RNG.normal(size=(5, *p.shape)).astype(np.float32), PARAMS)
FALLING = fnet.cosine(0.1, 4)
THREE = {"encoder": fnet.adam(0.01), "head": fnet.momentum(FALLING), "trunk": None}


def by_rank(path, leaf):
    return "kernels" if leaf.ndim > 1 else "others"


def by_word(path, leaf, word):
    return "named" if word in path else "others"


@jax.jit
def run(optimizer, params, gradients):
    """Parameters and state after an update with each row of `gradients`."""

    def step(carry, grads):
        params, opt_state = carry
        return optimizer.update(grads, opt_state, params), None

    return lax.scan(step, (params, optimizer.init(params)), gradients)[0]


def equal(a, b):
    chex.assert_trees_all_equal(bits(a), bits(b))


def test_each_part_is_updated_by_its_optimizer_alone():
    params, opt_state = run(fnet.partitioned(THREE), PARAMS, GRADIENTS)
    for part in ("encoder", "head"):
        alone, its_state = run(THREE[part], {part: PARAMS[part]}, {part: GRADIENTS[part]})
        equal(params[part], alone[part])
        equal(jax.tree.leaves(opt_state.inner[part]), jax.tree.leaves(its_state))
    equal(params["trunk"], PARAMS["trunk"])
    assert set(opt_state.inner) == {"encoder", "head"}
    assert opt_state.step == 5


def test_the_averages_of_parts_are_found():
    one, other = fnet.averaged("sgd", 0.5), fnet.clipped(fnet.averaged("sgd", 0.9), 10.0)
    parts = {"encoder": one, "head": other, "trunk": None}
    _, opt_state = run(fnet.partitioned(parts), PARAMS, GRADIENTS)
    average = fnet.averaged_params(opt_state)
    for part, optimizer in (("encoder", one), ("head", other)):
        _, alone = run(optimizer, {part: PARAMS[part]}, {part: GRADIENTS[part]})
        equal(average[part], fnet.averaged_params(alone)[part])
    assert average["trunk"] == {"kernel": None}
    _, opt_state = run(fnet.partitioned(parts | {"encoder": fnet.sgd()}), PARAMS, GRADIENTS)
    equal(fnet.averaged_params(opt_state), average | {"encoder": {"kernel": None}})
    _, opt_state = run(fnet.partitioned(THREE), PARAMS, GRADIENTS)
    with pytest.raises(TypeError, match="`opt_state` must be the state of an averaged optimizer"):
        fnet.averaged_params(opt_state)


def test_a_grid_reaches_the_numbers_of_parts():
    def begun(key):
        optimizer = fnet.clipped(fnet.partitioned(THREE), 1e3)
        return fnet.TrainState.create(PARAMS, optimizer, key)

    grid = fnet.grid(head={"beta": [0.5, 0.7]}, encoder={"learning_rate": [0.1, 0.2]})
    assert grid.labels["head/beta"].tolist() == [0.5, 0.5, 0.7, 0.7]
    assert grid.labels["encoder/learning_rate"].tolist() == pytest.approx([0.1, 0.2, 0.1, 0.2])
    states = grid.states(begun)
    last = jax.tree.map(lambda leaf: leaf[3], states.optimizer).optimizer.optimizers
    assert last["head"].beta == np.float32(0.7)
    assert last["encoder"].learning_rate == np.float32(0.2)
    assert last["encoder"].beta1 == np.float32(fnet.adam().beta1)
    with pytest.raises(ValueError, match="^`tail/beta` must be a hyperparameter of clipped"):
        fnet.grid(tail={"beta": [0.5]}).states(begun)


def test_parts_by_a_function_of_path_and_array():
    optimizer = fnet.partitioned({"kernels": fnet.sgd(0.5), "others": "adam"}, by=by_rank)
    params, opt_state = run(optimizer, PARAMS, GRADIENTS)
    rest = {"head": {"bias": PARAMS["head"]["bias"]}}, {"head": {"bias": GRADIENTS["head"]["bias"]}}
    alone, _ = run(fnet.adam(), *rest)
    equal(params["head"]["bias"], alone["head"]["bias"])
    desired, _ = run(fnet.sgd(0.5), PARAMS, GRADIENTS)
    equal(params["trunk"], desired["trunk"])
    assert len(jax.tree.leaves(opt_state.inner["others"])) == 3  # step, and two of the bias


def test_kernels_alone_decay():
    parts = {"kernels": fnet.adamw(0.01, weight_decay=0.5), "others": fnet.adam(0.01)}
    params, _ = run(fnet.partitioned(parts, by=by_rank), PARAMS, GRADIENTS)
    plain, _ = run(fnet.adam(0.01), PARAMS, GRADIENTS)
    decayed, _ = run(fnet.adamw(0.01, weight_decay=0.5), PARAMS, GRADIENTS)
    chex.assert_trees_all_close(params, decayed | {"head": decayed["head"] | {
        "bias": plain["head"]["bias"]}}, rtol=1e-6)  # fmt: skip
    assert (params["trunk"]["kernel"] != plain["trunk"]["kernel"]).all()


def test_vmap_over_the_rates_of_one_part_equals_single_runs():
    rates = np.array([0.1, 0.01], np.float32)
    optimizer = fnet.partitioned(THREE | {"encoder": fnet.adam(rates)})
    many, _ = jax.vmap(run, in_axes=(0, None, None))(optimizer, PARAMS, GRADIENTS)
    for i, rate in enumerate(rates):
        one, _ = run(fnet.partitioned(THREE | {"encoder": fnet.adam(rate)}), PARAMS, GRADIENTS)
        chex.assert_trees_all_close(jax.tree.map(lambda p, i=i: p[i], many), one, rtol=1e-6)


def test_equal_parts_are_one_program():
    chex.clear_trace_counter()
    counted = jax.jit(chex.assert_max_traces(lambda o, p, g: o.update(g, o.init(p), p), n=1))
    for rate in (0.1, 0.2):
        parts = {"others": fnet.adam(rate), "named": None}
        optimizer = fnet.partitioned(parts, by=partial(by_word, word="head"))
        counted(optimizer, PARAMS, PARAMS)
        copied = pickle.loads(pickle.dumps(optimizer))
        assert jax.tree.flatten(copied) == jax.tree.flatten(optimizer)
    assert jax.tree.leaves(fnet.partitioned(THREE))[0] == 0.01


def test_a_bare_array_and_a_tuple_have_parts():
    optimizer = fnet.partitioned({"0": fnet.sgd(1.0), "1": None})
    params = jnp.ones(2), jnp.ones(2)
    equal(optimizer.update(params, optimizer.init(params), params)[0], (jnp.zeros(2), jnp.ones(2)))
    optimizer = fnet.partitioned({"": fnet.sgd(1.0)})
    equal(optimizer.update(params[0], optimizer.init(params[0]), params[0])[0], jnp.zeros(2))


def test_wrappers_nest_outside_and_inside():
    inside = fnet.partitioned({"kernels": fnet.clipped("sgd", 0.5), "others": None}, by=by_rank)
    kernels = jax.tree.map(lambda leaf: leaf if leaf.ndim > 2 else None, GRADIENTS)
    kernels_only = jax.tree.map(lambda p: p if p.ndim > 1 else None, PARAMS)
    params, _ = run(inside, PARAMS, GRADIENTS)
    alone, _ = run(fnet.clipped("sgd", 0.5), kernels_only, kernels)
    equal(params["trunk"], alone["trunk"])
    outside = fnet.averaged(fnet.partitioned(THREE), 0.5)
    params, opt_state = run(outside, PARAMS, GRADIENTS)
    equal(fnet.averaged_params(opt_state)["trunk"], PARAMS["trunk"])
    equal(params, run(fnet.partitioned(THREE), PARAMS, GRADIENTS)[0])


NET = fnet.sequential(fnet.flatten, fnet.dense(4), fnet.relu, fnet.dense(3), fnet.softmax)
TASK = fnet.supervised(NET, LOSS)
DATA = images(24)


def test_a_run_trains_one_part_and_resumes(tmp_path):
    optimizer = fnet.partitioned({"dense": None, "dense_1": fnet.adam(FALLING)})
    begun = start(NET, optimizer)
    run_of = partial(fnet.train, TASK, batch_size=8, record=["learning_rate"])
    whole, history = run_of(begun, DATA, epochs=2)
    np.testing.assert_allclose(history["record"]["learning_rate"], FALLING(np.arange(6)), rtol=1e-6)
    equal(whole.params["dense"], begun.params["dense"])
    assert (whole.params["dense_1"]["kernel"] != begun.params["dense_1"]["kernel"]).any()
    half, _ = run_of(begun, DATA, epochs=1)
    fnet.save(tmp_path / "run.safetensors", half)
    loaded = fnet.load(tmp_path / "run.safetensors", like=begun)
    equal(run_of(loaded, DATA, epochs=1)[0].params, whole.params)


def test_several_rates_are_recorded_as_nan():
    optimizer = fnet.partitioned({"dense": "sgd", "dense_1": "adam"})
    assert np.isnan(optimizer.learning_rate_at(0))


def test_the_state_of_a_part_lies_as_its_parameters_do():
    mesh = jax.make_mesh((1, 1), ("data", "model"))
    params = {"encoder": {"kernel": jnp.ones((4, 512))}, "head": {"bias": jnp.ones(3)}}
    optimizer = fnet.partitioned({"encoder": "adam", "head": "sgd"})
    devices = devices_of(params, mesh, None)
    laid = devices.shard_state({"opt_state": optimizer.init(params)})["opt_state"]
    wide = laid.inner["encoder"].mean["encoder"]["kernel"].sharding.spec
    assert wide == jax.sharding.PartitionSpec(None, "model")
    assert laid.inner["head"].step.sharding.is_fully_replicated


BAD = {
    "a part that no leaf has": (
        TypeError, r"^partitioned: each part must have a parameter, got none for \['tail'\]; the "
        r"parameters belong to \['encoder', 'head', 'trunk'\]\. Rename or drop the part\.$",
        lambda: fnet.partitioned(THREE | {"tail": "adam"}).init(PARAMS),
    ),
    "a leaf of no part": (
        TypeError, r"^partitioned: each parameter must belong to one of the parts \['encoder'\], "
        r"got 'head' for 'head/bias'\. Give that part an optimizer, or None to freeze it\.$",
        lambda: fnet.partitioned({"encoder": "adam"}).init(PARAMS),
    ),
    "a function that gives no name": (
        TypeError, r"^partitioned: each parameter must belong to .*, got None for ",
        lambda: fnet.partitioned({"a": "sgd"}, by=lambda path, leaf: None).init(PARAMS),
    ),
    "no parts": (
        ValueError, r"^`optimizers` of partitioned must have at least one part, got none\. Write",
        lambda: fnet.partitioned({}),
    ),
    "no dict": (
        TypeError, r"^`optimizers` of partitioned must be a dict from .*, got the class adam\.",
        lambda: fnet.partitioned(fnet.adam),
    ),
    "an unknown name": (
        ValueError, r"^`optimizer` must be an optimizer or one of .*, got 'adm'\.",
        lambda: fnet.partitioned({"head": "adm"}),
    ),
    "no function": (
        TypeError, r"^`by` must be a function, got 'kernel'\.",
        lambda: fnet.partitioned({"head": "adam"}, by="kernel"),
    ),
    "gradients of another tree": (
        TypeError, r"^partitioned: `grads` must match `params`, got unexpected leaves: \[\], mis",
        lambda: fnet.partitioned(THREE).update(
            {"head": PARAMS["head"]}, fnet.partitioned(THREE).init(PARAMS), PARAMS
        ),
    ),
    "the state of other parts": (
        TypeError, r"^partitioned: `opt_state` must hold a state for each part that trains, "
        r"\['encoder', 'head'\], got \['encoder'\]\. Make it with",
        lambda: fnet.partitioned(THREE).update(
            PARAMS, fnet.partitioned(THREE | {"head": None}).init(PARAMS), PARAMS
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    error, message, call = BAD[case]
    with pytest.raises(error, match=message):
        call()
