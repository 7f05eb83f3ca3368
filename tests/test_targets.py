"""Devices that are not here, where nothing is installed that compiles for them."""

import importlib.util
import os

import jax
import pytest

from fnet.planning.targets import FOR_LIBTPU, Target, for_libtpu, target


def test_devices_at_hand():
    here = target()
    assert here.here and list(here.devices) == jax.devices()
    assert here.platform == jax.default_backend()
    assert hash(here) == hash(target())


@pytest.mark.parametrize(
    "name, words",
    [
        ("b200", "name a kind that is known, v4, v5e, v5p, v6e, h100, got 'b200'"),
        ("v5e:4", "a slice of v5e in multiples of 2x2, or one chip, got 'v5e:4'"),
        ("v5e:2x2x1", "Write 'v5e', 'v5e:2x2' or 'v5e:4x4'"),
        ("v4:2x2", "a slice of v4 in multiples of 2x2x1"),
        ("v5e:0x2", "a slice of v5e"),
        ("h100:12", "1 to 8 GPUs, or whole hosts of 8, got 'h100:12'"),
        ("h100:0", "1 to 8 GPUs"),
        ("h100:two", "1 to 8 GPUs"),
    ],
)
def test_unknown_devices_are_refused_in_words(name, words):
    with pytest.raises(ValueError, match=words):
        target(name)


def test_a_target_is_a_name():
    with pytest.raises(TypeError, match="`devices` must be the name of devices, got 8"):
        target(8)


@pytest.mark.parametrize("name, module", [("v5e:2x2", "libtpu"), ("h100", "jax_plugins")])
def test_what_is_to_be_installed_is_said(name, module):
    if importlib.util.find_spec(module):
        assert isinstance(target(name), Target)
    else:
        with pytest.raises(ImportError, match=r'pip install "fnet-jax\[accelerators\]"'):
            target(name)


def test_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "mine")
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    before = dict(os.environ)
    with for_libtpu():
        assert os.environ["TPU_WORKER_HOSTNAMES"] == "mine"
        assert os.environ["TPU_ACCELERATOR_TYPE"] == FOR_LIBTPU["TPU_ACCELERATOR_TYPE"]
    assert dict(os.environ) == before
