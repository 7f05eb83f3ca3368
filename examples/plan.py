"""A plan before the run: what a training run takes, on devices that are here and on others.

    python examples/plan.py
    python examples/plan.py --devices v5e:16x16 --data 16 --model 16
    python examples/plan.py --devices h100:8 --data 8

Without `--devices` it plans the main job on the devices at hand; with it a transformer of 0.94
billion parameters on those named, for which `pip install "fnet-jax[accelerators]"` is enough.
"""

import argparse
from typing import Any

import jax

import fnet

DEPTH, WIDTH, HEADS, LETTERS, LENGTH = 16, 2048, 16, 2**15, 1024


def main_job() -> tuple[fnet.Task, Any, Any]:
    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(512),
        fnet.relu,
        fnet.dense(10),
        fnet.softmax,
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    state = jax.eval_shape(lambda: fnet.train_state(net, "rmsprop", jax.random.key(0), (28, 28)))
    images = jax.ShapeDtypeStruct((60000, 28, 28), "uint8")
    return task, state, (images, jax.ShapeDtypeStruct((60000,), "int32"))


def transformer() -> tuple[fnet.Task, Any, Any]:
    block = fnet.sequential(
        fnet.residual(fnet.layer_norm(), fnet.attention(HEADS, causal=True)),
        fnet.residual(fnet.layer_norm(), fnet.dense(4 * WIDTH), fnet.gelu, fnet.dense(WIDTH)),
    )
    net = fnet.sequential(
        fnet.embedding(LETTERS, WIDTH),
        fnet.learned_positions(),
        fnet.scan_layers(fnet.remat(block), DEPTH),
        fnet.layer_norm(),
        fnet.dense(LETTERS),
        fnet.softmax,
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy", compute_dtype="bfloat16")
    # No array is made: four gigabytes of parameters are only shapes here.
    state = jax.eval_shape(lambda: fnet.train_state(net, "adamw", jax.random.key(0), (LENGTH,)))
    letters = jax.ShapeDtypeStruct((4096, LENGTH), "int32")
    return task, state, (letters, letters)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", help='such as "v5e:16x16" or "h100:8"')
    parser.add_argument("--data", type=int, help='length of the axis "data"')
    parser.add_argument("--model", type=int, default=1, help='length of the axis "model"')
    parser.add_argument("--batch-size", type=int)
    given = parser.parse_args()
    if given.devices is None:
        print(fnet.plan(*main_job(), batch_size=given.batch_size or 128))
        return
    shape = {"data": given.data, "model": given.model} if given.data else None
    print(
        fnet.plan(
            *transformer(),
            batch_size=given.batch_size or 256,
            devices=given.devices,
            mesh_shape=shape,
        )
    )


if __name__ == "__main__":
    main()
