"""A run's report folder: results.csv, family.json, figures, report.md, report.html."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from scalesearch.design.family import Member, family
from scalesearch.files import write_bytes
from scalesearch.reports import tables, words
from scalesearch.reports.figures.canvas import FILE
from scalesearch.reports.figures.drawings import Drawing, drawings
from scalesearch.reports.figures.formats import rendered
from scalesearch.reports.figures.transfer import transfer_figure
from scalesearch.reports.page import report_page
from scalesearch.reports.render import markdown
from scalesearch.reports.words import NO_RATES, Rates
from scalesearch.study.record import Record
from scalesearch.study.row import Row
from scalesearch.study.verification import Verification

KINDS: tuple[Literal["png", "svg", "pdf"], ...] = ("png", "svg", "pdf")
INTEGERS = ("candidate", "macs", "fvcore_total", "params", "activations", "resolution", "blocks", "proxy_resolution",
            "proxy_macs", "epochs", "full_epochs", "seed", "correct", "images")  # fmt: skip


def write_report(folder: Path, record: Record, rates: Rates = NO_RATES) -> tuple[Path, ...]:
    """Writes the report; works from partial results, too. Same values in, same bytes out.

    Args:
        folder: the report's own folder; made where absent, files of the same names are replaced.

    Returns:
        The files written, report.html last.
    """
    members = family_members(record)
    kept = json.dumps(tables.family_values(members, record.trainings), indent=2, ensure_ascii=False, allow_nan=False)
    artefacts = {"results.csv": results_csv(record.rows).encode(), "family.json": f"{kept}\n".encode()}
    figures = list(drawings(record, members))
    for figure in figures:
        drawn = figure.draw(FILE)
        for kind in KINDS:
            artefacts[f"{figure.name}.{kind}"] = rendered(drawn, kind)
    artefacts["report.md"] = report_markdown(record, members, figures, rates).encode()
    artefacts["report.html"] = report_page(record, members, figures, rates).encode()
    for name, content in artefacts.items():
        write_bytes(folder / name, content)
    return tuple(folder / name for name in artefacts)


def family_members(record: Record) -> tuple[Member, ...]:
    """B0…B6 by the recommended coefficients; none while the search is not finished."""
    chosen = record.recommendation
    return family(chosen.baseline, chosen.coefficients, chosen.rounding) if chosen and chosen.complete else ()


def write_transfer(folder: Path, verification: Verification) -> Path:
    """Writes a verification's figure, transfer.png and transfer.svg, into its folder; the first."""
    figure = transfer_figure(verification)
    for kind in KINDS[:2]:
        write_bytes(folder / f"transfer.{kind}", rendered(figure, kind))
    return folder / "transfer.png"


def results_csv(rows: Sequence[Row]) -> str:
    """The rows of a search as CSV, a line a training."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(tables.RESULT_COLUMNS)
    for row in rows:
        values = row.to_dict()
        writer.writerow(
            float(values[name]) if isinstance(values[name], int) and name not in INTEGERS else values[name]
            for name in tables.RESULT_COLUMNS
        )
    return content.getvalue()


def report_markdown(record: Record, members: Sequence[Member], figures: Sequence[Drawing], rates: Rates) -> str:
    """The report as markdown; the figures lie beside it."""
    shown = [f"![{figure.caption}]({figure.name}.png)\n\n{figure.caption}." for figure in figures]
    parts = (
        ("Answer", _answer(record)),
        ("Figures", "\n\n".join(shown)),
        ("Best candidates", _candidates(record)),
        ("Does φ = 1 transfer?", "\n\n".join(map(words.verification_text, record.verifications))),
        ("Family", _family(record, members)),
        ("What the candidates cost", f"{words.COUNTING}\n\n{words.bullets(words.costs(record.enumeration))}"),
        ("Triples dropped", _dropped(record)),
        ("Failed trials", _failures(record)),
        ("Provenance", markdown(tables.provenance(record, rates))),
        ("Reproduce", "```\n" + "\n".join(record.commands) + "\n```"),
    )
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts if body)
    return f"# {words.title(record)}: {words.outcome(record)}\n\n{text}\n"


def _answer(record: Record) -> str:
    """What was asked and what came out, how sure that is, and what the accuracies come from."""
    answer, leader = record.answer, record.leader
    baseline = next((one for one in record.summaries if one.is_baseline), None)
    head = "Recommended" if record.complete else "Best so far"
    parts = [
        words.question(record),
        f"Answer: **{words.factors(record)}** ({words.progress(record)})." if record.complete
        else f"Answer: **{words.state(record)}** The same command continues.",
        f"{head}: {words.network(leader)}: {words.accuracy(leader)}." if leader else "",
        f"The {words.network(baseline)}: {words.accuracy(baseline)}." if baseline else "",
    ]  # fmt: skip
    if answer is not None:
        parts.append(words.winner_markdown(record, answer))
        if answer.comparisons:
            parts.append("The recommended candidate against controls of the same FLOPs:")
            parts += [markdown(tables.comparisons(answer)), words.bought(answer)]
    parts += [words.guessing(record), words.source(record), words.target(record)]
    return "\n\n".join(part for part in parts if part)


def _candidates(record: Record) -> str:
    """The ten best, the rest of the winner set, and the baseline."""
    if not record.summaries:
        return "No trial has a result yet."
    return f"{words.accuracy_source(record)}\n\n{markdown(tables.candidates(record, 10, members=True))}"


def _family(record: Record, members: Sequence[Member]) -> str:
    """B0…B6; tested members carry their accuracy on the test images."""
    if not members:
        return words.NO_FAMILY
    tested = len(tables.tested_members(members, record.trainings))
    note = f"{tested} of {len(members)} members are tested, on the test images of {words.plain(record.plan.data)}."
    return f"{markdown(tables.family(members, record.trainings))}\n\n{note}"


def _dropped(record: Record) -> str:
    """From nominal triples to networks: what was merged, what was left out and why."""
    dropped = record.enumeration.dropped
    return "\n\n".join([words.grid(record), *([markdown(tables.dropped(dropped))] if dropped else [])])


def _failures(record: Record) -> str:
    table = tables.failures(record.rows)
    return markdown(table) if table.rows else "None."
