"""Callbacks of `fit`: functions `callback(epoch, state, logs)` that may end the run."""

from collections.abc import Callable
from typing import Any

STOP = object()  # what a callback returns to end the run


def early_stopping(monitor: str = "val_loss", patience: int = 0) -> Callable[..., Any]:
    """Ends a run when the monitored value has not improved for more than `patience` epochs.

    A value whose name ends in `loss` or `error` improves downwards, any other upwards.

    Args:
        monitor: the name of a loss or metric in the logs.
        patience: how many epochs without improvement are let pass.

    Returns:
        A callback for `fit`; it starts anew with each run.

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
    if isinstance(patience, bool) or not isinstance(patience, int) or patience < 0:
        raise ValueError(
            f"`patience` must be an integer of at least 0, got {patience!r}. "
            f"0 ends the run at the first epoch that is not better than the best."
        )
    sign = -1 if monitor.endswith(("loss", "error")) else 1
    best, waited = -float("inf"), 0

    def callback(epoch: int, state: Any, logs: dict[str, float]) -> Any:
        nonlocal best, waited
        if monitor not in logs:
            raise ValueError(
                f"`monitor` must be one of {', '.join(map(repr, logs))}, got {monitor!r}. "
                f"For a value that starts with val_ pass validation data to fit."
            )
        if epoch == 0:
            best, waited = -float("inf"), 0
        value = sign * logs[monitor]
        if value > best:  # never true of NaN
            best, waited = value, 0
            return None
        waited += 1
        return STOP if waited > patience else None

    return callback
