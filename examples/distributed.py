"""The main job on many processes, each with its own devices and its own rows of every batch.

    python examples/distributed.py                 # SLURM, Kubernetes, TPU: found by JAX
    python examples/distributed.py --coordinator host:1234 --processes 2 --process 0   # and 1

The folder of the checkpoints is one that all processes share. Kill any process, or send SIGTERM to
one, and start all of them again: the run goes on from its newest checkpoint.
"""

import argparse
import os
import sys
from typing import Any

import jax

import fnet


def main() -> None:
    fnet.cache_programs()
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--coordinator", help="address:port of process 0")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int, help="the number of this one, from 0")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--checkpoints", help="a folder that all processes share")
    parser.add_argument("--every", type=int, help="steps between checkpoints, or each epoch")
    parser.add_argument("--data-dir", help="a folder with the four MNIST files")
    args = parser.parse_args()

    try:
        jax.distributed.initialize(args.coordinator, args.processes, args.process)
    except ValueError:
        if args.coordinator:
            raise
        print("no cluster is found: training on this process alone")
    first = jax.process_index() == 0
    try:
        train, test = fnet.datasets.mnist(args.data_dir)
    except FileNotFoundError:
        train, test = fnet.datasets.mnist_5k()

    net = fnet.sequential(
        fnet.rescale(1 / 255),
        fnet.flatten,
        fnet.dense(512),
        fnet.relu,
        fnet.dense(10),
        fnet.softmax,
    )
    task = fnet.supervised(net, "sparse_categorical_crossentropy", metrics=["accuracy"])
    state = fnet.train_state(net, "rmsprop", jax.random.key(0), (28, 28))
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    batches = fnet.host_batches(train, args.batch_size, mesh, key=state.key)

    saving: dict[str, Any] = {}
    if args.checkpoints:
        checkpoints = fnet.OrbaxCheckpoints(args.checkpoints, every=args.every)
        saving = {"callbacks": [checkpoints], "resume": "auto"}
    try:
        state, _ = fnet.fit(
            task, state, batches, epochs=args.epochs, mesh=mesh, progress=first, **saving
        )
    except jax.errors.JaxRuntimeError as error:
        print(f"process {jax.process_index()} stops: {error}", *error.__notes__, file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # a farewell to the others would wait for the one that is gone

    params = jax.device_get(state.params)  # each process has a copy of them
    if first:
        logs = fnet.evaluate(task, params, test)
        print(f"number of processes {jax.process_count()}: test accuracy {logs['accuracy']:.4f}")


if __name__ == "__main__":
    main()
