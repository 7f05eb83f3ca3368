"""What Windows has in place of locks of a whole file and of the sync of a folder."""

import errno
import os
import sys
import types

import chex
import jax
import jax.numpy as jnp
import pytest

import fnet


@pytest.fixture
def locks(monkeypatch):
    """The bytes that are locked, by a stand-in for the module of Windows."""
    held = set()

    def locking(descriptor, how, count):
        assert count == 1
        byte = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if how == module.LK_UNLCK:
            held.remove(byte)
        elif byte in held:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            held.add(byte)

    module = types.SimpleNamespace(locking=locking, LK_NBLCK=2, LK_UNLCK=0)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    monkeypatch.setitem(sys.modules, "fcntl", None)  # so that importing it fails
    monkeypatch.setattr(sys, "platform", "win32")
    return held


def test_a_folder_of_checkpoints_has_one_writer(locks, tmp_path):
    state = fnet.TrainState.create({"w": jnp.ones(3)}, "adam", jax.random.key(0))
    checkpoints = fnet.Checkpoints(tmp_path)
    with checkpoints.locked():
        assert len(locks) == 1
        with pytest.raises(ValueError, match=f"must have one writer, got .*process {os.getpid()} "):
            checkpoints(0, state)
    checkpoints(0, state)
    with pytest.raises(RuntimeError), checkpoints.locked():
        raise RuntimeError
    assert not locks
    found = checkpoints.latest(state)
    chex.assert_trees_all_equal(found.params, state.params)
    assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_no_folder_is_opened_to_sync_it(locks, tmp_path, monkeypatch):
    opened = []
    open_file = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *flags: opened.append(str(path)) or open_file(path, *flags)
    )
    fnet.save_weights(tmp_path / "weights.safetensors", {"w": jnp.ones(3)})
    assert [os.path.dirname(path) for path in opened] == [str(tmp_path)]
    chex.assert_trees_all_equal(
        fnet.load_weights(tmp_path / "weights.safetensors"), {"w": jnp.ones(3)}
    )
