"""A run's report folder: results.csv, family.json, figures, report.md, report.html."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from scalesearch.files import write_bytes
from scalesearch.reports import sections
from scalesearch.reports.answer import answer, title
from scalesearch.reports.axes import FILE, rendered
from scalesearch.reports.drawings import drawings
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings, accuracy_note, findings
from scalesearch.reports.page import report_page
from scalesearch.reports.statistics import check_results
from scalesearch.reports.tables import Member, markdown_table

KINDS: tuple[Literal["png", "svg", "pdf"], ...] = ("png", "svg", "pdf")


def write_report(folder: Path, results: pd.DataFrame, facts: RunFacts, family: Sequence[Member]) -> tuple[Path, ...]:
    """Writes the report; works from partial results too. Same values in, same bytes out.

    Args:
        folder: the report's own folder; made where absent, files of the same names are replaced.
        results: one row per (candidate, seed, epochs), the baseline's rows among them.
        facts: what was asked, of which data, how it was trained.
        family: members b0…b6; empty while the search is not finished.

    Returns:
        The files written, report.html last.

    Raises:
        UserError: columns missing, a trial given twice, coefficients that no candidate carries.
    """
    check_results(results)
    found = findings(results, facts)
    artefacts = {
        "results.csv": results.to_csv(index=False, lineterminator="\n").encode(),
        "family.json": (json.dumps(list(family), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }
    figures = list(drawings(found, facts, family))
    for figure in figures:
        drawn = figure.draw(FILE)
        for kind in KINDS:
            artefacts[f"{figure.name}.{kind}"] = rendered(drawn, kind)
    captions = [(f"{figure.name}.png", figure.caption) for figure in figures]
    artefacts["report.md"] = report_markdown(found, facts, family, captions).encode()
    artefacts["report.html"] = report_page(found, facts, family, figures).encode()
    for name, content in artefacts.items():
        write_bytes(folder / name, content)
    return tuple(folder / name for name in artefacts)


def report_markdown(
    found: Findings, facts: RunFacts, family: Sequence[Member], figures: Sequence[tuple[str, str]]
) -> str:
    """The report as markdown; ``figures`` are (file, caption) pairs beside it."""
    parts = (
        ("Answer", answer(found, facts)),
        ("Figures", sections.figures(figures)),
        ("Best candidates", sections.candidates_section(found, accuracy_note(found, facts))),
        ("Does φ = 1 transfer?", sections.transfer_section(facts)),
        ("Family", sections.family_section(family, facts)),
        ("What the candidates cost", sections.cost_section(found, facts)),
        ("Triples dropped", sections.dropped_section(facts)),
        ("Failed trials", sections.failed_section(found)),
        ("Provenance", markdown_table(sections.provenance(found, facts))),
        ("Reproduce", f"```\n{facts.command}\n```"),
    )
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts if body)
    return f"{title(facts)}\n\n{text}\n"
