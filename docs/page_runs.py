"""How pages run: compiled in a hurry, as tests are, and with a last line on the time it took."""

import os

from docutils import nodes
from sphinx.application import Sphinx

HURRY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
OF_BITS = {"ideas/laws", "start/a_run", "recipes/replay", "recipes/resume"}  # as users compile


def set_flags(app: Sphinx, docname: str, source: list[str]) -> None:
    """The process of the page, which starts after this, inherits them."""
    os.environ["XLA_FLAGS"] = "" if docname in OF_BITS else HURRY


def add_run_time(app: Sphinx, doctree: nodes.document) -> None:
    execution = app.env.nb_metadata.get(app.env.docname, {}).get("exec_data")
    if execution:
        seconds, cores = max(1, round(execution["runtime"])), os.cpu_count()
        words = f"This page ran in {seconds} s on {cores} CPU cores, compiling included."
        doctree.children[-1] += nodes.paragraph("", "", nodes.emphasis(words, words))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", set_flags)
    app.connect("doctree-read", add_run_time)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
