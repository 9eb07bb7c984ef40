"""The report of families trained side by side: figures, text, tables and values, from whatever is known so far."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS
from scalesearch.files import inert, write_files
from scalesearch.reports import family_words as told
from scalesearch.reports.artefacts import KINDS
from scalesearch.reports.figures import canvas
from scalesearch.reports.figures.drawings import family_drawings
from scalesearch.reports.figures.families import families_figure
from scalesearch.reports.figures.formats import inline_svg, rendered
from scalesearch.reports.page import html, rendered_page
from scalesearch.reports.render import notebook, section_markdown
from scalesearch.reports.section import Section
from scalesearch.reports.words import bare, bullets
from scalesearch.study.family_answer import FamilyAnswer, compare
from scalesearch.study.family_plan import FamilyPlan
from scalesearch.study.family_record import FamilyRecord
from scalesearch.table import Table

COLUMNS = (
    "network", "families", "phi", "macs", "params", "resolution", "start", "epochs", "lr", "seeds", "failed", "top1",
    "low", "high", "learnt", "latency_ms", "seconds",
)  # fmt: skip


def write_families(folder: Path, record: FamilyRecord) -> tuple[Path, ...]:
    """Writes the report; works from partial results, too. Same values in, same bytes out.

    Args:
        folder: made where absent, files of the same names are replaced.

    Returns:
        The files written, families.html last; figures only where there is a result.
    """
    answer = compare(record)
    artefacts = {"families.csv": family_csv(record, answer).encode(), "answer.json": family_json(answer).encode()}
    if answer is not None:
        for one in family_drawings(record, answer):
            drawn = one.draw(canvas.FILE)
            artefacts |= {f"{one.name}.{kind}": rendered(drawn, kind) for kind in KINDS}
        paper = families_figure(record.plan, answer, canvas.PAPER)
        artefacts["families_paper.pdf"] = rendered(paper, "pdf")
    parts, commands = list(sections(record, answer)), "\n".join(record.commands)
    verdict, notes = told.verdict(record, answer), bullets((*told.state(record), *told.notes(record, answer)))
    lines = [f"# {told.title(record)}", verdict, notes, *map(section_markdown, parts)]
    artefacts["families.md"] = "\n\n".join([*lines, f"## Reproduce\n\n```\n{commands}\n```\n"]).encode()
    artefacts["families.html"] = rendered_page(
        "families.html", title=f"Families trained side by side on {record.plan.data}", date=record.date,
        verdict=verdict, notes=notes, sections=parts, commands=record.commands,
    ).encode()  # fmt: skip
    return write_files(folder, artefacts)


def sections(record: FamilyRecord, answer: FamilyAnswer | None) -> Iterator[Section]:
    """In the order in which the report tells its story."""
    if answer is not None:
        figure, costs = family_drawings(record, answer)
        yield Section("figure", f"Accuracy against {record.plan.measure.noun}", figures=(figure,))
        if answer.learnt and answer.leads:
            shown = (told.leads(record, answer), *((told.best(record, answer),) if answer.best else ()))
            yield Section("leads", "Leads", told.what_leads_are(record.plan), tables=shown)
        yield Section("doubling", "What a doubling brings, and the price", told.prices(answer),
                      tables=(told.families(record, answer),))  # fmt: skip
        crossing = told.crossings(record, answer)
        if answer.learnt and crossing.rows:
            yield Section("crossings", "Crossings", told.what_crossings_are(record.plan), tables=(crossing,))
        yield Section("costs", "Latency and parameters", told.latencies(record), figures=(costs,))
        yield Section("networks", "Networks", tables=(told.networks(record, answer),))
    yield Section("recipe", "One recipe for all", told.recipe(record),
                  tables=(told.rates(record),) if len(record.plan.rates) > 1 else ())  # fmt: skip
    for key, heading, listed in (
        ("failed", "Failed", told.failures(record)), ("left", "Left to train", told.left(record)),
    ):  # fmt: skip
        if listed.rows:
            yield Section(key, heading, tables=(listed,))
    made = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    yield Section("provenance", "Provenance", bullets([f"{record.hardware}, {record.date}", f"versions: {made}"]))


def terminal_tables(record: FamilyRecord) -> tuple[Table, ...]:
    """What a terminal shows: networks, leads but for those at single φ, and families; without a result, what failed."""
    answer = compare(record)
    if answer is None:
        return tuple(one for one in (told.failures(record),) if one.rows)
    leads = (told.leads(record, answer, each_phi=False),) if answer.learnt and answer.leads else ()
    return (told.networks(record, answer), *leads, told.families(record, answer))


def lines(record: FamilyRecord) -> tuple[str, ...]:
    """The verdict and what belongs to it, for a terminal; what is left to train is not said."""
    answer = compare(record)
    return tuple(bare(one) for one in (told.verdict(record, answer), *told.notes(record, answer)))


def lineup(plan: FamilyPlan) -> Table:
    """The networks that are to be trained."""
    return told.lineup(plan)


def families_html(record: FamilyRecord) -> str:
    """What a notebook shows: the verdict, the figure, and tables."""
    answer = compare(record)
    said = "\n\n".join((told.verdict(record, answer), *told.state(record), *told.notes(record, answer)))
    plate = ""
    if answer is not None:
        one = family_drawings(record, answer)[0]
        plate = inline_svg(one.draw(canvas.PAGE), f"notebook-{record.plan.digest}", one.caption, one.description)
    tables = "".join(map(notebook, terminal_tables(record)))
    return f"<div>{html(said)}{plate}{tables}</div>"


def family_json(answer: FamilyAnswer | None) -> str:
    """The answer's values; ``null`` without one."""
    return json.dumps(asdict(answer) if answer else None, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def family_csv(record: FamilyRecord, answer: FamilyAnswer | None) -> str:
    """A line a contender, trained or not; accuracies are shares of the test images."""
    plan, content = record.plan, io.StringIO()
    points = {one.number: one for one in answer.points} if answer else {}
    writer = csv.writer(content, lineterminator="\n")
    equal = () if plan.measure == FLOPS else ("cost",)
    writer.writerow((*COLUMNS, *equal))
    for number, one in enumerate(plan.contenders):
        sizes, rows, point = cost(one.spec), record.of(number), points.get(number)
        values = (
            one.name, ";".join(place.family for place in one.places), one.places[0].phi, sizes.macs, sizes.params,
            one.spec.resolution, told.start(plan, one), one.epochs, rows[0].lr if rows else None,
            point.seeds if point else 0, sum(row.status == "failed" for row in rows),
            *((point.accuracy.value, point.accuracy.low, point.accuracy.high) if point else (None, None, None)),
            point.learnt if point else None, point.latency_ms if point else None, sum(row.seconds for row in rows),
            *(plan.measure.of(one.spec) for _ in equal),
        )  # fmt: skip
        writer.writerow([inert(value) for value in values])
    return content.getvalue()
