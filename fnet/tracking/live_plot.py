"""The picture of a run while it goes on."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.notebook import notebook
from ..plots import plot_history, png
from ..training.state import TrainState

SECONDS = 1  # between two pictures, each of which takes a fifth of a second


class live_plot:
    """A callback of `fit` that draws the run in a notebook, as `plot_history` does, as it goes on.

    There is one picture, renewed after an epoch, at most once a second, and once more after the
    run. Outside of a notebook nothing is drawn.

    Example:
        >>> import jax, jax.numpy as jnp, fnet
        >>> net, x = fnet.dense(1), jnp.linspace(-1, 1, 32).reshape(32, 1)
        >>> state = fnet.train_state(net, "adam", jax.random.key(0), (1,))
        >>> task = fnet.supervised(net, "mean_squared_error")
        >>> state, history = fnet.fit(
        ...     task, state, (x, 3 * x), epochs=2, callbacks=[fnet.live_plot()], progress=False
        ... )
    """

    def __init__(self) -> None:
        self.history: dict[str, Any] = {}
        self.handle: Any = None
        self.drawn: float = -float("inf")

    def begin(self, state: TrainState, history: Mapping[str, Any], resume: bool) -> None:
        self.history, self.handle, self.drawn = dict(history), None, -float("inf")

    def recorded(self, series: Mapping[str, Any]) -> None:
        before = self.history["record"]
        self.history["record"] = {n: np.append(before[n], series[n]) for n in series}

    def __call__(self, epoch: int, state: TrainState, logs: Mapping[str, float]) -> None:
        self.history |= {n: np.append(self.history.get(n, ()), logs[n]) for n in logs}
        if time.monotonic() - self.drawn > SECONDS:
            self.draw()

    def end(self, state: TrainState) -> None:
        self.draw()

    def draw(self) -> None:
        if notebook() is None:
            return
        from IPython.display import Image, display

        picture = Image(png(plot_history(self.history)))
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)
        self.drawn = time.monotonic()
