"""Values shown in a notebook: small HTML tables, everything in them escaped."""

from collections.abc import Sequence
from html import escape

NUMBER = ' style="text-align:right"'


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A table under a caption and above its notes; the first column is text, the others numbers or short words."""
    head = "".join(f"<th{NUMBER if index else ''}>{escape(name)}</th>" for index, name in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{NUMBER if i else ''}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f"<div><p><strong>{escape(caption)}</strong></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"
    )
