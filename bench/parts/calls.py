"""What a step or a call costs: a small model, predicting and evaluating, repeats, updates."""

from functools import partial
from typing import Any

from bench.data import laid_out
from bench.processes import Options, fresh, in_turns
from bench.sections import Content, Part, column, failures, joined, ratio, spread, table

STEPS = {
    "train": "`train`: the epoch is one program",
    "train_step": "`train_step`, jitted, over batches that lie on the device",
    "raw": "JAX by hand, batches gathered by NumPy",
}

FNET = "fnet"
PREDICTING: dict[str, tuple[str, dict[str, Any]]] = {
    FNET: ("with_fnet:inference", {}),
    "torch, batches of 500": ("with_torch:inference", {"batch_size": 500}),
    "torch, batches of 1,024": ("with_torch:inference", {"batch_size": 1024}),
    "Keras, batches as by default": ("with_keras:inference", {"batch_size": None}),
    "Keras, batches of 500": ("with_keras:inference", {"batch_size": 500}),
}

DEPTHS = (3, 20)
REPEATED = ("fit", "train", "evaluate", "predict")

LEAVES = (1, 100, 1000)
RULES = ("rmsprop", "adam")


def small(options: Options) -> Content:
    results = in_turns(options.rounds, {"small": partial(fresh, "jobs.calls:small")})
    return {"rounds": options.rounds, "results": results}


def small_section(content: Content) -> str:
    runs = content["results"]["small"]
    train = column(runs, "train")
    rows = []
    for key, name in STEPS.items():
        values = column(runs, key)
        rows.append([name, spread([1e6 * t for t in values], 0), ratio(values, train)])
    words = (
        "784-16-10 with batches of 32, where calling a step costs more than computing it. "
        "Microseconds a step over an epoch of 60,000 samples, up to seven times in turns in one "
        f"process. Processes: {content['rounds']}."
    )
    shown = table(["", "µs a step", "times `train`"], rows)
    return joined(words, shown, failures(content["results"]))


def inference(options: Options) -> Content:
    with laid_out() as laid:
        jobs = {
            name: partial(fresh, f"jobs.{job}", folder=laid.folder, **arguments)
            for name, (job, arguments) in PREDICTING.items()
        }
        results = in_turns(options.rounds, jobs)
    return {"rounds": options.rounds, "results": results}


def inference_section(content: Content) -> str:
    results = content["results"]
    rows = []
    for name, runs in results.items():
        cells = []
        for key in ("predict", "evaluate"):
            values, fnet = column(runs, key), column(results[FNET], key)
            cells += [spread([1e3 * t for t in values], 0), ratio(values, fnet)]
        rows.append([name, *cells])
    words = (
        "The headline's model on 60,000 images, from bytes in the host's memory to probabilities "
        "in the host's memory (`predict`), and to loss and accuracy (`evaluate`); each scales the "
        "bytes itself. The median of up to seven calls after a first one. "
        f"fnet uses its default batch size. Processes of each: {content['rounds']}."
    )
    head = ["", "predict, ms", "times fnet", "evaluate, ms", "times fnet"]
    return joined(words, table(head, rows), failures(results))


def calls(options: Options) -> Content:
    jobs = {str(depth): partial(fresh, "jobs.calls:repeated", depth=depth) for depth in DEPTHS}
    return {"rounds": options.rounds, "results": in_turns(options.rounds, jobs)}


def calls_section(content: Content) -> str:
    results = content["results"]
    rows = []
    for depth, runs in results.items():
        for name in REPEATED:
            whole, programs = (
                [1e3 * t for t in column(runs, key)] for key in (name, f"{name}, programs")
            )
            more = [one - other for one, other in zip(whole, programs, strict=True)]
            cells = [spread(milliseconds, 2) for milliseconds in (whole, programs, more)]
            rows.append([f"`{name}`, {depth} layers", *cells])
    words = (
        "A call that was compiled before, on 256 samples in the device's memory; `fit` and `train` "
        "run one epoch of two steps. The layers are dense, of width 16. The programs are the same "
        "compiled functions called directly, so the difference is Python: the checks of arguments, "
        "and in `fit` the record of the run. Medians of up to 200 calls in turns in one process. "
        f"Processes of each: {content['rounds']}."
    )
    head = ["", "the call, ms", "its programs, ms", "the difference, ms"]
    return joined(words, table(head, rows), failures(results))


def update(options: Options) -> Content:
    leaves = LEAVES[:2] if options.quick else LEAVES
    jobs = {str(number): partial(fresh, "jobs.calls:update", leaves=number) for number in leaves}
    return {"rounds": options.rounds, "results": in_turns(options.rounds, jobs)}


def update_section(content: Content) -> str:
    rows = []
    for leaves, runs in content["results"].items():
        for rule in RULES:
            fnet, optax = (column(runs, f"{library} {rule}") for library in ("fnet", "optax"))
            cells = [spread([1e6 * t for t in values], 0) for values in (fnet, optax)]
            rows.append([f"{int(leaves):,} × {rule}", *cells, ratio(optax, fnet)])
    words = (
        "One million float32 parameters, split into more and more arrays: new parameters and state "
        "from gradients, jitted, with parameters and state donated. Microseconds an update, all "
        f"four in turns in one process. Processes: {content['rounds']}."
    )
    shown = table(["arrays × rule", "fnet, µs", "optax, µs", "optax / fnet"], rows)
    return joined(words, shown, failures(content["results"]))


SMALL = Part("A small model", small, small_section)
INFERENCE = Part("Predicting and evaluating", inference, inference_section)
CALLS = Part("A repeated call", calls, calls_section)
UPDATE = Part("The optimizer's update", update, update_section)
