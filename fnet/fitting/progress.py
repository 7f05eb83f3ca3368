"""Progress: a bar for each epoch on a terminal, a line for each epoch elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

REFRESH_SECONDS = 0.1


def described(logs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


class Progress:
    """The line of one epoch, on standard output; `steps` is None where it is not known."""

    def __init__(self, epoch: int, epochs: int, steps: int | None, enabled: bool):
        self.title, self.enabled = f"epoch {epoch}/{epochs}", enabled
        self.began = self.shown = time.monotonic()
        self.steps, self.bar = 0, None
        if enabled and sys.stdout.isatty():
            from tqdm import tqdm

            form = "{desc} {bar} {n_fmt}/{total_fmt} {elapsed}{postfix}"
            self.bar = tqdm(desc=self.title, total=steps, bar_format=form, file=sys.stdout)

    def update(self, steps: int, means: Callable[[], Mapping[str, Any]]) -> None:
        self.steps = steps
        # Showing a number waits for it, so not at every step: the device should run ahead.
        if self.bar is not None and time.monotonic() - self.shown > REFRESH_SECONDS:
            self.shown = time.monotonic()
            self.bar.set_postfix_str(described(means()), refresh=False)
            self.bar.update(steps - self.bar.n)

    def close(self, logs: Mapping[str, Any]) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(described(logs), refresh=False)
            self.bar.update(self.steps - self.bar.n)
            self.bar.refresh()
            self.bar.close()
        elif self.enabled:
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
