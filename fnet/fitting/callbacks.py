"""Callbacks of `fit`: functions `callback(epoch, state, logs)` after each epoch.

One returns None, `STOP` to end the run, or a TrainState to go on from. It may have four more names,
so that a resumed run continues as if nothing had happened:

    memory                          a dict of arrays, saved with the run; set before `begin`, to {}
                                    unless they were saved
    begin(state, history, resume)   is called before anything is compiled, with the state to start
                                    from, the history so far, and whether `fit` was told to resume;
                                    in a new run each entry of the history has the length 0
    recorded(series)                is called before each call with what the steps of the epoch
                                    recorded, as in `history["record"]`
    end(state)                      is called after a complete run, and may return another state as
                                    its result
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from ..core.checks import is_integer
from ..core.trees import in_form
from ..core.values import describe
from ..losses.monitor import Mode, Monitor
from ..training.grid import with_hyperparameters
from ..training.state import TrainState

STOP = object()  # what a callback returns to end the run


class Patient:
    """What waits for a monitored value to improve. Each run starts anew, a resumed one goes on."""

    monitor: Monitor
    patience: int
    min_delta: float
    best: float
    waited: int

    def __init__(self, monitor: str, patience: int, mode: Mode, min_delta: float):
        if not is_integer(patience, 0):
            raise ValueError(
                f"`patience` must be an integer of at least 0, got {patience!r}. "
                f"0 and 1 both act at the first epoch that is not better than the best."
            )
        if isinstance(min_delta, bool) or not isinstance(min_delta, (int, float)):
            raise TypeError(f"`min_delta` must be a number, got {describe(min_delta)}.")
        self.monitor, self.patience = Monitor(monitor, mode), patience
        self.min_delta = abs(min_delta)
        self.best, self.waited = -float("inf"), 0

    def improved(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Whether this epoch is better than the best so far; count those that are not."""
        score = self.monitor.score(logs)
        if epoch == 0:
            self.best, self.waited = -float("inf"), 0
        if score - self.min_delta > self.best:  # never true of NaN
            self.best, self.waited = score, 0
            return True
        self.waited += 1
        return False

    def begin(self, state: TrainState, history: Mapping[str, Any], resume: bool) -> None:
        for epoch, value in enumerate(history.get(self.monitor.name, ())):
            self.advance(epoch, {self.monitor.name: value})

    def advance(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Whether it is time to act."""
        return not self.improved(epoch, logs) and self.waited >= self.patience and epoch > 0


class early_stopping(Patient):
    """Ends a run when the monitored value has not improved for `patience` epochs, as in Keras.

    It starts anew with each run of `fit`, and continues with one that is resumed.

    Args:
        monitor: the name of a loss or metric in the logs.
        patience: after how many epochs without improvement the run ends; 0 and 1 both end it at
            the first.
        mode: "min" where lower is better, "max" where higher is. By default as the loss or metric
            of that name has it; a function of your own needs it.
        min_delta: an epoch is better only if it is so by more than this.
        restore_best: whether a complete run returns the parameters and statistics of its best
            epoch. What is saved on the way are those of the last, so that the run can go on.

    Raises:
        ValueError: `patience` below 0, an unknown mode; (in the run) a name that is not in the
            logs, or one whose direction is not known.
        TypeError: `min_delta` is not a number.

    Example:
        >>> import fnet
        >>> stop = fnet.early_stopping("val_loss", patience=2)
        >>> losses = [3.0, 2.0, 4.0, 5.0]
        >>> [stop(i, None, {"val_loss": loss}) is fnet.STOP for i, loss in enumerate(losses)]
        [False, False, False, True]

    Source: Prechelt 1998, Early Stopping, But When?
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        mode: Mode = None,
        min_delta: float = 0.0,
        restore_best: bool = False,
    ):
        super().__init__(monitor, patience, mode, min_delta)
        self.restore_best = restore_best
        self.memory: dict[str, Any] = {}  # of the best epoch

    def __call__(self, epoch: int, state: TrainState, logs: Mapping[str, float]) -> Any:
        late = self.advance(epoch, logs)
        if epoch == 0:
            self.memory = {}
        if self.restore_best and not self.waited:
            self.memory = {"params": state.params, "model_state": state.model_state}
        return STOP if late else None

    def end(self, state: TrainState) -> TrainState:
        trees = {"params": state.params, "model_state": state.model_state}
        best = in_form(self.memory, trees) if self.memory else trees
        return replace(state, **best)


class reduce_on_plateau(Patient):
    """Multiplies the learning rate when the monitored value has not improved, as in Keras.

    The learning rate is that of the optimizer, which must be a number and no schedule. It changes
    in the state alone, so nothing is compiled again. A resumed run continues.

    Args:
        monitor: the name of a loss or metric in the logs.
        factor: what the learning rate is multiplied by, in (0, 1).
        patience: after how many epochs without improvement, each time.
        mode: as for `early_stopping`.
        min_delta: an epoch is better only if it is so by more than this.
        min_learning_rate: where it ends.

    Raises:
        ValueError: `factor` outside of (0, 1), or as `early_stopping`.
        TypeError: (in the run) the optimizer has no learning rate that is a number.

    Example:
        >>> import jax, fnet
        >>> slower = fnet.reduce_on_plateau("loss", factor=0.5, patience=1)
        >>> state = fnet.train_state(fnet.dense(1), fnet.sgd(0.1), jax.random.key(0), (1,))
        >>> slower(0, state, {"loss": 1.0})
        >>> slower(1, state, {"loss": 1.0}).optimizer.learning_rate
        Array(0.05, dtype=float32, weak_type=True)

    Source: Keras 3, `ReduceLROnPlateau`.
    """

    factor: float
    min_learning_rate: float

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: Mode = None,
        min_delta: float = 1e-4,
        min_learning_rate: float = 0.0,
    ):
        super().__init__(monitor, patience, mode, min_delta)
        if not isinstance(factor, (int, float)) or not 0 < factor < 1:
            raise ValueError(
                f"`factor` must be in (0, 1), got {describe(factor)}. 0.1 divides the learning "
                f"rate by ten."
            )
        self.factor, self.min_learning_rate = factor, min_learning_rate

    def __call__(self, epoch: int, state: TrainState, logs: Mapping[str, float]) -> Any:
        if not self.advance(epoch, logs):
            return None
        learning_rate = learning_rate_of(state) * self.factor
        learning_rate = jnp.maximum(learning_rate, self.min_learning_rate)
        optimizer = with_hyperparameters(state.optimizer, {"learning_rate": learning_rate})
        return replace(state, optimizer=optimizer)

    def advance(self, epoch: int, logs: Mapping[str, float]) -> bool:
        due = super().advance(epoch, logs)
        if due:
            self.waited = 0
        return due


def learning_rate_of(state: TrainState) -> Any:
    optimizer = state.optimizer
    while "learning_rate" not in vars(optimizer) and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    rate = getattr(optimizer, "learning_rate", None)
    if not isinstance(rate, (int, float, jax.Array)):
        raise TypeError(
            f"reduce_on_plateau: the optimizer must have a `learning_rate` that is a number, got "
            f"{state.optimizer!r}. Drop the schedule, or the callback."
        )
    return rate
