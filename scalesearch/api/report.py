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

    # fmt: off
    runs: Annotated[Sequence[Path | str] | Path | str | None, Option(
        "Folder of a search, or several, which are compared; the newest under runs/ if left out.",
        argument=True)] = None
    _: KW_ONLY
    out: Annotated[Path | str | None, Option(
        "Folder for the report; RUN/report, or RUN/comparison for several, if left out.")] = None
    watts: Annotated[float | None, Option(
        "Power of the machine in watts, for an estimate of the energy; none is made if left out.", minimum=0,
        maximum=1000000.0)] = None
    price_per_hour: Annotated[float | None, Option(
        "Price of an hour of the machine, for an estimate of the cost; none is made if left out.", minimum=0,
        maximum=1000000.0)] = None
    # fmt: on


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
    from scalesearch.study.record import newest_run, read_record

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

    released: "tuple[ReleasedMember, ...]"
    formula: "tuple[FormulaMember, ...]"
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
