"""Plans of runs on the device at hand, and what they are made of."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest
from problems import images, task

import fnet
from fnet.core.flops import count_flops
from fnet.core.platform import Absent, made_for
from fnet.distributed.sharding import memory_limit
from fnet.planning.exchanges import Exchange, exchanges
from fnet.planning.limits import ON_CHIP, limits_of
from fnet.planning.targets import Chip
from fnet.training.step import SCOPE

NET = fnet.sequential(
    fnet.rescale(1 / 255), fnet.flatten, fnet.dense(8), fnet.dense(3), fnet.softmax
)
SHAPE = jax.ShapeDtypeStruct


def shapes(samples=75):
    state = jax.eval_shape(lambda: fnet.train_state(NET, "adam", jax.random.key(0), (4, 4)))
    return state, (SHAPE((samples, 4, 4), "uint8"), SHAPE((samples,), "int32"))


@pytest.fixture(scope="module")
def plan():
    return fnet.plan(task(NET), *shapes(), batch_size=16)


def lasting(plan):
    return plan.to_dict() | {"compile_seconds": None}


def test_a_plan_counts_what_a_run_has(plan):
    assert (plan.samples, plan.steps, plan.batch_size, plan.last_batch) == (75, 5, 16, 11)
    assert (plan.device_count, plan.mesh_shape, plan.divided) == (1, {}, True)
    assert (plan.parameters, plan.optimizer) == (16 * 8 + 8 + 8 * 3 + 3, "adam")
    # forward x W and h V, backward x^T dh, h^T dy and dy V^T
    assert plan.flops == plan.flops_a_device == {"float32": 2 * 16 * (2 * 16 * 8 + 3 * 8 * 3)}
    assert plan.kernels > 0
    assert plan.exchanges == ()


def test_the_memory_of_a_plan(plan):
    memory, size = plan.memory, 4 * plan.parameters
    assert (memory.params, memory.opt_state) == (size, 2 * size + 4)  # two moments and a count
    assert memory.data == 75 * (16 + 4)
    assert memory.arguments >= memory.params + memory.opt_state + memory.data
    assert memory.peak == memory.arguments + memory.outputs + memory.temporaries
    assert memory.peak_of_fit == memory.peak + memory.outputs
    assert memory.outputs >= 3 * size


def test_arrays_and_their_shapes_have_the_same_plan(plan, compilations):
    state, data = fnet.train_state(NET, "adam", jax.random.key(0), (4, 4)), images(75)
    compilations.clear()
    assert lasting(fnet.plan(task(NET), state, data, batch_size=16)) == lasting(plan)
    assert len(compilations) == 1  # nothing is computed


def test_devices_that_are_not_here_are_not_asked_for_their_memory():
    mesh = jax.make_mesh((1,), ("data",))
    before = memory_limit(mesh)
    with made_for(Absent("tpu", 2**34)):
        assert memory_limit(mesh) == 2**34
    assert memory_limit(mesh) == before


def test_a_plan_is_a_value(plan):
    assert plan == dataclasses.replace(plan)
    assert json.loads(json.dumps(plan.to_dict()))["memory"]["data"] == plan.memory.data
    assert plan.to_dict()["fits"] is plan.fits is True


def test_a_plan_is_shown_as_a_table(plan):
    lines = repr(plan).splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 100
    assert lines[0] == "163 parameters, adam, on cpu: one device"
    assert lines[1] == "75 samples an epoch in 5 steps of 16, the last of 11"
    assert "it fits; a device holds" in lines
    assert any(line.split() == ["data", "1.50", "kB"] for line in lines)


def test_a_run_that_does_not_fit_has_a_plan(plan):
    full = dataclasses.replace(plan.memory, capacity=plan.memory.peak - 1)
    small = dataclasses.replace(plan, memory=full)
    assert small.fits is False
    assert "it does not fit; a device would hold" in repr(small)
    between = dataclasses.replace(full, capacity=full.peak)
    small = dataclasses.replace(plan, memory=between)
    assert (small.fits, small.fits_fit) == (True, False)
    assert "`train` fits; `fit` does not" in repr(small)
    unknown = dataclasses.replace(plan, memory=dataclasses.replace(full, capacity=None))
    assert unknown.fits is None
    refused = dataclasses.replace(unknown, kernels=None, problem="out of memory")
    assert refused.fits is False
    assert "the compiler refused" in repr(refused)


def test_a_task_that_draws_its_own_data_has_a_plan():
    def loss(params, batch, key):
        return (params["w"] @ jax.random.normal(key, (3,))) ** 2

    state = fnet.TrainState.create({"w": jnp.ones((2, 3))}, "sgd", jax.random.key(0))
    plan = fnet.plan(fnet.task(lambda *a: loss(*a).sum()), state, None, steps=7)
    assert (plan.samples, plan.steps, plan.batch_size, plan.last_batch) == (7, 7, 1, 0)
    assert plan.memory.data == 0


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"devices": "v9"}, ValueError, "`devices` must name a kind that is known, .* got 'v9'"),
        ({"devices": 8}, TypeError, "`devices` must be the name of devices, got 8"),
        ({"mesh_shape": 8}, TypeError, "`mesh_shape` must be a dict of the axes .* got 8"),
        ({"mesh_shape": {"data": 0}}, TypeError, "`mesh_shape` must be a dict of the axes"),
        (
            {"mesh_shape": {"data": 64}},
            ValueError,
            r"is the number of devices, \d+, got {'data': 64}",
        ),
        ({"mesh_shape": {"model": 1}}, ValueError, "`mesh_shape` must have an axis 'data'"),
        ({"steps": 3}, ValueError, "`steps` must be left out with data"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer of at least 1"),
        ({"shardings": lambda params, mesh: params}, ValueError, "must come with `mesh`"),
        ({"data": ("a", "b")}, TypeError, "`x` of `data` must hold numbers, got dtype <U1"),
        ({"state": {}}, TypeError, "`state` must be a TrainState"),
        ({"task": NET}, TypeError, "`task` must be a task"),
        ({"data": (SHAPE((9, 4, 4), "uint8"),) * 2 + (1,)}, ValueError, "weights"),
    ],
)
def test_errors(given, error, words):
    state, data = shapes()
    arguments = {"task": task(NET), "state": state, "data": data} | given
    with pytest.raises(error, match=words):
        fnet.plan(**arguments)


def test_flops_of_loops_branches_and_what_is_computed_again():
    x, w = SHAPE((4, 6), "float32"), SHAPE((6, 6), "bfloat16")
    one = 2 * 4 * 6 * 6

    def loop(x, w):
        return jax.lax.scan(lambda x, _: (x @ w.astype("float32"), None), x, length=5)[0]

    def branch(x, w):
        several = loop, lambda x, w: x @ w.astype("float32"), lambda x, w: x
        return jax.lax.switch(jnp.zeros((), int), several, x, w)

    def slope(x, w):
        again = jax.checkpoint(lambda x: jnp.sin(x @ w.astype("float32")).sum())
        return jax.value_and_grad(again)(x)

    assert count_flops(jnp.matmul, x, SHAPE((6, 6), "float32")) == {"float32": one}
    assert count_flops(jnp.matmul, w, w) == {"bfloat16": 2 * 6**3}
    assert count_flops(loop, x, w) == {"float32": 5 * one}
    assert count_flops(branch, x, w) == {"float32": 5 * one}
    assert count_flops(slope, x, w) == {"float32": 3 * one}
    assert count_flops(jnp.add, x, x) == {}
    assert count_flops(lambda x, w: (loop(x, w), x)[1], x, w) == {}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_flops_of_a_convolution_and_its_gradients(stride, groups):
    x, kernel = SHAPE((2, 8, 8, 4), "float32"), SHAPE((3, 3, 4 // groups, 6), "float32")

    def conv(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
        )  # fmt: skip

    each = 2 * (2 * (8 // stride) ** 2 * 6) * (3 * 3 * 4 // groups)
    assert count_flops(conv, x, kernel) == {"float32": each}
    slopes = jax.grad(lambda *arguments: (conv(*arguments) ** 2).sum(), (0, 1))
    assert count_flops(slopes, x, kernel) == {"float32": 3 * each}


# Four devices as data 2 x model 2, four layers in a loop. A TPU gathers while it computes, so that
# channel 2 stands in two fusions, one of them in a loop of its own.
PROGRAM = """
%gather (p: bf16[8]) -> bf16[16] {
  ROOT %a = bf16[16]{0} all-gather(%p), channel_id=2, replica_groups=[2,2]<=[4], dimensions={0}
}
%meanwhile (p: bf16[8]) -> bf16[16] {
  ROOT %b = bf16[16]{0} all-gather(%p), channel_id=2, replica_groups=[2,2]<=[4], dimensions={0}
}
%part (c: (s32[], bf16[8])) -> (s32[], bf16[8]) {
  %d = bf16[16]{0} fusion(%c), kind=kOutput, calls=%meanwhile
}
%layer (c: (s32[], f32[8])) -> (s32[], f32[8]) {
  %e = bf16[16]{0} fusion(%c), kind=kOutput, calls=%gather
  %f = (s32[], bf16[8]{0}) while(%e), body=%part, backend_config={"known_trip_count":{"n":"5"}}
  %g = f32[8]{0} all-reduce(%c), channel_id=3, replica_groups=mesh['a'=2,'b'=2] {'b'}, to_apply=%s
}
ENTRY %main (x: f32[8]) -> f32[8] {
  %h = (s32[], f32[8]) while(%x), body=%layer, backend_config={"known_trip_count":{"n":"4"}}, \
metadata={op_name="jit(run)/SCOPE/while"}
  %i = f32[8]{0} all-reduce(%h), channel_id=4, replica_groups={{0,2},{1,3}}, to_apply=%s
  %j = f32[8]{0} all-reduce(%i), channel_id=5, replica_groups={}, to_apply=%s
  ROOT %k = f32[8]{0} add(%j, %j), metadata={op_name="jit(run)/SCOPE/add"}
}
"""


def test_what_is_sent_by_the_axes_it_goes_over():
    found = exchanges(PROGRAM.replace("SCOPE", SCOPE), {"data": 2, "model": 2})
    assert found == (
        Exchange("all-reduce", ("model",), 4, 4 * 32, 4 * 32),
        Exchange("all-gather", ("model",), 4, 4 * 32, 4 * 16),
        Exchange("all-reduce", ("data", "model"), 1, 32, 48),
        Exchange("all-reduce", ("data",), 1, 32, 32),
    )


def test_limits_of_a_device():
    chip = Chip(10**9, (("float32", 1e12), ("bfloat16", 2e12)), 1e9, 1e8, 1e-6)
    limits = limits_of(chip, {"float32": 1e12, "bfloat16": 4e12}, ON_CHIP + 10**9, 10**7, 500)
    assert {limit.name: limit.seconds for limit in limits} == pytest.approx(
        {"products": 3.0, "memory": 2.0, "links": 0.1, "launches": 0.0005}
    )
    assert limits[0].reason == "5.00 TFLOP at 2.00 TFLOP/s in bfloat16"
    # What is not known of a device limits nothing.
    assert [limit.name for limit in limits_of(chip, {"float64": 1}, 2**30, 0, 0)] == ["memory"]
    assert limits_of(chip, {}, ON_CHIP, 0, 0) == ()
    assert limits_of(Chip(), {"float32": 1e12}, 2**30, 1, 1) == ()


def test_the_largest_limit_bounds_the_samples(plan):
    chip = Chip(None, (("float32", 1e6),), None, None, 1e-3)
    limits = limits_of(chip, plan.flops, 0, 0, 4)
    plan = dataclasses.replace(plan, limits=limits)
    seconds = plan.flops["float32"] / 1e6
    assert plan.largest_limit.name == "products"
    assert plan.samples_a_second == pytest.approx(16 / seconds)
    assert "so at most 1,520 samples a second" in repr(plan)  # of 1,524
