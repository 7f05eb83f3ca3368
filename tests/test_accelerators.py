"""What fnet makes for TPU and GPU, compiled without one: `make accelerators`."""

import json
from pathlib import Path

import jax
import pytest

pytestmark = pytest.mark.accelerators
pytest.importorskip("libtpu", reason="make accelerators")
pytest.importorskip("jax_plugins.xla_cuda13", reason="make accelerators")

from bench.jobs.compiled import PROGRAMS, TARGETS, compiled, lowered  # noqa: E402
from fnet.planning.targets import target  # noqa: E402

RESULTS = Path(__file__).parent.parent / "bench" / "results" / "accelerators.json"
RECORDED = json.loads(RESULTS.read_text())["rows"]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_step_is_as_it_was_recorded(program, name):
    devices = target(TARGETS[name])
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as for users
        figures = compiled(lowered(program, devices), devices).figures
    before = RECORDED[name][program]
    assert figures.host_waits(devices.platform) <= before["host_waits"]
    assert figures.kernels <= 1.1 * before["kernels"]


@pytest.mark.parametrize(
    "name, count, kind",
    [
        ("v4", 1, "TPU v4"),
        ("v4:2x2x1", 4, "TPU v4"),
        ("v5e:16x16", 256, "TPU v5 lite"),
        ("v5p:2x2x1", 4, "TPU v5"),
        ("v6e:4x4", 16, "TPU v6 lite"),
        ("h100:16", 16, "NVIDIA H100 80GB HBM3"),
    ],
)
def test_devices_by_name(name, count, kind):
    devices = target(name).devices
    assert len(devices) == count
    assert {device.device_kind for device in devices} == {kind}


def test_hosts_have_eight_gpus():
    assert [device.process_index for device in target("h100:16").devices] == [0] * 8 + [1] * 8


def test_a_slice_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="a slice of v5e in multiples of 2x2, .* got 'v5e:3x3'"):
        target("v5e:3x3")
