"""Progress: a bar for each epoch on a terminal, a line for each epoch elsewhere.

In a notebook there is a widget too, which shows the epoch in progress.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..core.notebook import notebook

REFRESH_SECONDS = 0.1
FORM = "{desc} {bar} {n_fmt}/{total_fmt} {elapsed}{postfix}"


def described(logs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


class Progress:
    """The lines of a run, on standard output; `steps` an epoch is None where it is not known."""

    epochs: int
    total: int | None  # steps an epoch
    enabled: bool
    on_terminal: bool
    has_widget: bool
    title: str
    began: float
    shown: float
    steps: int  # done in the epoch

    def __init__(self, epochs: int, steps: int | None, enabled: bool):
        self.epochs, self.total, self.enabled = epochs, steps, enabled
        self.on_terminal = enabled and sys.stdout.isatty()
        self.has_widget = enabled and not self.on_terminal and has_widgets()
        self.bar: Any = None  # of the epoch on a terminal, of the run in a notebook

    def begin(self, epoch: int) -> None:
        self.title, self.steps = f"epoch {epoch}/{self.epochs}", 0
        self.began = self.shown = time.monotonic()
        if self.on_terminal:
            from tqdm import tqdm

            self.bar = tqdm(desc=self.title, total=self.total, bar_format=FORM, file=sys.stdout)
        elif self.bar is not None:
            self.bar.reset(self.total)
            self.bar.set_description_str(self.title, refresh=False)

    def update(self, steps: int, means: Callable[[], Mapping[str, Any]]) -> None:
        self.steps = steps
        # Showing a number waits for it, so not at every step: the device should run ahead.
        if time.monotonic() - self.shown < REFRESH_SECONDS:
            return
        if self.has_widget and self.bar is None:  # only now: it takes as long as some runs
            from tqdm.notebook import tqdm

            self.bar = tqdm(desc=self.title, total=self.total, bar_format=FORM, leave=False)
        if self.bar is not None:
            self.shown = time.monotonic()
            self.bar.set_postfix_str(described(means()), refresh=False)
            self.bar.update(steps - self.bar.n)

    def close(self, logs: Mapping[str, Any]) -> None:
        """End the line of an epoch with its logs."""
        if self.bar is not None:
            self.bar.set_postfix_str(described(logs), refresh=False)
            self.bar.update(self.steps - self.bar.n)
            self.bar.refresh()
        if self.on_terminal:
            self.bar.close()
        elif self.enabled:
            print(
                f"{self.title}: {time.monotonic() - self.began:.1f} s, {described(logs)}",
                flush=True,
            )

    def end(self, words: str = "") -> None:
        """End the run, early with a word on why."""
        if self.bar is not None:
            self.bar.close()
        if self.enabled and words:
            print(f"{self.title}: {words}", flush=True)


def has_widgets() -> bool:
    return notebook() is not None and importlib.util.find_spec("ipywidgets") is not None
