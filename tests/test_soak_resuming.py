"""A run that is killed again and again ends with the bits of the one that is not."""

import hashlib
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from problems import bits, images, start, task

import fnet

KILLS = 8
RUN = {
    "epochs": 40, "batch_size": 8, "record": ["grad_norm"],
    "progress": False,
}  # fmt: skip


def digest(tree) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(bits(tree))
    parts = [f"{path} {np.asarray(leaf).tobytes().hex()}" for path, leaf in leaves]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def run(directory=None) -> str:
    """The digest of a run with dropout, batch norm, Adam and a schedule, slow enough to be hit."""
    state = start(optimizer=fnet.adam(fnet.cosine(0.01, 280)))
    options = {}
    if directory:
        checkpoints = fnet.Checkpoints(directory, every=3)
        options = {"callbacks": [checkpoints, lambda *_: time.sleep(0.05)], "resume": "auto"}
    return digest(fnet.fit(task(), state, images(50), **options, **RUN))


@pytest.mark.soak
@pytest.mark.parametrize("number", [0, 1])
def test_killed_at_random_instants(number, request, tmp_path, figures):
    code = f"import sys; sys.path.insert(0, {str(request.path.parent)!r})\n"
    code += f"from test_soak_resuming import run; print(run({str(tmp_path)!r}))"
    checkpoints, random = fnet.Checkpoints(tmp_path), np.random.default_rng(number)
    steps, within = [0], 0
    for _ in range(KILLS // 2):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        while child.poll() is None and max(checkpoints.steps(), default=0) <= steps[-1]:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
        child.kill()
        assert child.communicate()[0] == ""  # it was not at its end
        steps.append(max(checkpoints.steps()))
        within += steps[-1] % 7 > 0
    assert within, "all of them at the end of an epoch, where it is easier"
    last = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert last.stdout.strip() == run()
    figures(
        f"a run of 280 steps killed {KILLS // 2} times and resumed, {number + 1} of 2",
        f"the bits of the run that was not, history included; {within} times within an epoch",
    )
