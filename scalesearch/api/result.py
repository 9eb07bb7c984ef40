"""What a search found, as a value: read from its folder, shown in a notebook, scaled from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.api.design import Family, Scaling, spanned
from scalesearch.design.family import LARGEST, member
from scalesearch.design.scaling import Coefficients
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json
from scalesearch.notebook import html_table
from scalesearch.running.folder import RUN_FILE
from scalesearch.study.answer import Answer, read_answer
from scalesearch.study.found import Found, read_found
from scalesearch.study.kept import read_rows
from scalesearch.typed import mistyped
from scalesearch.units import show_count

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from scalesearch.study.row import Row


@dataclass(frozen=True, eq=False)
class SearchResult:
    """A search's answer so far.

    Args:
        folder: of the run, which the command line reads, too.
        found: recommended coefficients, and what is needed to scale by them.
        answer: the winner set, the comparisons with the controls, whether the race is over.
        rows: a row a training.
    """

    folder: Path
    found: Found
    answer: Answer
    rows: "Sequence[Row]"

    @property
    def coefficients(self) -> Coefficients:
        """α, β, γ of the recommended member of the winner set."""
        return self.found.coefficients

    @property
    def winner_set(self) -> tuple[str, ...]:
        """The candidates that are statistically tied with the best, those trained longest first."""
        return tuple(standing.name for standing in self.answer.members)

    @property
    def table(self) -> "pd.DataFrame":
        """A row a network: α, β, γ, real cost, accuracy with its 95 % interval, score, membership; best first."""
        import pandas as pd

        from scalesearch.reports.statistics import summarise

        return summarise(pd.DataFrame(list(self.rows)), self.winner_set)

    def family(self, largest: int = LARGEST) -> Family:
        """B0, B1, … by the recommended coefficients: φ = 0 to ``largest``."""
        found, folder = self.found, self.folder / "family"
        return spanned(Scaling(found.baseline, found.coefficients, found.rounding, self.origin, folder), largest)

    def scale(self, phi: float) -> NetSpec:
        """The member at any real φ."""
        return member(self.found.baseline, self.found.coefficients, phi, self.found.rounding).spec

    def figure(self) -> "Figure":
        """Accuracy on validation images against real FLOPs, with 95 % intervals."""
        from scalesearch.reports.figures import Mark, accuracy_figure

        mark = Mark(int(self.answer.recommended.removeprefix("c")), "recommended")
        return accuracy_figure(self.table, mark, f"{self.found.space} on {self.found.data}, as trained in the search")

    def report(self, out: Path | None = None) -> Path:
        """Writes the report (one HTML page, report.md, tables, figures) to ``out``, RUN/report if None; report.html."""
        from scalesearch.api.run_folder import read_run
        from scalesearch.reports.facts import Rates
        from scalesearch.reports.report import write_report

        found = read_run(self.folder, Rates(None, None))
        written = write_report(out or self.folder / "report", found.results, found.facts, found.family)
        return next(path for path in written if path.suffix == ".html")

    @property
    def origin(self) -> str:
        """Where the coefficients are from, in words."""
        found = self.found
        state = "" if found.complete else f", search unfinished: {found.done} of {found.total} trials"
        return f"Coefficients searched on {found.data} in {self.folder} ({found.coefficients}{state})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        from dataclasses import asdict

        found, c = self.found, self.coefficients
        return {
            "run": str(self.folder), "alpha": c.alpha, "beta": c.beta, "gamma": c.gamma, "winner": found.winner,
            "score": found.score, "top1": found.top1, "done": found.done, "total": found.total,
            "answer": json.loads(json.dumps(asdict(self.answer))), "rows": list(self.rows),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        standings = self.answer.standings
        networks = {row["name"]: row for row in self.rows}
        rows = [
            [s.name, f"{row['alpha']:.3g}", f"{row['beta']:.3g}", f"{row['gamma']:.3g}", show_count(row["macs"]),
             str(s.epochs), str(s.seeds), f"{s.score:.4f}", f"{s.low:.4f}–{s.high:.4f}",
             ", ".join([s.status, *([f"{s.control} only"] if s.control else [])])]
            for s in standings
            for row in (networks[s.name],)
        ]  # fmt: skip
        notes = [
            f"{len(self.winner_set)} of {len(standings)} candidates are statistically tied with the best "
            f"({self.answer.level:.0%}); recommended: {self.coefficients} ({self.answer.recommended}), "
            f"{self.answer.rule}.",
            *([] if self.answer.complete else ["The race is not over: the same call continues it."]),
        ]
        columns = ("name", "α", "β", "γ", "FLOPs", "epochs", "seeds", "score", "95 % interval", "status")
        return html_table(self.origin, columns, rows, notes)


def read_result(folder: Path, rows: "Sequence[Row] | None" = None) -> SearchResult:
    """The answer that a search left in its folder.

    Args:
        rows: of its trainings; None reads them, too.

    Raises:
        UserError: no search there, or none of its trainings ended well.
    """
    if rows is None:
        read_found(folder)  # says what is missing
        values = read_json(folder / RUN_FILE, "a run of scalesearch")
        rows = read_rows(folder, str(values.get("plan_digest")))
    answer = read_answer(folder)
    if answer is None:
        reason = next((row["reason"] for row in rows if row["reason"]), "none was run")
        raise UserError(str(folder), f"no finished candidate ({reason})", "at least one", "Lower --lr or --batch-size.")
    found = read_found(folder)
    if odd := mistyped(answer) or mistyped(found):
        raise UserError(str(folder), f"a damaged answer ({odd})", "the folder of a search")
    return SearchResult(folder, found, answer, rows)
