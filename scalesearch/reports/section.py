"""A part of a report, as the page, markdown and notebooks show it."""

from dataclasses import dataclass

from scalesearch.reports.figures.drawings import Drawing
from scalesearch.table import Table


@dataclass(frozen=True)
class Section:
    """A part of a report: text as markdown, then figures, then tables; ``folded`` ones are for pages alone, closed."""

    key: str
    heading: str
    text: str = ""
    figures: tuple[Drawing, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
