"""Training as a pure function: one step, and the whole run."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .checks import check_batch_size, check_count, check_data
from .contract import Layer
from .data import feistel, order_key, round_keys, step_key
from .inference import means
from .model import forward
from .objective import Loss, Objective, objective
from .state import TrainState, check_state

Batch = tuple[jax.Array, jax.Array]
Logs = dict[str, jax.Array]


def train_step(
    net: Layer, loss: Loss | str, metrics: Sequence[Loss | str] = ()
) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """One step of training as a pure function: forward pass, loss, gradient, update.

    Args:
        net: the model.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name; the step descends on its mean. A
            crossentropy behind a last softmax or sigmoid is computed from the logits, exactly.
        metrics: functions like `loss`, or their names.

    Returns:
        `step(state, (x, y)) -> (state, logs)`; `logs` holds the batch's mean `loss` and metrics,
        from before the update. Jit it, or use it inside a function of your own.

    Raises:
        ValueError: an unknown name.

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
    return partial(step, objective(net, loss, metrics))


def step(goal: Objective, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    x, y = batch

    def mean_loss(params: Any) -> tuple[jax.Array, Any]:
        key = step_key(state.key, state.step)
        output, model_state = forward(goal.body, params, state.model_state, x, key)
        values = goal.values(y, output)
        return values["loss"].mean(), (values, model_state)

    grads, (values, model_state) = jax.grad(mean_loss, has_aux=True)(state.params)
    params, opt_state = state.optimizer.update(grads, state.opt_state, state.params)
    state = replace(
        state, params=params, model_state=model_state, opt_state=opt_state, step=state.step + 1
    )
    return state, {name: value.mean() for name, value in values.items()}


def train(
    net: Layer,
    state: TrainState,
    data: tuple[Any, Any],
    *,
    loss: Loss | str,
    epochs: int,
    batch_size: int | None,
    metrics: Sequence[Loss | str] = (),
    validation: tuple[Any, Any] | None = None,
    shuffle: bool = True,
) -> tuple[TrainState, Logs]:
    """A whole run as one pure function, compiled as one program.

    Jit it with others, vmap it over states (ensembles, sweeps), differentiate through it. Every
    sample is used once an epoch; the last batch of an epoch holds what is left and is averaged
    over its own samples.

    Args:
        net: the model.
        state: where the run starts; it stays valid.
        data: `(x, y)`, arrays of the same length. They are used as they are, bytes stay bytes.
        loss: `loss(y_true, y_pred) -> (batch,)`, or its name, as for `train_step`.
        epochs: how often every sample is used.
        batch_size: samples a step; None for all of them, which is gradient descent.
        metrics: functions like `loss`, or their names.
        validation: `(x, y)` to evaluate after each epoch.
        shuffle: whether the order is a new one each epoch, a function of `state.key` and the epoch.

    Returns:
        The state after the run, and the history: `loss` and metrics averaged over each epoch's
        training, and `val_...` of each where there is validation data, of shape `(epochs,)`.

    Raises:
        ValueError: empty data, lengths or shapes that do not fit, labels out of range (where they
            are known, that is outside of jit), a count below 1, an unknown name.
        TypeError: a state of another model, or one that is none.

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
    """
    goal, state = objective(net, loss, metrics), check_state(state)
    epochs, data = check_count("epochs", epochs), check_data("`data`", data)
    batch_size = check_batch_size(batch_size, data[0])
    goal.check(state.params, state.model_state, data, batch_size)
    if validation is not None:
        validation = check_data("`validation`", validation)
        goal.check(state.params, state.model_state, validation, batch_size)
    data, validation = jax.tree.map(jnp.asarray, (data, validation))
    state, history = run(goal, state, data, validation, epochs, batch_size, shuffle)
    return state, {name: history[name] for name in log_names(goal, validation)}


def log_names(goal: Objective, validation: Any) -> list[str]:
    """The keys of a history, in the order in which they are shown; jit sorts those it returns."""
    return goal.names + [f"val_{name}" for name in goal.names if validation is not None]


@partial(jax.jit, static_argnames=("goal", "epochs", "batch_size", "shuffle"))
def run(
    goal: Objective,
    state: TrainState,
    data: Batch,
    validation: Batch | None,
    epochs: int,
    batch_size: int,
    shuffle: bool,
) -> tuple[TrainState, Logs]:
    size = len(data[0])
    steps = -(-size // batch_size)

    def one_epoch(state: TrainState, epoch: jax.Array) -> tuple[TrainState, Logs]:
        state, sums = run_steps(
            goal, state, zeros(goal), data, epoch, 0, steps, batch_size, shuffle
        )
        logs = averages(sums, size)
        if validation is not None:
            validated = means(goal, state.params, state.model_state, validation)
            logs |= {f"val_{name}": value for name, value in validated.items()}
        return state, logs

    first = state.step // steps
    return lax.scan(one_epoch, state, first + jnp.arange(epochs, dtype=first.dtype))


def zeros(goal: Objective) -> Logs:
    return {name: jnp.zeros(()) for name in goal.names}


def averages(sums: Logs, samples: int) -> Logs:
    # A product, since XLA makes one of a division by a constant: `fit` divides by a number that
    # is known only when it runs, and is to give the same bits.
    return {name: total * (1 / samples) for name, total in sums.items()}


def run_steps(
    goal: Objective,
    state: TrainState,
    sums: Logs,
    data: Batch,
    epoch: jax.Array,
    start: int | jax.Array,
    stop: int | jax.Array,
    batch_size: int,
    shuffle: bool,
) -> tuple[TrainState, Logs]:
    """Steps `start` to `stop` of an epoch; adds every sample's loss and metrics to `sums`.

    The last batch, if it is smaller, is a step of its own size in the same program: no padding,
    so batch statistics are its own, and no second compilation.
    """
    x, y = data
    size = len(x)
    order = round_keys(order_key(state.key, epoch))

    def one_step(
        length: int, index: jax.Array, carry: tuple[TrainState, Logs]
    ) -> tuple[TrainState, Logs]:
        state, sums = carry
        rows = index * batch_size + jnp.arange(length)
        if shuffle:
            rows = feistel(order, rows, size)
        state, logs = step(goal, state, (x[rows], y[rows]))
        return state, {name: sums[name] + length * logs[name] for name in sums}

    whole, rest = divmod(size, batch_size)
    # Bounds that are Python integers make a loop that can be differentiated in reverse.
    whole_stop = min(stop, whole) if isinstance(stop, int) else jnp.minimum(stop, whole)
    carry = lax.fori_loop(start, whole_stop, partial(one_step, batch_size), (state, sums))
    return lax.fori_loop(whole, stop, partial(one_step, rest), carry) if rest else carry
