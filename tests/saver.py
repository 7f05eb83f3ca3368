"""Saves states into one file without end, for a test that kills it at any instant.

`python saver.py PATH`; each line that comes in, a step, forks a process which saves the states that
follow. It prints its number, then every step that is on the disk; after its death, `dead`.
"""

import itertools
import os
import sys

import numpy as np

import fnet

SIZE = 50_000


def state(step: int) -> fnet.TrainState:
    """Parameters and a memory that are functions of the step, in a file that grows and shrinks."""
    kernel = np.random.default_rng(step).normal(size=SIZE + step % 7 * 1000)
    return fnet.TrainState(
        params={"dense": {"kernel": kernel}},
        model_state={},
        optimizer=fnet.sgd(0.1),
        opt_state={"step": np.int32(step), "sum": kernel.sum()},
        key=np.zeros(2, np.uint32),
        step=np.int32(step),
    )


def save_without_end(path: str, step: int) -> None:
    say(os.getpid())
    for following in itertools.count(step + 1):
        fnet.save(path, state(following))
        say(following)


def say(word: object) -> None:
    os.write(1, f"{word}\n".encode())


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if not child:
            save_without_end(sys.argv[1], int(line))
        os.waitpid(child, 0)
        say("dead")
