"""A table as a value, and as a notebook shows it; ``reports.render`` shows it elsewhere."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

NUMBER = re.compile(r"[−+-]?\d[\d.,]*([–-][\d.,]+)?( ?(%|[kMGTBs]|[×x]))?|[–-]")  # as spelled in ASCII, too


@dataclass(frozen=True)
class Cell:
    """``sort`` is the number it sorts by, where its text would sort otherwise."""

    text: str
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """A table with a caption.

    Args:
        sortable: by a click on a heading of a page.
        prose: of sentences, which may break.
        optional: columns that a narrow terminal leaves out, the first one first.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False
    prose: bool = False
    optional: tuple[str, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Of each column, whether it holds numbers and so stands right."""
        return tuple(
            bool(self.rows) and all(not row[place].text or NUMBER.fullmatch(row[place].text) for row in self.rows)
            for place in range(len(self.columns))
        )

    def without(self, name: str) -> "Table":
        """The table without a column, unless that is the first one."""
        kept = [place for place, column in enumerate(self.columns) if column != name or not place]
        columns = tuple(self.columns[place] for place in kept)
        return replace(self, columns=columns, rows=tuple(tuple(row[place] for place in kept) for row in self.rows))

    @property
    def texts(self) -> list[list[str]]:
        """The rows as text."""
        return [[cell.text for cell in row] for row in self.rows]


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, sortable: bool = False,
    prose: bool = False, optional: Sequence[str] = (),
) -> Table:  # fmt: skip
    """A table of cells, or of anything else as text."""
    cells = tuple(tuple(one if isinstance(one, Cell) else Cell(str(one)) for one in row) for row in rows)
    return Table(caption, tuple(columns), cells, sortable, prose, tuple(optional))


def table_html(table: Table, notes: Sequence[str] = ()) -> str:
    """The table as HTML for a notebook, under its caption and above notes; everything in it is escaped."""
    styles = [' style="text-align:right"' if numeric else "" for numeric in table.numeric]

    def line(kind: str, texts: Sequence[str]) -> str:
        cells = (f"<{kind}{style}>{escape(text)}</{kind}>" for text, style in zip(texts, styles, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    head, body = line("th", table.columns), "".join(line("td", row) for row in table.texts)
    return (
        f"<div><p><strong>{escape(table.caption)}</strong></p><table><thead>{head}</thead><tbody>{body}</tbody></table>"
        + "".join(f"<p>{escape(note)}</p>" for note in notes)
        + "</div>"
    )
