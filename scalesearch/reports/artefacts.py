"""A run's report folder: results.csv, family.json, figures, report.md, report.html."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal

from scalesearch.design.family import Member, family
from scalesearch.files import inert, write_files
from scalesearch.reports import tables, words
from scalesearch.reports.edition import USUAL, Edition
from scalesearch.reports.figures.canvas import FILE
from scalesearch.reports.figures.drawings import Drawing, drawings
from scalesearch.reports.figures.formats import rendered
from scalesearch.reports.figures.scores import transfer_figure
from scalesearch.reports.outline import key_facts, notes, sections
from scalesearch.reports.page import report_page
from scalesearch.reports.render import section_markdown
from scalesearch.study.record import Record
from scalesearch.study.row import Row
from scalesearch.study.verification import Verification

KINDS: tuple[Literal["png", "svg", "pdf"], ...] = ("png", "svg", "pdf")
INTEGERS = {field.name for field in fields(Row) if field.type is int}


def write_report(folder: Path, record: Record, edition: Edition = USUAL) -> tuple[Path, ...]:
    """Writes the report; works from partial results, too. Same values in, same bytes out.

    Args:
        folder: the report's own folder; made where absent, files of the same names are replaced.

    Returns:
        The files written, report.html last.
    """
    members = family_members(record)
    kept = json.dumps(tables.family_values(members, record.trainings), indent=2, ensure_ascii=False, allow_nan=False)
    artefacts = {"results.csv": results_csv(record.rows).encode(), "family.json": f"{kept}\n".encode()}
    figures = list(drawings(record, members, edition.pictures))
    for figure in figures:
        drawn = figure.draw(FILE)
        for kind in KINDS:
            artefacts[f"{figure.name}.{kind}"] = rendered(drawn, kind)
    artefacts["report.md"] = report_markdown(record, members, figures, edition).encode()
    artefacts["report.html"] = report_page(record, members, figures, edition).encode()
    return write_files(folder, artefacts)


def family_members(record: Record) -> tuple[Member, ...]:
    """B0…B6 by the recommended coefficients; none while the search is not finished."""
    chosen = record.recommendation
    return family(chosen.baseline, chosen.coefficients, chosen.rounding) if chosen and chosen.complete else ()


def write_transfer(folder: Path, verification: Verification) -> Path:
    """Writes a verification's figure, transfer.png and transfer.svg, into its folder; the first."""
    figure = transfer_figure(verification)
    return write_files(folder, {f"transfer.{kind}": rendered(figure, kind) for kind in KINDS[:2]})[0]


def results_csv(rows: Sequence[Row]) -> str:
    """The rows of a search as CSV, a line a training."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(tables.RESULT_COLUMNS)
    for row in rows:
        values = row.to_dict()
        writer.writerow(
            float(values[name]) if isinstance(values[name], int) and name not in INTEGERS else inert(values[name])
            for name in tables.RESULT_COLUMNS
        )
    return content.getvalue()


def report_markdown(
    record: Record, members: Sequence[Member], figures: Sequence[Drawing], edition: Edition = USUAL
) -> str:  # fmt: skip
    """The report as markdown; the figures lie beside it."""
    state = f"**{words.state(record)}**" if words.state(record) else f"{words.progress(record)}."
    facts = words.bullets([f"{what}: {value}" for what, value in key_facts(record, edition.rates)])
    told = [words.question(record), state, words.answer_markdown(record), "In numbers:", facts, *notes(record)]
    parts = [f"# {words.plain(edition.title) if edition.title else words.title(record)}", *filter(None, told)]
    parts += map(section_markdown, sections(record, members, figures, edition.rates, most=10))
    commands = "\n".join(record.commands)
    return "\n\n".join([*parts, f"## Reproduce\n\n```\n{commands}\n```\n"])
