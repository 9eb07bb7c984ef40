"""A run's report folder: results.csv, family.json, figures, report.md."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from scalesearch.files import write_bytes
from scalesearch.reports import sections
from scalesearch.reports.answer import answer, title
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings, accuracy_note, findings
from scalesearch.reports.statistics import check_results
from scalesearch.reports.tables import Member

CAPTIONS = {
    "accuracy_flops": "Accuracy against FLOPs, with 95 % intervals; the baseline has a FLOPs axis of its own",
    "winner_set": "The winner set: scores with 95 % intervals, those trained longest first",
    "score_grid": "Score over the grid of α and β; candidates that differ in γ alone stand side by side",
    "family": "The family beside published networks: torchvision's best ImageNet weights of each, B2 at 288 px",
}


def write_report(folder: Path, results: pd.DataFrame, facts: RunFacts, family: Sequence[Member]) -> tuple[Path, ...]:
    """Writes the report; works from partial results too. Same values in, same bytes out.

    Args:
        folder: the report's own folder; made where absent, files of the same names are replaced.
        results: one row per (candidate, seed, epochs), the baseline's rows among them.
        facts: what was asked, of which data, how it was trained.
        family: members b0…b6; empty while the search is not finished.

    Returns:
        The files written, report.md last.

    Raises:
        UserError: columns missing, a trial given twice, coefficients that no candidate carries.
    """
    check_results(results)
    found = findings(results, facts)
    artefacts = {
        "results.csv": results.to_csv(index=False, lineterminator="\n").encode(),
        "family.json": (json.dumps(list(family), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        **dict(_figures(found, facts, family)),
    }
    names = [(f"{name}.png", caption) for name, caption in CAPTIONS.items() if f"{name}.png" in artefacts]
    artefacts["report.md"] = report_markdown(found, facts, family, names).encode()
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
        ("Family", sections.family_section(family, facts)),
        ("What the candidates cost", sections.cost_section(found, facts)),
        ("Triples dropped", sections.dropped_section(facts)),
        ("Failed trials", sections.failed_section(found)),
        ("Provenance", sections.provenance(facts)),
        ("Reproduce", f"```\n{facts.command}\n```"),
    )
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts if body)
    return f"{title(facts)}\n\n{text}\n"


def _figures(found: Findings, facts: RunFacts, family: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """The figures that the results allow, each as PNG and SVG."""
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.family_figure import family_figure
    from scalesearch.reports.figures import Mark, accuracy_figure, grid_figure, winner_figure
    from scalesearch.reports.published import best_published

    drawn = {}
    mark = None
    if found.recommended is not None:
        mark = Mark(found.recommended, "recommended")
    elif found.best is not None:
        mark = Mark(found.best, "best so far")
    note = accuracy_note(found, facts) if len(found.summary) else ""
    if len(found.summary):
        drawn["accuracy_flops"] = accuracy_figure(found.summary, mark, note)
    if facts.winners is not None and facts.winners.standings:
        drawn["winner_set"] = winner_figure(found.summary, facts.winners.standings, facts.winners.recommended, note)
    if found.best is not None:
        drawn["score_grid"] = grid_figure(found.summary, found.failed, mark, note)
    if family:
        drawn["family"] = family_figure(family, best_published(), facts.data.name)
    for name, figure in drawn.items():
        yield f"{name}.png", rendered(figure, "png")
        yield f"{name}.svg", rendered(figure, "svg")
