"""What an import costs."""

import os
import statistics
import subprocess
import sys
import time
from functools import partial

from bench.processes import ROOT, Options, in_turns
from bench.sections import Content, Part, column, joined, spread, table

STATEMENTS = ("pass", "import numpy", "import jax", "import fnet")
ROUNDS = 15  # at least, since a process takes a second
CACHED = {"PYTHONDONTWRITEBYTECODE": ""}  # a second import reads bytecode, wherever this runs


def measure(options: Options) -> Content:
    jobs = {statement: partial(seconds, statement) for statement in STATEMENTS}
    in_turns(1, jobs)  # reads the files into the machine's memory, and writes bytecode
    rounds = max(options.rounds, ROUNDS)
    return {"rounds": rounds, "results": in_turns(rounds, jobs)}


def seconds(statement: str) -> Content:
    code = f"{statement}\nimport time\nprint(time.time())"
    began = time.time()
    command, env = [sys.executable, "-c", code], os.environ | CACHED
    printed = subprocess.check_output(command, cwd=ROOT, env=env, text=True)
    return {"seconds": float(printed) - began}


def section(content: Content) -> str:
    milliseconds = {
        statement: [1e3 * t for t in column(runs, "seconds")]
        for statement, runs in content["results"].items()
    }
    rows = [[f"`{name}`", spread(values, 0)] for name, values in milliseconds.items()]
    pairs = zip(milliseconds["import jax"], milliseconds["import fnet"], strict=True)
    more = [fnet - jax for jax, fnet in pairs]
    words = (
        "Milliseconds from before the start of a fresh process to the end of the statement, in "
        f"turns. Processes of each: {content['rounds']}."
    )
    verdict = (
        f"`import fnet` takes {statistics.median(more):.0f} ms more than the `import jax` inside "
        f"it, the median of each round's difference ({min(more):.0f} to {max(more):.0f})."
    )
    return joined(words, table(["statement", "ms"], rows), verdict)


IMPORT = Part("Importing", measure, section)
