"""Tables: text where it is printed, HTML where a notebook shows a value."""

from collections.abc import Iterable, Sequence
from html import escape


class Table(str):
    """Cells in columns as text, which a notebook shows as a table; the first row is the header.

    The last columns may stand at the right, as numbers do.
    """

    rows: Sequence[Sequence[str]]
    right: int  # how many columns stand at the right

    @classmethod
    def of(cls, rows: Iterable[Sequence[str]], right: int = 0) -> "Table":
        """The table of some rows of as many cells.

        >>> print(Table.of([("name", "size"), ("a", "1,000"), ("b", "10")], right=1))
        name    size
        a      1,000
        b         10
        """
        rows = [tuple(row) for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        left = len(widths) - right
        lines = (
            "   ".join(
                cell.ljust(width) if i < left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )
        table = cls("\n".join(lines))
        table.rows, table.right = rows, right
        return table

    def _repr_html_(self) -> str:
        return html(self.rows, self.right)


def html(rows: Sequence[Sequence[str]], right: int) -> str:
    """Rows as an HTML table, which takes its colours from the page.

    Shorter rows are headings: their last cell goes to the end of the table. Leading spaces stay.
    """
    columns = max(map(len, rows), default=0)
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number and len(row) == columns else "th"
        cells = []
        for i, cell in enumerate(row):
            span = columns - i if i == len(row) - 1 else 1
            side = "right" if span == 1 and i >= columns - right else "left"
            wide = f' colspan="{span}"' if span > 1 else ""
            style = f'style="text-align: {side}; white-space: pre"'
            cells.append(f"<{tag}{wide} {style}>{escape(cell)}</{tag}>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"
