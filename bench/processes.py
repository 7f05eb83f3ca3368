"""Measurements in fresh processes, so that no contender warms anything up for another."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.child import Result

ROOT = Path(__file__).parent.parent
MAIN = "from bench.child import main; main()"
TIMEOUT = 1800  # seconds; a job takes one to two minutes at most


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        rounds: how often every contender runs, in turns.
        epochs: of the headline job.
        only: the headline's contenders to run, all of them unless named.
        quick: whether growth, ensembles and updates try a few sizes only.
        gigabytes: how much data streaming lays out on the disk.
        anywhere: whether the accelerator's part runs on whatever device there is.
        out: the folder of `results/` and `README.md`.
    """

    rounds: int
    epochs: int
    only: tuple[str, ...]
    quick: bool
    gigabytes: float
    anywhere: bool
    out: Path


def fresh(
    job: str, *, cpu: bool = True, programs: str | None = None, **arguments: object
) -> Result:
    """Call `function` of `bench.module` in a new process.

    Args:
        job: "module:function".
        cpu: whether JAX is to stay on the CPU where there is an accelerator.
        programs: a folder in which JAX keeps compiled programs and finds those of earlier calls.
        arguments: what the function takes besides its clock, as JSON can carry it.

    Returns:
        What the function returned, or `{"failed": reason}`.
    """
    with tempfile.TemporaryDirectory() as caches:
        command = [sys.executable, "-c", MAIN, job, json.dumps(arguments)]
        environment = cold(caches) | ({"JAX_PLATFORMS": "cpu"} if cpu else {})
        environment |= warm(programs) if programs else {}
        try:
            process = subprocess.run(
                [*command, repr(time.time())],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"not finished after {TIMEOUT} s"}
    if process.returncode:
        return {"failed": f"the process ended with code {process.returncode}"}
    result: Result = json.loads(process.stdout.splitlines()[-1])
    if "failed" in result:
        print(process.stderr, file=sys.stderr)
        result["failed"] = without_paths(result["failed"])
    return result


def cold(caches: str) -> dict[str, str]:
    """The environment without any cache of compiled programs that outlives a process.

    Python may keep the bytecode of fnet, as pip does that of the others when it installs them.
    """
    dropped = "JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"
    environment = {k: v for k, v in os.environ.items() if k not in dropped}
    return environment | {
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": caches,
        "TORCHINDUCTOR_CACHE_DIR": caches,
        "TRITON_CACHE_DIR": caches,
    }


def warm(programs: str) -> dict[str, str]:
    """What makes JAX keep every program, as `fnet.cache_programs` does."""
    return {
        "JAX_COMPILATION_CACHE_DIR": programs,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def in_turns(rounds: int, jobs: Mapping[str, Callable[[], Result]]) -> dict[str, list[Result]]:
    """The results of every job, A B C A B C, so that a slow minute of the machine hits all."""
    results: dict[str, list[Result]] = {name: [] for name in jobs}
    for number in range(1, rounds + 1):
        for name, job in jobs.items():
            if any("failed" in result for result in results[name]):
                continue  # once is enough
            began = time.time()
            results[name].append(job())
            reason = results[name][-1].get("failed", "")
            print(f"round {number}: {name}, {time.time() - began:.1f} s {reason}", flush=True)
    return results


def without_paths(text: str) -> str:
    """A reason in one short line, which says nothing of the machine's folders."""
    return re.sub(r"(?:/[^\s/:'\"]+)+/", "", text)[:300]
