"""Training as a pure function: one step, and the whole run."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jax.sharding import Mesh

from ..core.checks import check_batch_size, check_count, check_data
from ..distributed.sharding import devices_of
from ..layers.base import Layer
from .epochs import History, in_order, run
from .state import TrainState, check_state
from .step import Logs, step
from .task import Batch, Loss, Objective, objective


def train_step(
    net: Layer,
    loss: Loss | str,
    metrics: Sequence[Loss | str] = (),
    compute_dtype: Any = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """One step of training as a pure function: forward pass, loss, gradient, update.

    Args:
        net: the model.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name; the step descends on its mean. A
            crossentropy behind a last softmax or sigmoid is computed from the logits, exactly.
        metrics: functions like `loss`, or their names.
        compute_dtype: that of the forward and the backward pass, such as `"bfloat16"`; parameters,
            loss and update stay in theirs. Losses are not scaled, which float16 may need. Unless
            given, everything is computed in the dtype of the parameters.

    Returns:
        `step(state, (x, y)) -> (state, logs)`, or with `(x, y, weights)` as for `train`; `logs`
        holds the batch's mean `loss` and metrics, from before the update. Jit it, or use it
        inside a function of your own.

    Raises:
        ValueError: an unknown name.
        TypeError: a `compute_dtype` that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> state = fnet.train_state(net, fnet.sgd(0.1), jax.random.key(0), (1,))
        >>> step = jax.jit(fnet.train_step(net, "mean_squared_error"))
        >>> x = jnp.linspace(-1, 1, 8).reshape(8, 1)
        >>> for _ in range(200):
        ...     state, logs = step(state, (x, 3 * x + 1))
        >>> params = state.params
        >>> round(params["kernel"].item(), 2), round(params["bias"].item(), 2)
        (3.0, 1.0)
    """
    return partial(step, objective(net, loss, metrics, compute_dtype=compute_dtype))


def train(
    net: Layer,
    state: TrainState,
    data: tuple[Any, ...],
    *,
    loss: Loss | str,
    epochs: int,
    batch_size: int | None,
    metrics: Sequence[Loss | str] = (),
    validation: tuple[Any, ...] | None = None,
    shuffle: bool = True,
    record: Sequence[str] = (),
    every: int = 1,
    compute_dtype: Any = None,
    mesh: Mesh | None = None,
    shardings: Any = None,
) -> tuple[TrainState, History]:
    """A whole run as one pure function, compiled as one program.

    Jit it with others, vmap it over states (ensembles, sweeps), differentiate through it. Every
    sample is used once an epoch; the last batch of an epoch holds what is left and is averaged
    over its own samples.

    Args:
        net: the model.
        state: where the run starts; it stays valid.
        data: `(x, y)`, arrays of the same length. They are used as they are, bytes stay bytes. Or
            `(x, y, weights)`, where the loss is that of each sample times its weight, averaged
            over the number of samples, as Keras has it; metrics are not weighted.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name, as for `train_step`.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent.
        metrics: functions like `loss`, or their names.
        validation: `(x, y)` to evaluate after each epoch.
        shuffle: whether the order is a new one each epoch, a function of `state.key` and the epoch.
        record: what to keep of single steps: `"loss"`, a metric by its name, `"grad_norm"`,
            `"param_norm"`, `"update_norm"`, `"learning_rate"`.
        every: keeps steps 0, every, 2 every, ... of each epoch only.
        compute_dtype: that of training's passes, as for `train_step`; validation is computed in
            the dtype of the parameters, as `evaluate` does.
        mesh: devices under named axes. Each batch is split over the axis "data", unless that does
            not divide it: then each device computes all of it, as often the last one of an epoch.
            Means and batch statistics are over the whole batch, so the result is that of one
            device within rounding. The data has a copy on each device.
        shardings: how the parameters lie on the mesh: a tree like them of NamedSharding, or a
            function `(net, params, mesh)` that gives one. Unless given, `fnet.shardings`, which
            cuts wide ones along the axis "model". The rest of the state follows.

    Returns:
        The state after the run, and the history: `loss` and metrics averaged over each epoch's
        training, and `val_...` of each where there is validation data, of shape `(epochs,)`. With
        `record` there is `history["record"]`, a dict of each series over the kept steps and of
        the number of their `step`.

    Raises:
        ValueError: empty data, lengths or shapes that do not fit, labels out of range (where they
            are known, that is outside of jit), a count below 1, an unknown name, a mesh without
            the axis "data", shardings that do not divide.
        TypeError: a state of another model, or one that is none; a mesh that is none, shardings of
            another tree.

    A derivative in reverse, such as `jax.grad` of a validation loss by the learning rate, computes
    steps again rather than keep them: memory grows with the square root of the steps.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net = fnet.dense(1)
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> x = jnp.linspace(-1, 1, 100).reshape(100, 1)
        >>> state, history = fnet.train(
        ...     net, state, (x, 3 * x), loss="mean_squared_error", epochs=4, batch_size=32
        ... )
        >>> history["loss"].shape, int(state.step)
        ((4,), 16)

        The same on all devices there are:

        >>> mesh = jax.make_mesh((jax.device_count(),), ("data",))
        >>> state, history = fnet.train(
        ...     net, state, (x, 3 * x), loss="mean_squared_error", epochs=4, batch_size=32,
        ...     mesh=mesh,
        ... )
        >>> len(state.params["kernel"].devices()) == jax.device_count()
        True
    """
    goal, state = objective(net, loss, metrics, record, every, compute_dtype), check_state(state)
    goal = replace(goal, devices=devices_of(net, state.params, mesh, shardings))
    arguments = check_run(goal, state, data, validation, epochs, batch_size)
    state, history = run(goal, goal.devices.shard_state(state), *arguments, shuffle)
    return state, in_order(goal, validation, history)


def check_run(
    goal: Objective,
    state: TrainState,
    data: tuple[Any, ...],
    validation: tuple[Any, ...] | None,
    epochs: int,
    batch_size: int | None,
) -> tuple[Batch, Batch | None, int, int]:
    """The arguments of a run, found good."""
    epochs, data = check_count("epochs", epochs), check_data("`data`", data)
    batch_size = check_batch_size(batch_size, data[0])
    goal.check(state.params, state.model_state, data, batch_size)
    if validation is not None:
        validation = check_data("`validation`", validation)
        goal.check(state.params, state.model_state, validation, batch_size)
    data, validation = goal.devices.replicate((data, validation))
    return data, validation, epochs, batch_size
