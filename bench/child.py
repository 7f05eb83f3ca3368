"""The other side of `processes.fresh`: one call in a process of its own.

It imports next to nothing before the job does, since the job's clock is running.
"""

import importlib
import json
import sys
import traceback

from bench.clock import Clock


def main() -> None:
    name, arguments, began = sys.argv[1:]
    module, function = name.split(":")
    try:
        job = getattr(importlib.import_module(f"bench.jobs.{module}"), function)
        result = job(Clock(float(began)), **json.loads(arguments))
    except Exception as error:
        traceback.print_exc()
        first_line = next(iter(str(error).splitlines()), "")
        result = {"failed": f"{type(error).__name__}: {first_line}"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
