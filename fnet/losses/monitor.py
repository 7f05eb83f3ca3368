"""Which of two epochs is better, by a value in their logs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..core.values import describe
from .metrics import improves_downwards

Mode = Literal["min", "max"] | None


@dataclass(frozen=True)
class Monitor:
    """A value in the logs, and its direction: "min" where lower is better, or "max"."""

    name: str
    mode: Mode = None

    def __post_init__(self) -> None:
        if self.mode not in (None, "min", "max"):
            raise ValueError(
                f"`mode` must be 'min', 'max' or None, got {describe(self.mode)}. "
                f"Write 'min' where lower is better."
            )

    def score(self, logs: Mapping[str, float]) -> float:
        """The value, or its negative where lower is better."""
        if self.name not in logs:
            raise ValueError(
                f"`monitor` must be one of {', '.join(map(repr, logs))}, got {self.name!r}. "
                f"For a value that starts with val_ pass validation data to fit."
            )
        value = float(logs[self.name])
        return -value if self.downwards() else value

    def downwards(self) -> bool:
        if self.mode is not None:
            return self.mode == "min"
        downwards = improves_downwards(self.name.removeprefix("val_"))
        if downwards is None:
            raise ValueError(
                f"`mode` must say whether {self.name!r} improves downwards, since it is not a "
                f"loss or metric of fnet, got None. Write mode='min' or mode='max'."
            )
        return downwards
