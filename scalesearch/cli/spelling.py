"""Output in encodings that lack Greek letters and signs: what a stream cannot hold is spelled in ASCII.

Files are UTF-8 wherever they are written; this is about terminals and pipes alone.
"""

import codecs
import io
import sys
import unicodedata
from dataclasses import replace
from typing import TextIO

from scalesearch.table import Cell, Table

SPELLED = {
    "α": "alpha", "β": "beta", "γ": "gamma", "θ": "theta", "μ": "u", "µ": "u", "ρ": "rho", "τ": "tau", "φ": "phi",
    "χ": "chi", "Σ": "sum", "²": "^2", "×": "x", "·": "*", "√": "sqrt", "‖": "|", "⌈": "ceil(", "⌉": ")",
    "⌊": "floor(", "⌋": ")", "−": "-", "–": "-", "—": "-", "±": "+/-", "≈": "~", "≤": "<=", "≥": ">=", "→": "->",
    "←": "<-", "’": "'", "‘": "'", "ß": "ss", "“": '"', "”": '"',
}  # fmt: skip
HANDLER = "scalesearch-spelled"  # the name by which Python knows ``_spell``


def _spell(error: UnicodeError) -> tuple[str, int]:
    """ASCII for characters that an encoding lacks, as Python's error handlers give it, and where to go on.

    A Greek letter's name is set off from a letter or digit before it; accents are dropped; an undecodable byte of a
    file's name is shown as its escape, any other character as a question mark.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    words = []
    for place in range(error.start, error.end):
        one = error.object[place]
        plain = unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode()
        escape = one.encode("unicode_escape").decode() if "\ud800" <= one <= "\udfff" else ""
        word = SPELLED.get(one) or escape or plain or "?" * (not unicodedata.combining(one))
        apart = "GREEK" in unicodedata.name(one, "") and place > 0 and error.object[place - 1].isalnum()
        words.append(" " * apart + word)
    return "".join(words), error.end


codecs.register_error(HANDLER, _spell)


def spell_streams() -> None:
    """From now on standard output and error spell what they cannot hold."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def holds_everything(stream: TextIO) -> bool:
    """Whether a stream's encoding is one of Unicode's."""
    return codecs.lookup(stream.encoding or "utf-8").name.startswith("utf")


def spelled(text: str, stream: TextIO | None = None) -> str:
    """The text as ``stream`` (standard output) will show it: for what is laid out by its length."""
    encoding = (stream or sys.stdout).encoding or "utf-8"
    return text.encode(encoding, HANDLER).decode(encoding)


def spelled_table(table: Table) -> Table:
    """The table as standard output will show it."""
    return replace(
        table,
        caption=spelled(table.caption),
        columns=tuple(map(spelled, table.columns)),
        optional=tuple(map(spelled, table.optional)),
        rows=tuple(tuple(Cell(spelled(cell.text), cell.sort) for cell in row) for row in table.rows),
    )
