"""Epochs that save checkpoints, and epochs over images that stay on the disk."""

import tempfile
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnet
from bench.child import Clock, Result, peak_mib, time_in_turns
from bench.data import BATCH_SIZE, synthetic
from bench.jobs.with_fnet import load, network, start, task

BLOCK = 2**17  # images that are made at a time


def saving(
    clock: Clock, folder: str, whole: bool, every: dict[str, int | None], turns: int
) -> Result:
    """Seconds of an epoch for each way to save, in turns; 0 saves nothing."""
    data, net = jax.tree.map(jnp.asarray, load(folder, whole)[0]), network()
    state, megabytes = start(net), 0.0
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for turn in range(turns + 1):
        for name, steps in every.items():
            with tempfile.TemporaryDirectory() as directory:
                checkpoints = fnet.Checkpoints(directory, every=steps or None)
                began = clock.now()
                fnet.fit(
                    task(net), state, data, batch_size=BATCH_SIZE,
                    callbacks=[] if steps == 0 else [checkpoints],
                )  # fmt: skip
                ended = clock.now()
                sizes = [checkpoints.path(n).stat().st_size for n in checkpoints.steps()]
            megabytes = max([megabytes, *sizes])
            if turn:  # the first one compiles
                seconds[name].append(ended - began)
    return {"seconds": seconds, "megabytes": megabytes / 1e6}


def lay_out(clock: Clock, folder: str, samples: int) -> Result:
    """Images and labels in two files, block after block of the same ones, each turned by one."""
    images, labels = synthetic(min(BLOCK, samples))
    with Path(folder, "x").open("wb") as x, Path(folder, "y").open("wb") as y:
        for begin in range(0, samples, BLOCK):
            size, turn = min(BLOCK, samples - begin), begin // BLOCK
            np.roll(images[:size], turn, axis=-1).tofile(x)
            np.roll(labels[:size], turn).tofile(y)
    return {}


def mapped(folder: str) -> Any:
    labels = np.memmap(Path(folder, "y"), np.int32, "r")
    return np.memmap(Path(folder, "x"), np.uint8, "r", shape=(len(labels), 28, 28)), labels


def epoch(data: Any) -> Any:
    net = network()
    options: dict[str, Any] = {"batch_size": BATCH_SIZE, "progress": False}
    return jax.block_until_ready(fnet.fit(task(net), start(net), data, **options))


def beside(clock: Clock, folder: str) -> Result:
    """Seconds of an epoch of both, in turns in one process, and whether their bits are the same."""
    rows = mapped(folder)
    whole = tuple(jnp.asarray(np.array(column)) for column in rows)
    pairs = zip(*(jax.tree.leaves(epoch(data)[0].params) for data in (rows, whole)), strict=True)
    same = all(bool((a == b).all()) for a, b in pairs)
    calls = {"memmap": lambda: epoch(rows), "memory": lambda: epoch(whole)}
    return {**time_in_turns(calls, seconds=120.0, warm=False), "same": same}


def alone(clock: Clock, folder: str) -> Result:
    """An epoch from the disk, and the most memory of its own that the process held meanwhile."""
    ended, anonymous = threading.Event(), [own_mib()]

    def watch() -> None:
        while not ended.wait(0.02):
            anonymous.append(own_mib())

    watching = threading.Thread(target=watch)
    watching.start()
    began = clock.now()
    try:
        epoch(mapped(folder))
    finally:
        ended.set()
        watching.join()
    return {"seconds": clock.now() - began, "own_mib": max(anonymous), "peak_mib": peak_mib()}


def own_mib() -> float:
    """Resident memory without mapped files, whose pages the system takes back at need."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_mib()
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024
