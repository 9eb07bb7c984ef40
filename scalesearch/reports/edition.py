"""How a report is made, besides what it is of."""

from dataclasses import dataclass

from scalesearch.reports.pictures import Pictures
from scalesearch.reports.words import NO_RATES, Rates


@dataclass(frozen=True, eq=False)
class Edition:
    """What somebody asked of a report.

    Args:
        title: the heading; what was searched on which images if None.
        rates: for estimates of energy and price.
        pictures: images to show; None shows none.
        reload_seconds: after which the page loads itself anew; None: never.
    """

    title: str | None = None
    rates: Rates = NO_RATES
    pictures: Pictures | None = None
    reload_seconds: int | None = None


USUAL = Edition()
