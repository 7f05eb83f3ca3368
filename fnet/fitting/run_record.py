"""The record of a run of `fit`: where it is, its history, and how it resumes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.trees import in_form, on_device
from ..files.checkpoints import Saver
from ..training.history import History
from ..training.program import Program
from ..training.state import TrainState
from ..training.step import EpochSums, Logs, empty_sums
from .sources import EpochState


class RunRecord:
    """Where a run of `fit` is, its history so far, and where both are saved.

    `names` are those of an epoch's logs, in order; `about` is what a resumed run must share. What
    callbacks remember is saved too.
    """

    names: list[str]
    series: tuple[str, ...]
    about: dict[str, Any]
    at: EpochState
    saver: Saver | None
    callbacks: Sequence[Any]
    ended: bool  # by a callback

    def __init__(
        self,
        program: Program,
        names: list[str],
        about: dict[str, Any],
        at: EpochState,
        saver: Saver | None,
        callbacks: Sequence[Any] = (),
        in_place: bool = False,
    ):
        self.names, self.series, self.about = names, program.recorded, about
        self.at, self.saver, self.callbacks = at, saver, callbacks
        self.in_place = in_place  # the next steps take the memory of a state
        nothing = {name: np.zeros(0) for name in names}
        record = empty_sums(program, 0).record
        self.history: Logs = nothing | {"record": {n: record[n] for n in self.series}}
        self.ended = False  # by a callback
        self.moment: tuple[int, ...] = ()  # that was saved last
        self.memories: dict[str, Any] = {}  # of callbacks, that were saved

    @property
    def epochs(self) -> int:
        return len(self.history["loss"])

    @property
    def saved(self) -> str:
        if self.saver is None:
            return "nothing is saved"
        steps = self.saver.checkpoints.steps()
        return f"saved until step {max(steps, default=0)} in {self.saver.checkpoints.directory}"

    def close_epoch(self, logs: Logs, record: Logs) -> Logs:
        """Add the logs of an epoch to the history; return them in order."""
        logs = {name: logs[name] for name in self.names}
        before = self.history["record"]
        history: Logs = {n: np.append(self.history[n], logs[n]) for n in self.names}
        history["record"] = {n: np.append(before[n], record[n]) for n in self.series}
        self.history = history
        return logs

    def result(self) -> History:
        """The history as arrays of JAX."""
        history = History((name, on_device(self.history[name])) for name in self.names)
        if self.series:
            record = self.history["record"]
            history["record"] = {name: on_device(record[name]) for name in self.series}
        return history

    def due(self) -> bool:
        """Whether to save here: by default at the start of each epoch."""
        every = self.saver and self.saver.checkpoints.every
        return int(self.at.state.step) % every == 0 if every else self.at.steps == 0

    def save(self) -> None:
        if self.at.state.step.is_deleted():  # by steps in its memory that failed
            return
        at, moment = self.at, (int(self.at.state.step), self.epochs, self.ended)
        if self.saver is None or self.moment == moment:
            return
        self.moment = moment
        place = {"steps": at.steps, "samples": at.samples, "skipped": at.skipped}
        run = {"about": self.about, "history": self.history, "ended": self.ended, "place": place}
        memories = {
            str(i): callback.memory
            for i, callback in enumerate(self.callbacks)
            if getattr(callback, "memory", None)
        }
        sums = {"sums": at.sums.totals, "record": at.sums.record}
        self.saver.save(at.state, run | sums | {"memories": memories})
        if self.in_place:
            self.saver.wait()

    def save_best(self, logs: Logs) -> None:
        """Save the state of this epoch too if it is the best by what the checkpoints monitor."""
        monitor = self.saver.checkpoints.monitor if self.saver else None
        if self.saver is None or monitor is None:
            return
        score = monitor.score(logs)
        before = (monitor.score({monitor.name: v}) for v in self.history[monitor.name][:-1])
        if not any(earlier >= score for earlier in before):
            self.saver.save_best(self.at.state)
            if self.in_place:
                self.saver.wait()

    def resume(self) -> None:
        """Move to the newest good checkpoint, if there is one."""
        found = self.saver and self.saver.checkpoints.read_latest(self.at.state)
        if not found:
            return
        state, run = found
        self.check(run)
        self.history = {name: run["history"][name] for name in self.names}
        record = run["history"].get("record", {})
        self.history["record"] = {name: record[name] for name in self.series if name in record}
        steps, samples, skipped = (int(run["place"][n]) for n in ("steps", "samples", "skipped"))
        totals = in_form(run["sums"], self.at.sums.totals)  # a file knows only dicts
        sums = EpochSums(totals, run.get("record", {}))
        self.at, self.ended = EpochState(state, sums, steps, samples, skipped), bool(run["ended"])
        self.moment = int(state.step), self.epochs, self.ended
        self.memories = run.get("memories", {})

    def begin(self, state: TrainState, resume: bool) -> None:
        """Tell the callbacks where the run starts."""
        for i, callback in enumerate(self.callbacks):
            if hasattr(callback, "memory"):
                callback.memory = self.memories.get(str(i), {})
            if hasattr(callback, "begin"):
                callback.begin(state, self.history, resume)

    def check(self, run: dict[str, Any]) -> None:
        """Refuse to resume a run that is not this one."""
        theirs = {name: value.tolist() for name, value in run.get("about", {}).items()}
        theirs["history"] = sorted(run.get("history", {}).keys() - {"record"})
        ours = {name: np.asarray(value).tolist() for name, value in self.about.items()}
        ours["history"] = sorted(self.names)
        different = [
            f"{name} {theirs.get(name)} there, {ours.get(name)} here"
            for name in sorted(theirs.keys() | ours.keys())
            if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise ValueError(
                f"`resume` must continue the same run, got a folder with a run that differs: "
                f"{'; '.join(different)}. Give fit what it was given there, or use another folder."
            )
