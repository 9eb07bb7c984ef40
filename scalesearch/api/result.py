"""What a search came to, as a value: read from its folder, shown in a notebook, scaled from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.api.design import Family, Scaling, searched_scaling
from scalesearch.design.family import LARGEST
from scalesearch.design.scaling import Coefficients
from scalesearch.design.spec import NetSpec
from scalesearch.study.answer import Answer, Recommendation
from scalesearch.study.record import Record, answered, read_record
from scalesearch.study.row import Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class SearchResult:
    """A search's answer so far; ``record`` is everything that its folder says."""

    record: Record

    @property
    def folder(self) -> Path:
        """Of the run, which the command line reads, too."""
        return self.record.folder

    @property
    def answer(self) -> Answer:
        """What is recommended and how sure that is, the comparisons with the controls, whether the race is over."""
        return answered(self.record)[0]

    @property
    def recommendation(self) -> Recommendation:
        """The recommended coefficients, and what is needed to scale by them."""
        return answered(self.record)[1]

    @property
    def rows(self) -> Sequence[Row]:
        """A row a training."""
        return self.record.rows

    @property
    def coefficients(self) -> Coefficients:
        """α, β, γ of the recommended network."""
        return self.recommendation.coefficients

    @property
    def credible_set(self) -> tuple[str, ...]:
        """The candidates that hold the best one with the answer's level; without a decision all of them."""
        return tuple(standing.name for standing in self.answer.members)

    @property
    def table(self) -> "pd.DataFrame":
        """A row a network: α, β, γ, real cost, accuracy with its 95 % interval, score, membership; best first."""
        from scalesearch.reports.tables import summary_frame

        return summary_frame(self.record)

    @property
    def scaling(self) -> Scaling:
        """The baseline and the recommended coefficients, and in words where they are from."""
        return searched_scaling(self.record)

    def family(self, largest: int = LARGEST) -> Family:
        """B0, B1, … by the recommended coefficients: φ = 0 to ``largest``."""
        return self.scaling.family(largest)

    def scale(self, phi: float) -> NetSpec:
        """The member at any real φ."""
        return self.scaling.member(phi).spec

    def figure(self) -> "Figure":
        """Accuracy on validation images against real FLOPs, with 95 % intervals."""
        from scalesearch.reports.figures.accuracy import accuracy_figure

        return accuracy_figure(self.record)

    def report(self, out: Path | None = None) -> Path:
        """Writes the report (one HTML page, report.md, tables, figures) to ``out``, RUN/report if None; report.html."""
        from scalesearch.reports.artefacts import write_report

        return write_report(out or self.folder / "report", self.record)[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        chosen, c = self.recommendation, self.coefficients
        return {
            "run": str(self.folder), "alpha": c.alpha, "beta": c.beta, "gamma": c.gamma, "winner": chosen.winner,
            "score": chosen.score, "top1": chosen.top1, "done": chosen.done, "total": chosen.total,
            "answer": asdict(self.answer), "rows": [row.to_dict() for row in self.rows],
        }  # fmt: skip

    def _repr_html_(self) -> str:
        from scalesearch.reports import tables, words
        from scalesearch.reports.render import notebook

        return notebook(tables.standings(self.record), [self.scaling.origin, *words.answer_lines(self.record)])


def searched(run: str | Path) -> SearchResult:
    """The answer that a search left in its folder.

    Raises:
        UserError: no search there, or none of its trainings ended well.
    """
    record = read_record(Path(run))
    answered(record)  # says what is missing
    return SearchResult(record)
