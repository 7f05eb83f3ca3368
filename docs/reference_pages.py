"""The reference: a page `reference/<folder>.rst` lists every public name of that folder of fnet.

In a page, the line `.. public-names::` stands for the names; a file that defines three of them or
more is a section. A public name without a page is an error. On all pages, `fnet.name` is a link.

Contracts and results, in upper case, are described with their members, all else by its arguments
alone. Signatures leave out what says nothing, such as `Any`.
"""

import inspect
import re
import sys
from pathlib import PurePosixPath
from types import ModuleType

import jax
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.errors import SphinxError
from sphinx.util.typing import stringify_annotation

import fnet

MARK = ".. public-names::"
MODULES = {"datasets": fnet.datasets, "initializers": fnet.initializers}  # public as they are
RETURNED = "Exchange", "Grid", "Limit", "Memory", "Plan", "Program", "Run"  # never called by users
ALIASES = {
    stringify_annotation(alias, "smart"): name
    for name, alias in {
        "DTypeLike": jax.typing.DTypeLike,
        "Initializer": fnet.initializers.Initializer,
        "Split": fnet.datasets.Split,
        "Array": jax.Array,  # last, since it is part of the others
    }.items()
}


def home(name: str) -> str:
    """The module that defines a public name."""
    value = getattr(fnet, name)
    return value.__module__ if hasattr(value, "__module__") else "fnet.fitting.callbacks"


def public_names(module: ModuleType) -> list[str]:
    """The names that a module offers, in alphabetical order."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and (module is fnet or getattr(value, "__module__", "") == module.__name__)
    ]
    return sorted(names, key=str.lower)


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def entry(path: str, value: object) -> str:
    name = path.rpartition(".")[2]
    if inspect.isclass(value):
        inherits = any(vars(fnet).get(base.__name__) is base for base in value.__mro__[1:])
        shown = name[0].isupper() and not inherits
        return f".. autoclass:: {path}\n" + "   :members:\n" * shown
    if not callable(value):
        text = inspect.getsource(sys.modules[home(name)])
        comment = re.search(rf"^{name} = .*  # (.*)", text, re.MULTILINE)
        assert comment, f"{name} must be defined with a comment that says what it is"
        return f".. py:data:: {name}\n\n   {comment[1].capitalize()}.\n"
    if value.__name__ != name:
        arguments = ", ".join(inspect.signature(value).parameters)
        return f".. py:function:: {name}({arguments})\n\n   The same as `{value.__name__}`.\n"
    return f".. autofunction:: {path}\n"


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


def tidy(
    app: Sphinx, what: str, path: str, value: object, options: object, text: str, returns: str
) -> tuple[str, str]:
    """The signature by the names of types and functions that a user knows."""
    if path.rpartition(".")[2] in RETURNED:
        return "", ""
    for long, short in ALIASES.items():
        text, returns = (part and part.replace(long, short) for part in (text, returns))
    text = text and re.sub(r"<function (\w+)>", r"\1", text)
    text = text and re.sub(r": ~typing\.Any( \| None)?(?=,|\)| =)", "", text)
    return text, None if returns == "~typing.Any" else returns


def own_names(
    app: Sphinx, what: str, path: str, value: object, options: object, lines: list[str]
) -> None:
    """Keep arguments and methods in backticks from linking to other pages, and the dot of .gz."""
    try:
        arguments = set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        arguments = set()
    plain = inspect.isclass(value) and path.rpartition(".")[2][0].islower()

    def own(found: re.Match[str]) -> str:
        name = found[1]
        if name in arguments or name[0] == "." or (plain and hasattr(value, name)):
            return f"``{name}``"
        if what == "class" and hasattr(value, name):
            return f":py:obj:`{name} <{path}.{name}>`"
        return found[0]

    lines[:] = [re.sub(r"(?<![\w:`])`(\w+|\.[\w.]+)`(?!`)", own, line) for line in lines]


def describe_returns(
    app: Sphinx, what: str, path: str, value: object, options: object, lines: list[str]
) -> None:
    """Keep what stands before a colon in `Returns` from being taken for a type."""
    for i, line in enumerate(lines):
        if line.strip() == "Returns:":
            lines[i + 1] = re.sub(r"^( *)", r"\1: ", lines[i + 1])


def skip(
    app: Sphinx, what: str, name: str, value: object, default: bool, options: object
) -> bool | None:
    """Leave out the fields of named tuples, which the docstrings describe."""
    return True if type(value).__name__ == "_tuplegetter" else None


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
    for field in PyObject.doc_field_types:
        field.label = "Attributes" if field.name == "variable" else field.label
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("builder-inited", check)
    app.connect("source-read", fill)
    app.connect("doctree-read", link_names)
    app.connect("autodoc-process-signature", tidy)
    app.connect("autodoc-process-docstring", own_names)
    app.connect("autodoc-process-docstring", describe_returns)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
