"""Training as a pure function: the whole run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jax.sharding import Mesh

from ..core.checks import check_batch_size, check_count
from ..core.tracebacks import api_boundary
from ..core.values import describe
from ..data.batches import num_samples
from ..distributed.sharding import Devices, devices_of
from .epochs import in_order, run
from .evaluate import check_evaluation
from .history import History
from .program import Program, Value, make_program, training_values
from .signature import batch_like
from .state import TrainState, check_state
from .task import Batch, Task


@api_boundary
def train(
    task: Task,
    state: TrainState,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = 32,
    steps: int | None = None,
    validation: Any = None,
    shuffle: bool = True,
    record: Sequence[str] = (),
    record_every: int = 1,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> tuple[TrainState, History]:
    """A whole run as one pure function, compiled as one program.

    Jit it with others, vmap it over states (ensembles, sweeps), differentiate through it. Every
    sample is used once an epoch; the last batch of an epoch holds what is left and is averaged
    over its own samples.

    Args:
        task: what to minimise, see `supervised` and `fnet.task`.
        state: where the run starts; it stays valid.
        data: what the task takes, such as `(x, y)`: a tree of arrays with the samples in axis 0 of
            every leaf. Bytes stay bytes. None for a task that draws its own.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent.
        steps: the length of an epoch where `data` is None, in steps.
        validation: data like `data`, evaluated after each epoch.
        shuffle: whether each epoch has an order of its own, a function of `state.key` and the
            epoch.
        record: what to keep of single steps: `"loss"`, a metric by its name, `"grad_norm"`,
            `"param_norm"`, `"update_norm"`, `"learning_rate"`.
        record_every: keeps only steps 0, n, 2n, ... of each epoch.
        mesh: devices under named axes. Each batch is split over the axis "data". A batch whose
            size the axis does not divide, often the last of an epoch, is computed whole on each
            device. Means and batch statistics are those of the whole batch, so the result is that
            of one device within rounding. Each device holds a copy of the data or, if that takes
            more than a quarter of its memory and the axis divides the samples, a part of them.
        shardings: how the parameters lie on the mesh: a function `(params, mesh) -> tree` such as
            `fnet.fsdp`, or a tree of NamedSharding like them. By default `fnet.shardings`, which
            cuts wide kernels over the axis "model". The rest of the state follows.

    Returns:
        The state after the run, and the history: `loss` and metrics averaged over each epoch's
        training, and `val_...` of each with validation data, of shape `(epochs,)`. With
        `record` there is `history["record"]`, a dict of each series over the kept steps and of
        the number of their `step`.

    Raises:
        ValueError: empty data, lengths or shapes that do not fit, labels out of range (outside of
            jit, where they are known), a count below 1, an unknown name, a mesh without the axis
            "data", or shardings that do not divide.
        TypeError: `task` is not a task, `state` belongs to another model or is not a TrainState,
            `mesh` is not a mesh, or `shardings` is a tree unlike the parameters.

    A reverse-mode derivative, such as `jax.grad` of a validation loss by the learning rate,
    computes steps again instead of keeping them: memory grows with the square root of the steps.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> x = jnp.linspace(-1, 1, 100).reshape(100, 1)
        >>> state, history = fnet.train(task, state, (x, 3 * x), epochs=4, batch_size=32)
        >>> history["loss"].shape, int(state.step)
        ((4,), 16)

        The same on all devices there are:

        >>> mesh = jax.make_mesh((jax.device_count(),), ("data",))
        >>> state, history = fnet.train(
        ...     task, state, (x, 3 * x), epochs=4, batch_size=32, mesh=mesh
        ... )
        >>> len(state.params["kernel"].devices()) == jax.device_count()
        True
    """
    devices = devices_of(check_state(state).params, mesh, shardings)
    program, *arguments = check_run(
        task, state, data, validation, epochs, batch_size, steps, record, record_every, devices
    )
    data, validation, *counts = arguments
    data, validation = devices.spread(data), devices.spread(validation)
    state = devices.shard_state(state)
    state, history = run(program, state, data, validation, *counts, shuffle, steps)
    return state, in_order(program, history)


def check_run(
    task: Task,
    state: TrainState,
    data: Any,
    validation: Any,
    epochs: int,
    batch_size: int | None,
    steps: int | None,
    record: Sequence[str],
    record_every: int,
    devices: Devices,
) -> tuple[Program, Batch, Batch | None, int, int]:
    """The program of a run, and its other arguments, checked."""
    program, epochs = (
        make_program(task, record, record_every, devices),
        check_count("epochs", epochs),
    )
    data = task.check_data("`data`", data)
    check_steps(data, steps)
    batch_size = 1 if data is None else check_batch_size(batch_size, num_samples(data))
    program = program.with_values(check_fit(task, state, "`data`", data, batch_size))
    program, validation = with_validation(program, state, validation)
    return program, data, validation, epochs, batch_size


def check_steps(data: Any, steps: int | None) -> None:
    """The length of an epoch is that of its data, or `steps`."""
    if data is not None and steps is not None:
        raise ValueError(
            f"`steps` must be left out with data, whose samples an epoch uses once, got {steps!r} "
            f"and {describe(data)}. Change `epochs` or `batch_size`."
        )
    if data is None:
        if steps is None:
            raise ValueError(
                "`steps` must be the length of an epoch where `data` is None, got None for both. "
                "Write steps=100, or pass data."
            )
        check_count("steps", steps)


def check_fit(
    task: Task, state: TrainState, argument: str, data: Batch, batch_size: int
) -> tuple[Value, ...]:
    """Refuse data that does not fit the task and the state; the task's values."""
    batch = batch_like(data, batch_size)
    values = training_values(task, state.params, state.model_state, batch, state.key)
    task.check_values(argument, state.params, state.model_state, data)
    return values


def with_validation(
    program: Program, state: TrainState, validation: Any
) -> tuple[Program, Batch | None]:
    """The program with the names of what validation data evaluates to, and that data, checked."""
    if validation is None:
        return program, None
    task = program.task
    validation = task.check_data("`validation`", validation)
    names = check_evaluation(task, state.params, state.model_state, "`validation`", validation, 1)
    return replace(program, val_names=names), validation
