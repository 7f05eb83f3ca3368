"""Writes gallery/README.md, the page of all pictures.

python examples/gallery/index.py
"""

import ast
import pathlib
import re

GALLERY = pathlib.Path(__file__).resolve().parent
EXAMPLES = GALLERY.parent
TOP = """# Gallery

What the [programs](../README.md) draw. `make examples` runs all of them and writes this page.
"""


def programs() -> dict[str, tuple[str, list[str]]]:
    """Of each program that draws: the first line of its docstring, and its pictures."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.py")):
        source = path.read_text()
        pictures = list(dict.fromkeys(re.findall(r'"(\w+\.(?:png|gif))"', source)))
        if pictures:
            words = ast.get_docstring(ast.parse(source)) or ""
            found[path.name] = words.split("\n")[0], pictures
    return found


def page() -> str:
    parts = [TOP]
    for program, (words, pictures) in programs().items():
        parts.append(f"## [{program}](../{program})\n\n{words}\n")
        parts += [f"![{picture} of {program}]({picture})\n" for picture in pictures]
    return "\n".join(parts)


def main() -> None:
    (GALLERY / "README.md").write_text(page())
    print("wrote gallery/README.md")


if __name__ == "__main__":
    main()
