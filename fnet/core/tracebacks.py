"""Tracebacks that name the user's lines, as those of JAX do."""

import functools
import linecache
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar, cast

import jax

F = TypeVar("F", bound=Callable[..., Any])

OURS, JAX = (str(Path(str(file)).parent) + os.sep for file in (Path(__file__).parent, jax.__file__))


def api_boundary(function: F) -> F:
    """Leave the lines of fnet out of the traceback of an error that passes through a function.

    So it shows the line that called the function and, where the error comes from a function of the
    user, that line. An error that fnet does not raise by a `raise` of its own may be a defect in
    it, and keeps all lines. As JAX does, a notebook hides the lines instead of leaving them out,
    and JAX_TRACEBACK_FILTERING=off shows them.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            found, mode = error.__traceback__, filtering()
            if found and mode != "off" and not is_inner(found.tb_frame) and understood(found):
                if mode == "tracebackhide":
                    hide(found)
                else:
                    error.with_traceback(without_ours(found))
            raise

    return cast(F, call)


def is_inner(call: FrameType) -> bool:
    """Whether a boundary is within another one, to which it leaves the work."""
    outer = call.f_back
    while outer and outer.f_code is not call.f_code:
        outer = outer.f_back
    return outer is not None


def filtering() -> str:
    """What JAX is told to do about lines of its own; "auto" hides them in a notebook."""
    mode: str | None = jax.config.values["jax_traceback_filtering"]
    if mode not in (None, "auto"):
        return str(mode)
    ipython = sys.modules.get("IPython")
    return "tracebackhide" if ipython and ipython.get_ipython() else "remove"


def understood(error: TracebackType) -> bool:
    """Whether an error comes from the user's code, or from a `raise` of ours."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error) if not within(frame, JAX)]
    frame, line = frames[-1]
    called_wrongly = len(frames) == 1  # arguments that the function does not have
    if called_wrongly or not within(frame, OURS):
        return True
    return linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise")


def within(frame: FrameType, folder: str) -> bool:
    return frame.f_code.co_filename.startswith(folder)


def without_ours(error: TracebackType) -> TracebackType | None:
    kept = None
    for frame, line in reversed(list(traceback.walk_tb(error))):
        if not within(frame, OURS):
            kept = TracebackType(kept, frame, frame.f_lasti, line)
    return kept


def hide(error: TracebackType) -> None:
    for frame, _ in traceback.walk_tb(error):
        if within(frame, OURS):
            frame.f_locals["__tracebackhide__"] = True  # read by IPython and pytest
