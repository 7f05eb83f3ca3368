"""The optimizers by name."""

from ..core.values import describe, resolve
from .adafactor import adafactor
from .adam import adam, adamax, adamw, amsgrad, lamb, nadam
from .base import Optimizer
from .muon import muon
from .rules import adagrad, lion, momentum, rmsprop, sgd

OPTIMIZERS = {
    optimizer.__name__: optimizer
    for optimizer in (
        *(sgd, momentum, rmsprop, adagrad, adafactor, lion, muon),
        *(adam, adamw, adamax, nadam, amsgrad, lamb),
    )
}


def as_optimizer(optimizer: Optimizer | str) -> Optimizer:
    if isinstance(optimizer, str):
        return resolve("optimizer", optimizer, OPTIMIZERS, "an optimizer")()
    if isinstance(optimizer, type) or not hasattr(optimizer, "learning_rate_at"):
        name = getattr(optimizer, "__name__", "rmsprop")
        fix = f"Pass fnet.{name}(learning_rate) or {name!r}."
        if hasattr(optimizer, "update") and not isinstance(optimizer, type):
            fix = "Wrap it in fnet.from_optax."
        raise TypeError(
            f"`optimizer` must be an optimizer or the name of one, got {describe(optimizer)}. {fix}"
        )
    return optimizer
