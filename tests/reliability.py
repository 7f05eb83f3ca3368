"""What the soak tests counted, as a page."""

from collections.abc import Sequence

HEAD = """# Reliability

`make soak` breaks things many times in a row and counts what came of it. It wrote this page, after
a run in which all of its tests passed; one that does not leaves the page as it was.

"""


def page(rows: Sequence[Sequence[str]]) -> str:
    return f"{HEAD}{table(rows)}\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = [("what was done", "what came of it"), ("---", "---"), *rows]
    return "\n".join(f"| {what} | {outcome} |" for what, outcome in lines)
