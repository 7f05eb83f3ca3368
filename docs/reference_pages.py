"""The reference: a page `reference/<folder>.rst` lists every public name of that folder of fnet.

In a page, the line `.. public-names::` stands for the names; a file that defines three of them or
more is a section. A public name without a page is an error. On all pages, `fnet.name` is a link.
"""

import inspect
import re
from pathlib import PurePosixPath
from types import ModuleType

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.errors import SphinxError

import fnet

MARK = ".. public-names::"
MODULES = {"datasets": fnet.datasets, "initializers": fnet.initializers}  # public as they are


def home(name: str) -> str:
    """The module that defines a public name."""
    value = getattr(fnet, name)
    return value.__module__ if hasattr(value, "__module__") else "fnet.fitting.callbacks"


def public_names(module: ModuleType) -> list[str]:
    """The names that a module offers, in alphabetical order."""
    return sorted(
        (
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and not isinstance(value, ModuleType)
        ),
        key=str.lower,
    )


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def entry(path: str, value: object) -> str:
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n"
    return f".. autofunction:: {path}\n" if callable(value) else f".. autodata:: {path}\n"


def listing(room: str) -> str:
    """The names of a page, as reStructuredText."""
    lines = [".. currentmodule:: fnet\n"]  # so that names in backticks are found
    if room in MODULES:
        module = MODULES[room]
        names = public_names(module)
        lines.append(f".. py:module:: fnet.{room}\n")
        return "\n".join(lines + [entry(f"fnet.{room}.{n}", getattr(module, n)) for n in names])
    files: dict[str, list[str]] = {}
    for name in public_names(fnet):
        path = home(name).split(".")
        if path[1] == room:
            files.setdefault(path[-1], []).append(name)
    sections = {file: names for file, names in sorted(files.items()) if len(names) > 2}
    alone = [name for file, names in files.items() if file not in sections for name in names]
    lines += [entry(f"fnet.{name}", getattr(fnet, name)) for name in sorted(alone, key=str.lower)]
    for file, names in sections.items():
        lines.append(heading(file.replace("_", " ").capitalize(), "-"))
        lines += [entry(f"fnet.{name}", getattr(fnet, name)) for name in names]
    return "\n".join(lines)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, listing(PurePosixPath(docname).name))


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Make every `fnet.name` in the text a link to the reference."""
    for literal in list(doctree.findall(nodes.literal)):
        path = re.fullmatch(r"(fnet(\.\w+)+)(\(\))?", literal.astext())
        if path and not isinstance(literal.parent, pending_xref):
            link = pending_xref("", reftype="obj", refdomain="py", reftarget=path[1], refwarn=True)
            literal.replace_self(link)
            link += literal


def check(app: Sphinx) -> None:
    pages = {PurePosixPath(page).name for page in app.project.discover() if "reference/" in page}
    homeless = [name for name in public_names(fnet) if home(name).split(".")[1] not in pages]
    if homeless:
        raise SphinxError(f"public names without a page in docs/reference/: {homeless}")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", check)
    app.connect("source-read", fill)
    app.connect("doctree-read", link_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
