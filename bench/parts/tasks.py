"""A VAE and an LSTM: `train` beside the same run by hand, as one scan and as a loop of steps."""

from functools import partial

from bench.processes import Options, fresh, in_turns
from bench.sections import Content, Part, column, failures, joined, ratio, spread, table

MODELS = {"vae": "VAE, 784-256-16-256-784", "lstm": "LSTM of 64 units over 28 rows of 28"}
WAYS = {
    "train": "`train`",
    "scan": "by hand, a jitted `lax.scan` over the epoch",
    "loop": "by hand, a jitted step in a Python loop",
}


def tasks(options: Options) -> Content:
    jobs = {name: partial(fresh, f"jobs.tasks:{name}") for name in MODELS}
    return {"rounds": options.rounds, "results": in_turns(options.rounds, jobs)}


def tasks_section(content: Content) -> str:
    rows = []
    for model, name in MODELS.items():
        runs = content["results"][model]
        train = column(runs, "train")
        for way, words in WAYS.items():
            values = column(runs, way)
            cells = [spread([1e3 * t for t in values], 2), ratio(values, train)]
            rows.append([name, words, *cells])
    words = (
        "An own task and a recurrent model, an epoch of 100 steps of 128 samples, with Adam. The "
        "run by hand computes the same in the same layout, Adam included, and gathers its batches "
        "on the device from a permutation. Milliseconds a step, up to 15 times in turns in one "
        f"process. Processes of each: {content['rounds']}."
    )
    return joined(
        words, table(["", "", "ms a step", "times `train`"], rows), failures(content["results"])
    )


TASKS = Part("A VAE and an LSTM", tasks, tasks_section)
