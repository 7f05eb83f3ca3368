"""Progress: a bar for each epoch on a terminal, a line for each epoch elsewhere.

In a notebook the epoch in progress has a bar too, a widget, in whose place its line comes.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..core.notebook import in_notebook

REFRESH_SECONDS = 0.1
FORM = "{desc} {bar} {n_fmt}/{total_fmt} {elapsed}{postfix}"


def described(logs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


class Progress:
    """The line of one epoch, on standard output; `steps` is None where it is not known."""

    def __init__(self, epoch: int, epochs: int, steps: int | None, enabled: bool):
        self.title, self.enabled, self.total = f"epoch {epoch}/{epochs}", enabled, steps
        self.began = self.shown = time.monotonic()
        self.steps, self.bar = 0, None
        self.lasting = enabled and sys.stdout.isatty()  # a bar that stays as the line of its epoch
        self.passing = enabled and not self.lasting and has_widgets()
        if self.lasting:
            from tqdm import tqdm

            self.bar = tqdm(desc=self.title, total=steps, bar_format=FORM, file=sys.stdout)

    def update(self, steps: int, means: Callable[[], Mapping[str, Any]]) -> None:
        self.steps = steps
        # Showing a number waits for it, so not at every step: the device should run ahead.
        if time.monotonic() - self.shown < REFRESH_SECONDS:
            return
        if self.passing and self.bar is None:  # now, since a widget takes as long as a short epoch
            from tqdm.notebook import tqdm

            self.bar = tqdm(desc=self.title, total=self.total, bar_format=FORM, leave=False)
        if self.bar is not None:
            self.shown = time.monotonic()
            self.bar.set_postfix_str(described(means()), refresh=False)
            self.bar.update(steps - self.bar.n)

    def close(self, logs: Mapping[str, Any]) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(described(logs), refresh=False)
            self.bar.update(self.steps - self.bar.n)
            self.bar.refresh()
            self.bar.close()
        if self.enabled and not self.lasting:
            print(
                f"{self.title}: {time.monotonic() - self.began:.1f} s, {described(logs)}",
                flush=True,
            )

    def end(self, words: str = "") -> None:
        """End the line early, with a word on the run."""
        if self.bar is not None:
            self.bar.close()
        if self.enabled and words:
            print(f"{self.title}: {words}", flush=True)


def has_widgets() -> bool:
    return in_notebook() and importlib.util.find_spec("ipywidgets") is not None
