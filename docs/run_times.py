"""A last line on every executed page: how long it took."""

import os

from docutils import nodes
from sphinx.application import Sphinx


def add_run_time(app: Sphinx, doctree: nodes.document) -> None:
    execution = app.env.nb_metadata.get(app.env.docname, {}).get("exec_data")
    if execution:
        seconds, cores = max(1, round(execution["runtime"])), os.cpu_count()
        words = (
            f"This page ran in {seconds} s on {cores} CPU cores, imports and compiling included."
        )
        doctree.children[-1] += nodes.paragraph("", "", nodes.emphasis(words, words))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", add_run_time)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
