"""The page of examples: each program of `examples/` with its pictures, in the place of a mark."""

import ast
import re
from pathlib import Path

from sphinx.application import Sphinx

MARK = "<!-- examples -->"
ROOT = Path(__file__).parents[1]


def section(program: Path) -> str:
    """What a program says of itself, its pictures, and its code, folded."""
    source = program.read_text()
    words = (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]
    names = dict.fromkeys(re.findall(r'"(\w+\.(?:png|gif))"', source))
    pictures = "\n".join(
        f"![{name}, drawn by {program.name}](../examples/gallery/{name})\n" for name in names
    )
    return f"""## {program.name}

{words}

{pictures}
<details><summary>The program</summary>

```{{literalinclude}} ../examples/{program.name}
```

</details>
"""


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    if MARK in source[0]:
        programs = sorted((ROOT / "examples").glob("*.py"))
        source[0] = source[0].replace(MARK, "\n".join(map(section, programs)))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
