"""An exported run on a runtime that is not JAX: IREE compiles it and takes the same steps."""

import jax
import numpy as np
import pytest
from problems import images, task

import fnet
from fnet.files.trees import named

pytestmark = pytest.mark.accelerators
compiler = pytest.importorskip("iree.compiler")
runtime = pytest.importorskip("iree.runtime")

NET = fnet.sequential(
    fnet.rescale(1 / 255), fnet.flatten, fnet.dense(8), fnet.relu, fnet.dense(3), fnet.softmax
)


def test_iree_takes_the_steps_of_train():
    """Shuffled, with a smaller last batch and validation."""
    data, validation = images(22), images(10, seed=1)
    state = fnet.train_state(NET, "adam", jax.random.key(0), (4, 4))
    options = {"epochs": 3, "batch_size": 8, "validation": validation}
    blob = fnet.export_run(task(NET), state, data, platforms=["cpu"], **options)
    exported = jax.export.deserialize(bytearray(blob[48:]))
    program = compiler.compile_str(
        exported.mlir_module(),
        target_backends=["llvm-cpu"],
        input_type="stablehlo",
        extra_args=["--iree-llvmcpu-target-cpu=generic"],
    )
    module = runtime.load_vm_flatbuffer(program, driver="local-task")
    arguments = [np.asarray(leaf) for leaf in jax.tree.leaves((named(state), data, validation))]
    outputs = module.main(*(arguments[i] for i in exported.module_kept_var_idx))
    arrays, history = jax.tree.unflatten(exported.out_tree, map(np.asarray, outputs))
    end, logs = fnet.train(task(NET), state, data, **options)
    assert arrays["step"] == end.step == 9
    for name in ("loss", "accuracy", "val_loss"):
        np.testing.assert_allclose(history[name], logs[name], rtol=1e-4)
    np.testing.assert_allclose(
        arrays["params/dense/kernel"], end.params["dense"]["kernel"], rtol=1e-3, atol=1e-5
    )
