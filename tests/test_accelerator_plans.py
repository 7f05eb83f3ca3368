"""Plans for devices that are not here: `make accelerators`."""

import jax
import pytest

import fnet

pytest.importorskip("libtpu", reason="make accelerators")
pytest.importorskip("jax_plugins.xla_cuda13", reason="make accelerators")
pytestmark = pytest.mark.accelerators

SHAPE = jax.ShapeDtypeStruct


def planned(inputs: int, units: int, samples: int = 1000, **options) -> fnet.Plan:
    net = fnet.sequential(fnet.dense(units), fnet.relu, fnet.dense(10), fnet.softmax)
    task = fnet.supervised(net, "sparse_categorical_crossentropy")
    state = jax.eval_shape(lambda: fnet.train_state(net, "adam", jax.random.key(0), (inputs,)))
    data = SHAPE((samples, inputs), "float32"), SHAPE((samples,), "int32")
    return fnet.plan(task, state, data, batch_size=100, **options)


def test_a_plan_for_chips_of_a_mesh():
    plan = planned(784, 512, devices="v5e:2x2", mesh_shape={"data": 2, "model": 2})
    assert plan.fits and plan.device_count == 4
    assert plan.cycles > 0 and plan.host_waits == 0
    assert ("all-reduce", ("data",)) in {(one.kind, one.axes) for one in plan.exchanges}
    assert [limit.name for limit in plan.limits] == ["products", "links"]
    assert plan.flops_a_device["float32"] == plan.flops["float32"] // 4


def test_data_larger_than_a_share_of_a_chip_lies_in_parts():
    samples = 2_000_000
    plan = planned(784, 16, samples, devices="v5e:2x2")
    assert plan.memory.data == samples * (784 + 1) * 4 // 4
    assert plan.fits


def test_a_plan_for_a_gpu():
    plan = planned(784, 512, devices="h100")
    assert plan.fits and plan.exchanges == () and plan.cycles is None
    assert plan.largest_limit.name == "launches"
    assert plan.largest_limit.seconds == pytest.approx(plan.kernels * 0.5e-6)


def test_a_run_that_the_compiler_refuses_has_a_plan():
    plan = planned(65536, 32768, devices="v5e")
    assert plan.fits is False and plan.kernels is None
    assert plan.memory.temporaries > 0
    assert "exceeds available HBM" in plan.problem
    assert "it does not fit" in repr(plan)
