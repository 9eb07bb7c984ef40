"""The same tables and sentences for a terminal, as markdown, for a notebook; ``page`` makes them HTML."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scalesearch.errors import printable
from scalesearch.reports.words import bare
from scalesearch.table import Table, table_html

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from scalesearch.reports.outline import Section


def markdown(table: Table) -> str:
    """A markdown table, padded so that it reads as well on a console; columns of numbers stand right."""
    cells = [list(map(_cell, row)) for row in (table.columns, *table.texts)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    right = table.numeric
    rule = ["-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, right, strict=True)]
    lines = [
        [text.rjust(width) if r else text.ljust(width) for text, width, r in zip(row, widths, right, strict=True)]
        for row in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: str) -> str:
    """One line, with what markdown would read as markup made harmless."""
    return " ".join(value.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def section_markdown(section: "Section") -> str:
    """A part of a report as markdown; its figures lie beside it."""
    figures = [f"![{one.caption}]({one.name}.png)\n\n{one.caption}." for one in section.figures]
    parts = [f"## {section.heading}", section.text.strip(), *figures, *map(markdown, section.tables)]
    return "\n\n".join(part for part in parts if part)


def terminal(table: Table, width: int) -> "RichTable":
    """The table for a console of ``width`` characters, without those optional columns that it has no room for."""
    from rich.markup import escape
    from rich.table import Table as RichTable  # not needed where nothing is printed

    table = fitted(table, width)
    drawn = RichTable(
        title=table.caption, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False,
        show_header=any(table.columns),
    )  # fmt: skip
    for column, numeric in zip(table.columns, table.numeric, strict=True):
        drawn.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for row in table.texts:
        drawn.add_row(*(escape(printable(text)) for text in row))
    return drawn


def fitted(table: Table, width: int) -> Table:
    """The table without as many of its optional columns as it takes to fit."""
    for name in table.optional:
        if _width(table) <= width:
            break
        kept = [place for place, column in enumerate(table.columns) if column != name]
        table = replace(
            table, columns=tuple(table.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        )  # fmt: skip
    return table


def _width(table: Table) -> int:
    columns = zip(table.columns, *table.texts, strict=True)
    return sum(max(map(len, column)) for column in columns) + 2 * (len(table.columns) - 1)


def notebook(table: Table, notes: Sequence[str] = ()) -> str:
    """The table as a notebook shows it, with sentences of markdown beneath."""
    return table_html(table, list(map(bare, notes)))
