"""The command line of the benchmarks.

python -m bench                         everything, then README.md and its pictures
python -m bench headline --rounds 1     one part, then README.md
python -m bench report                  README.md and its pictures from the JSON alone
"""

import argparse
import time
from pathlib import Path

from bench import report
from bench.data import EPOCHS
from bench.parts.headline import CONTENDERS
from bench.processes import Options


def main() -> None:
    names = ", ".join(report.PARTS)
    parser = argparse.ArgumentParser(prog="python -m bench")
    add = parser.add_argument
    add("parts", nargs="*", help=f"{names}, report; all of them if none is named")
    add("--rounds", type=int, default=3, help="fresh processes a contender; %(default)s")
    add("--epochs", type=int, default=EPOCHS, help="of the headline job, 2 or more; %(default)s")
    add("--only", nargs="+", default=(), metavar="NAME", help="contenders of the headline")
    add("--quick", action="store_true", help="try few sizes of everything")
    add("--gigabytes", type=float, default=10.0, help="of streaming, on the disk; %(default)s")
    add("--anywhere", action="store_true", help="the accelerator's part on any device, for a trial")
    add("--out", type=Path, default=Path(__file__).parent, help="where the files go")
    given = parser.parse_args()
    if unknown := set(given.parts) - {*report.PARTS, "report"}:
        parser.error(f"no part is named {', '.join(sorted(unknown))}; there are {names}, report")
    if unknown := set(given.only) - {*CONTENDERS}:
        contenders = ", ".join(map(repr, CONTENDERS))
        parser.error(f"no contender is {', '.join(sorted(unknown))}; there are {contenders}")
    if given.gigabytes <= 0:
        parser.error("streaming needs some bytes: --gigabytes above 0")
    if given.rounds < 1 or given.epochs < 2:
        parser.error("it takes 1 round and 2 epochs at least, since the first epoch compiles")

    values = {name: value for name, value in vars(given).items() if name != "parts"}
    options = Options(**values | {"only": tuple(given.only)})
    for name in given.parts or report.PARTS:
        if name in report.PARTS:
            print(f"== {name}", flush=True)
            began = time.time()
            content = report.PARTS[name].measure(options)
            if content is not None:
                report.save(options.out / "results", name, content)
            done = "cannot be measured here" if content is None else "measured"
            print(f"== {name} {done} after {time.time() - began:.0f} s", flush=True)
    report.write(options.out)


if __name__ == "__main__":
    main()
