"""Checks of the arguments that `fit` has beyond those of `train`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ..core.values import describe
from ..files.checkpoints import Checkpoints
from ..training.state import TrainState

Callback = Callable[[int, TrainState, dict[str, float]], Any]


def check_untraced(state: TrainState, data: Any, validation: Any) -> None:
    """Refuse a run within a transformation, since the host drives it."""
    held = data if isinstance(data, (tuple, list, dict, jax.Array)) else None  # no iterator
    leaves = jax.tree.leaves((state, held, validation))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise TypeError(
            "`fit` must be called outside of jax.jit, jax.vmap and jax.grad, since the host drives "
            "it, got arrays that one of them traces. Call fnet.train, which is pure and takes the "
            "same steps."
        )


def check_choice(argument: str, value: Any, *choices: str) -> None:
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(repr, choices))}, got {describe(value)}. "
            f"Leave it out for {choices[0]!r}."
        )


def check_callbacks(
    callbacks: Sequence[Callback], resume: str | None
) -> tuple[Checkpoints | None, list[Callback]]:
    """Separate the checkpoints from the other callbacks."""
    if not isinstance(callbacks, (tuple, list)) or not all(map(callable, callbacks)):
        raise TypeError(
            f"`callbacks` must be a list of functions, got {describe(callbacks)}. Write [callback]."
        )
    found = [callback for callback in callbacks if isinstance(callback, Checkpoints)]
    if len(found) > 1:
        raise ValueError(
            f"`callbacks` must hold one Checkpoints, got {len(found)}. A run has one folder."
        )
    if resume not in (None, "auto") or (resume and not found):
        raise ValueError(
            f'`resume` must be None, or "auto" with fnet.Checkpoints(directory) in `callbacks`, '
            f"got {resume!r}{'' if found else ' and no Checkpoints'}. Add what is missing."
        )
    if found and not resume and found[0].steps():
        raise ValueError(
            f"`callbacks` must save a new run in a new folder, got {found[0].directory}, which "
            f"holds step {found[0].steps()[-1]} of a run. Continue it with resume='auto', or use "
            f"another folder."
        )
    return (found[0] if found else None), [c for c in callbacks if c not in found]
