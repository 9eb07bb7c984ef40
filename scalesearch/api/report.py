"""Reports: of one search, of several side by side, and the paper's figures beside ours."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalesearch.api.options import ReportOptions, path, takes
from scalesearch.errors import UserError
from scalesearch.reports.published import FormulaMember, ReleasedMember
from scalesearch.study.record import newest_run, read_record


@takes(ReportOptions)
def report(asked: ReportOptions) -> tuple[Path, ...]:
    """Writes a search's report (one HTML page, report.md, tables, figures), or several searches side by side.

    Works while a search runs, too. Returns the files, the HTML page last.

    Raises:
        UserError: no search there, or one that is damaged or of another version.
    """
    from scalesearch.reports.artefacts import write_report
    from scalesearch.reports.comparison import write_comparison
    from scalesearch.reports.words import Rates

    given = [asked.runs] if isinstance(asked.runs, str | Path) else asked.runs
    folders = list(map(Path, given)) if given else list(filter(None, [newest_run()]))
    if not folders:
        raise UserError("report", "there is no search under runs/.", do="Run a search first.")
    records, rates, out = list(map(read_record, folders)), Rates(asked.watts, asked.price_per_hour), path(asked.out)
    if len(records) == 1:
        return write_report(out or folders[0] / "report", records[0], rates)
    return write_comparison(out or folders[0] / "comparison", records, rates)


@dataclass(frozen=True)
class PaperFigures:
    """The published family beside ours: as ``released``, by the ``formula``, and what differs, in words."""

    released: tuple[ReleasedMember, ...]
    formula: tuple[FormulaMember, ...]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with how far each figure of a released member is from the paper's."""
        released = [
            asdict(one) | {
                name: {**asdict(figure), "difference": figure.difference, "agrees": figure.agrees}
                for name, figure in (("params", one.params), ("flops", one.flops))
            }
            for one in self.released
        ]  # fmt: skip
        return {"released": released, "formula": [asdict(one) for one in self.formula], "notes": self.notes}


def paper() -> PaperFigures:
    """Rebuilds the published family, B0…B7 as released and φ = 0…7 of the formula, beside the paper's figures."""
    from scalesearch.reports.published import derived, explanations, released

    family, formula = released(), derived()
    return PaperFigures(family, formula, explanations(family, formula))
