"""Callbacks of `fit`: functions `callback(epoch, state, logs)` that may end the run."""

from collections.abc import Mapping
from typing import Any, Literal

from ..core.values import describe
from ..losses.metrics import improves_downwards

STOP = object()  # what a callback returns to end the run


class early_stopping:
    """Ends a run when the monitored value has not improved for `patience` epochs, as in Keras.

    It starts anew with each run of `fit`, and continues with one that is resumed.

    Args:
        monitor: the name of a loss or metric in the logs.
        patience: after how many epochs without improvement the run ends; 0 and 1 both end it at
            the first.
        mode: "min" where lower is better, "max" where higher is. By default as the loss or metric
            of that name has it; a function of your own needs it.

    Raises:
        ValueError: `patience` below 0, an unknown mode; (in the run) a name that is not in the
            logs, or one whose direction is not known.

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
        mode: Literal["min", "max"] | None = None,
    ):
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 0:
            raise ValueError(
                f"`patience` must be an integer of at least 0, got {patience!r}. "
                f"0 ends the run at the first epoch that is not better than the best."
            )
        if mode not in (None, "min", "max"):
            raise ValueError(
                f"`mode` must be 'min', 'max' or None, got {describe(mode)}. "
                f"Write 'min' where lower is better."
            )
        self.monitor, self.patience, self.mode = monitor, patience, mode
        self.best, self.waited = -float("inf"), 0

    def __call__(self, epoch: int, state: Any, logs: Mapping[str, float]) -> Any:
        if self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be one of {', '.join(map(repr, logs))}, got {self.monitor!r}. "
                f"For a value that starts with val_ pass validation data to fit."
            )
        if epoch == 0:
            self.best, self.waited = -float("inf"), 0
        value = -logs[self.monitor] if self.downwards() else logs[self.monitor]
        if value > self.best:  # never true of NaN
            self.best, self.waited = value, 0
            return None
        self.waited += 1
        return STOP if self.waited >= self.patience and epoch > 0 else None

    def downwards(self) -> bool:
        if self.mode is not None:
            return self.mode == "min"
        downwards = improves_downwards(self.monitor.removeprefix("val_"))
        if downwards is None:
            raise ValueError(
                f"`mode` must say whether {self.monitor!r} improves downwards, since it is not a "
                f"loss or metric of fnet, got None. Write mode='min' or mode='max'."
            )
        return downwards

    def resume(self, history: Mapping[str, Any]) -> None:
        for epoch, value in enumerate(history.get(self.monitor, ())):
            self(epoch, None, {self.monitor: value})
