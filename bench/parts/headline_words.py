"""The headline's tables and sentences."""

import statistics

from bench import headline_job, markdown
from bench.parts.headline_figures import FIT, figures, floor, names
from bench.results import Content, column, reasons

COLUMNS = {  # key: head and digits
    "first step": ("first step, s", 1),
    "steady": ("s an epoch", 2),
    "total": ("whole job, s", 1),
    "memory": ("peak memory, MiB", 0),
    "accuracy": ("test accuracy", 4),
}


def words(content: Content) -> str:
    parts = [told(content), figures_table(content), failed(content)]
    if FIT in names(content):
        parts += [ratio_table(content), progress(content), to_the_floor(content)]
    parts.append("![Seconds an epoch and of the whole job](results/headline.png)")
    return "\n\n".join(part for part in parts if part)


def failed(content: Content) -> str:
    parts = (reasons(content[part]) for part in ("contenders", "first_steps", "beside", "peaks"))
    return "\n".join(markdown.failures(part) for part in parts if part)


def told(content: Content) -> str:
    inputs, hidden, classes = headline_job.SIZES
    data = (
        "MNIST"
        if content["whole_mnist"]
        else "the digits that come with fnet, repeated (MNIST was not to be had)"
    )
    samples = headline_job.SAMPLES
    rest = samples % headline_job.BATCH_SIZE
    late = [
        f"{name} has done {run['steps']} by then"
        for name, runs in content["first_steps"].items()
        for run in runs[:1]
        if run.get("steps", 1) != 1
    ]
    return f"""{inputs}-{hidden}-{classes}, relu and softmax, RMSProp with learning rate
{headline_job.LEARNING_RATE}, rho {headline_job.RHO} and epsilon {headline_job.EPSILON}, batches of
{headline_job.BATCH_SIZE} in a new order each epoch and the smaller last one of {rest} too,
{content["epochs"]} epochs of {samples:,} images of {data}; rounds: {content["rounds"]}.

- Seconds count from the moment before the process is started, so they hold Python's start, all
  imports, reading and unzipping the data, and compiling.
- *First step*: when the parameters after the first step are ready. Loops in Python wait for that
  step once. `fit` and Keras take it inside a call, so it is measured in another process: Keras is
  left by an exception in a callback after the first batch; `fit` gets a Ctrl-C while it traces its
  first call, after which it returns.{f" Not one step: {'; '.join(late)}." if late else ""} `train`
  is one program, which has no first step to be seen.
- *Seconds an epoch*: from the end of the first epoch to the end of the last; of `train` a second
  call.
- *Whole job*: until the last epoch ends. *Memory*: the largest resident set until then.
- *Test accuracy* is taken afterwards, and shows that all do the same work.
- fnet reads MNIST through `fnet.datasets`, with its checksums; the others through a few lines of
  NumPy, to float32 images. The Python loops of JAX by hand, stax, flax, equinox and NumPy gather
  their batches on the host, and donate their buffers; JAX by hand is there without that too, as
  tutorials write it. Flax runs in its functional loop. `fit` writes
  its progress line to a pipe, and Keras too. PyTorch has its data as tensors, all cores, and
  denormals flushed; compiled, its loss and update are so once for all lengths of a batch. Its
  RMSProp has epsilon outside of the root, the others inside."""


def figures_table(content: Content) -> str:
    rows = []
    for name in names(content):
        values = figures(content, name)
        cells = [markdown.spread(values[key], digits) for key, (_, digits) in COLUMNS.items()]
        rows.append([name, *cells])
    return markdown.table(["", *(head for head, _ in COLUMNS.values())], rows)


def ratio_table(content: Content) -> str:
    keys = [key for key in COLUMNS if key != "accuracy"]
    fit = figures(content, FIT)
    rows = []
    for name in names(content):
        values = figures(content, name)
        rows.append([name, *(markdown.ratio(values[key], fit[key]) for key in keys)])
    head = ["", "first step", "an epoch", "whole job", "peak memory"]
    return f"The same as multiples of `fit`'s medians:\n\n{markdown.table(head, rows)}"


def progress(content: Content) -> str:
    runs = content["beside"]["fit and train"]
    fit, train = column(runs, "fit"), column(runs, "train")
    if not fit:
        return ""
    ratios = [one / other for one, other in zip(fit, train, strict=True)]
    apart = ""
    if "fnet train" in names(content):
        medians = (figures(content, name)["steady"] for name in (FIT, "fnet train"))
        apart = f" Between the processes of the table it is {markdown.ratio(*medians)}."
    return (
        f"`fit` with its progress line takes {markdown.spread(ratios, 3)} times as long an epoch "
        f"as `train`, both called in turns in one process, the median of its turns a round; its "
        f"first epoch, in which its calls grow, is left out.{apart}"
    )


def to_the_floor(content: Content) -> str:
    library, rate, seconds = floor(content)
    flops = headline_job.flops() * headline_job.SAMPLES / 1e9
    steady = statistics.median(figures(content, FIT)["steady"])
    return (
        f"The floor: an epoch's matrix products (forward, the gradients of both kernels, and the "
        f"gradient of the hidden layer) are {flops:.1f} GFLOP. The best float32 product of large "
        f"matrices in these rounds, of NumPy, JAX and PyTorch, was {library}'s with {rate:.0f} "
        f"GFLOP/s, at which they would take {seconds:.2f} s. `fit` takes {steady:.2f} s, so it "
        f"computes at {seconds / steady:.0%} of the peak."
    )
