"""Writes gallery/README.md, the page of all pictures, and the lines that ../README.md points to.

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


def with_lines(text: str) -> str:
    """The links of a page, each with the number of the first line that holds its title.

    A link is written `[what](program.py "a piece of its source")`.
    """

    def numbered(link: re.Match[str]) -> str:
        file, piece = link["file"], link["piece"]
        for number, line in enumerate((EXAMPLES / file).read_text().splitlines(), 1):
            if piece in line:
                return f'({file}#L{number} "{piece}")'
        raise ValueError(
            f"{file} must have a line with {piece!r}, got none. Change the link in "
            f"examples/README.md."
        )

    return re.sub(r'\((?P<file>[\w./]+\.py)(#L\d+)? "(?P<piece>[^"]+)"\)', numbered, text)


def main() -> None:
    (GALLERY / "README.md").write_text(page())
    chapter = EXAMPLES / "README.md"
    chapter.write_text(with_lines(chapter.read_text()))
    print("wrote gallery/README.md and the lines of README.md")


if __name__ == "__main__":
    main()
