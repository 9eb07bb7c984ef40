"""Reports: of one search, of several side by side, and the paper's figures beside ours."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from scalesearch.api.options import Option, path, takes
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.reports.published import FormulaMember, ReleasedMember


@dataclass(frozen=True)
class ReportOptions:
    """Which searches are reported."""

    runs: Annotated[
        Sequence[Path | str] | Path | str | None,
        Option("Folder of a search, the newest under runs/ if left out; several are compared.", argument=True),
    ] = None
    _: KW_ONLY
    out: Annotated[
        Path | str | None, Option("Folder for the report; if left out RUN/report, or RUN/comparison for several.")
    ] = None
    watts: Annotated[
        float | None, Option("Power of the machine: adds an estimate of the energy.", minimum=0, maximum=1e6)
    ] = None
    price_per_hour: Annotated[
        float | None, Option("Price of an hour of the machine: adds an estimate.", minimum=0, maximum=1e6)
    ] = None


@takes(ReportOptions)
def report(asked: ReportOptions) -> tuple[Path, ...]:
    """Writes a search's report (one HTML page, report.md, tables, figures), or several searches side by side.

    Works while a search runs, too. Returns the files, the HTML page last.

    Raises:
        UserError: no search there, or one that is damaged or of another version.
    """
    return write_reports(asked)


def write_reports(asked: ReportOptions) -> tuple[Path, ...]:
    """What ``report`` does."""
    from scalesearch.reports.artefacts import write_report
    from scalesearch.reports.comparison import write_comparison
    from scalesearch.reports.words import Rates
    from scalesearch.study.record import newest_run, read_record

    given = [asked.runs] if isinstance(asked.runs, str | Path) else asked.runs
    newest = newest_run()
    folders = [Path(one) for one in given] if given else [newest] if newest else []
    if not folders:
        raise UserError("report", "no search under runs/", "a search's folder", "Run a search first.")
    records, rates, out = list(map(read_record, folders)), Rates(asked.watts, asked.price_per_hour), path(asked.out)
    if len(records) == 1:
        return write_report(out or folders[0] / "report", records[0], rates)
    return write_comparison(out or folders[0] / "comparison", records, rates)


@dataclass(frozen=True)
class PaperFigures:
    """The published family beside ours: as ``released``, by the ``formula``, and what differs, in words."""

    released: "tuple[ReleasedMember, ...]"
    formula: "tuple[FormulaMember, ...]"
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "released": [_released_values(one) for one in self.released],
            "formula": [asdict(one) for one in self.formula], "notes": self.notes,
        }  # fmt: skip


def paper() -> PaperFigures:
    """Rebuilds the published family, B0…B7 as released and φ = 0…7 of the formula, beside the paper's figures."""
    from scalesearch.reports.published import derived, explanations, released

    family, formula = released(), derived()
    return PaperFigures(family, formula, explanations(family, formula))


def _released_values(one: "ReleasedMember") -> dict[str, Any]:
    return {
        **asdict(one),
        "params": {**asdict(one.params), "difference": one.params.difference, "agrees": one.params.agrees},
        "flops": {**asdict(one.flops), "difference": one.flops.difference, "agrees": one.flops.agrees},
    }
