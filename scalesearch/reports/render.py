"""The same tables and sentences for a terminal, as markdown, for a notebook; ``page`` makes them HTML."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scalesearch.errors import printable
from scalesearch.reports.words import bare
from scalesearch.table import Table, table_html

LONGEST_WORD = 24  # of text that may be broken where there is no room: names of files

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from scalesearch.reports.section import Section


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
    """The table for a console of ``width`` characters: text may break between words, numbers never."""
    from rich.markup import escape
    from rich.table import Table as RichTable  # not needed where nothing is printed

    drawn = RichTable(
        title=table.caption, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False,
        show_header=any(table.columns),
    )  # fmt: skip
    for column, numeric, own in zip(table.columns, table.numeric, _shares(table, width), strict=True):
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold", width=own)
    for row in table.texts:
        drawn.add_row(*(escape(printable(text)) for text in row))
    return drawn


def fitted(table: Table, width: int) -> tuple[Table, tuple[str, ...]]:
    """The table without those columns that ``width`` characters have no room for, and their names.

    Optional columns go where not all texts fit on a line, the first one first; then, where numbers or words would be
    cut, the others, the last one first. The first column always stays.
    """
    left_out: list[str] = []
    for name in table.optional:
        if sum(full for _, full in _widths(table)) + _gaps(table) <= width:
            break
        left_out += [name] * (name in table.columns)
        table = table.without(name)
    while len(table.columns) > 1 and sum(least for least, _ in _widths(table)) + _gaps(table) > width:
        left_out.append(table.columns[-1])
        table = table.without(table.columns[-1])
    return table, tuple(left_out)


def _widths(table: Table) -> list[tuple[int, int]]:
    """Of each column, the least and the full width: numbers take theirs, text the longest word or all on a line."""
    from rich.cells import cell_len

    widths = []
    for heading, numeric, *texts in zip(table.columns, table.numeric, *table.texts, strict=True):
        lines = [*map(printable, texts)]
        words = [word for line in (heading, *(() if numeric else lines)) for word in line.split()]
        longest = max(map(cell_len, lines), default=0)
        word = max(map(cell_len, words), default=1)
        widths.append((max(longest, word) if numeric else min(word, LONGEST_WORD), max(longest, cell_len(heading), 1)))
    return widths


def _gaps(table: Table) -> int:
    return 2 * (len(table.columns) - 1)


def _shares(table: Table, width: int) -> list[int]:
    """What each column gets of ``width``: the least that it takes, and the rest to those that want little more."""
    widths = _widths(table)
    shares, left = [least for least, _ in widths], width - _gaps(table) - sum(least for least, _ in widths)
    wanting = sorted(range(len(widths)), key=lambda place: widths[place][1] - widths[place][0])
    for count, place in enumerate(wanting):
        more = max(0, min(widths[place][1] - widths[place][0], left // (len(wanting) - count)))
        shares[place] += more
        left -= more
    return shares


def notebook(table: Table, notes: Sequence[str] = ()) -> str:
    """The table as a notebook shows it, with sentences of markdown beneath."""
    return table_html(table, list(map(bare, notes)))
