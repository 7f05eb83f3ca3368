"""Callbacks of `fit`: functions `callback(epoch, state, logs)` that may end the run."""

from collections.abc import Mapping
from typing import Any

STOP = object()  # what a callback returns to end the run


class early_stopping:
    """Ends a run when the monitored value has not improved for more than `patience` epochs.

    A value whose name ends in `loss` or `error` improves downwards, any other upwards. It starts
    anew with each run of `fit`, and goes on with one that is resumed.

    Args:
        monitor: the name of a loss or metric in the logs.
        patience: how many epochs without improvement are let pass.

    Raises:
        ValueError: a `patience` below 0; later, a name that is not in the logs.

    Example:
        >>> import fnet
        >>> stop = fnet.early_stopping("val_loss", patience=1)
        >>> losses = [3.0, 2.0, 4.0, 5.0]
        >>> [stop(i, None, {"val_loss": loss}) is fnet.STOP for i, loss in enumerate(losses)]
        [False, False, False, True]

    Source: Prechelt 1998, Early Stopping, But When?
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 0):
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 0:
            raise ValueError(
                f"`patience` must be an integer of at least 0, got {patience!r}. "
                f"0 ends the run at the first epoch that is not better than the best."
            )
        self.monitor, self.patience = monitor, patience
        self.best, self.waited = -float("inf"), 0

    def __call__(self, epoch: int, state: Any, logs: Mapping[str, float]) -> Any:
        if self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be one of {', '.join(map(repr, logs))}, got {self.monitor!r}. "
                f"For a value that starts with val_ pass validation data to fit."
            )
        if epoch == 0:
            self.best, self.waited = -float("inf"), 0
        downwards = self.monitor.endswith(("loss", "error"))
        value = -logs[self.monitor] if downwards else logs[self.monitor]
        if value > self.best:  # never true of NaN
            self.best, self.waited = value, 0
            return None
        self.waited += 1
        return STOP if self.waited > self.patience else None

    def resume(self, history: Mapping[str, Any]) -> None:
        for epoch, value in enumerate(history.get(self.monitor, ())):
            self(epoch, None, {self.monitor: value})
