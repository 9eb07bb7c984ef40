"""The report as one HTML file: nothing is loaded from anywhere, and every name in it is text."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from scalesearch.reports import answer, sections
from scalesearch.reports.axes import PAGE, PHONE
from scalesearch.reports.drawings import Drawing
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings, accuracy_note
from scalesearch.reports.inline_svg import inline_svg
from scalesearch.reports.markup import html
from scalesearch.reports.page_tables import (
    Table,
    candidates_table,
    frame_table,
    published_table,
    stages_table,
)
from scalesearch.reports.published import best_published
from scalesearch.reports.tables import (
    Member,
    comparison_table,
    count_text,
    drop_reasons,
    failures,
    family_table,
    interval_text,
    percent,
)


@dataclass(frozen=True)
class Plate:
    """A figure on the page: drawn once for wide windows and once for phones."""

    caption: str
    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Section:
    """A part of the page: text, then figures, then tables; ``folded`` ones open at a click."""

    key: str
    heading: str
    text: Markup = Markup()
    plates: tuple[Plate, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()


def report_page(found: Findings, facts: RunFacts, family: Sequence[Member], figures: Sequence[Drawing]) -> str:
    """The whole page, from whatever is known so far."""
    return rendered_page(
        "report.html",
        title=f"Compound scaling for {facts.data.name}",
        facts=facts,
        state=_state(found, facts),
        question=html(answer.question(facts)),
        factors=_factors(found, facts),
        key_facts=_key_facts(found, facts),
        notes=_notes(found, facts),
        sections=list(_sections(found, facts, family, {one.name: one for one in figures})),
        commands=facts.command.splitlines(),
    )


def rendered_page(template: str, **values: Any) -> str:
    """A template with its values; scripts other than the template's own may not run."""
    environment = _environment()
    script = environment.get_template("sort.js").render()
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(script=Markup(script), script_hash=allowed, **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("scalesearch.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def plate(drawing: Drawing) -> Plate:
    """A figure for both widths."""
    wide, narrow = (
        inline_svg(drawing.draw(look), f"{drawing.name}-{kind}", drawing.caption, drawing.description)
        for kind, look in (("wide", PAGE), ("narrow", PHONE))
    )
    return Plate(drawing.caption, wide, narrow)


def _state(found: Findings, facts: RunFacts) -> str:
    """Empty for a finished search, else how far it is."""
    if facts.coefficients is not None:
        return ""
    if found.finished == facts.space.networks:
        return "Not finished: every candidate has a result, but the race has not been run to its end."
    failed = f", {found.broken} failed" if found.broken else ""
    return f"Not finished: {found.finished} of {facts.space.networks} candidates have a result{failed}."


def _factors(found: Findings, facts: RunFacts) -> list[tuple[str, str, str]]:
    """(dimension, letter, value) of the answer, or of the candidate ahead; none while there is none."""
    if found.best is None:
        return []
    rows = found.summary[found.summary["role"] == "candidate"]
    row = rows[rows["candidate"] == (found.best if found.recommended is None else found.recommended)].iloc[0]
    names = (("depth", "α", "alpha"), ("width", "β", "beta"), ("resolution", "γ", "gamma"))
    return [(dimension, letter, f"{row[name]:.4g}") for dimension, letter, name in names]


def _key_facts(found: Findings, facts: RunFacts) -> list[tuple[str, str]]:
    """What somebody wants to know first, as (what, value)."""
    lines = []
    if found.best is not None:
        rows = found.summary[found.summary["role"] == "candidate"]
        number = found.best if found.recommended is None else found.recommended
        row = rows[rows["candidate"] == number].iloc[0]
        lines.append(
            ("Network recommended" if found.recommended is not None else "Ahead so far",
             f"{row['name']}: {count_text(row['macs'])} FLOPs ({row['real_ratio']:.2f} × the baseline), "
             f"{count_text(row['params'])} parameters, {row['resolution']} px")
        )  # fmt: skip
        lines.append(("Its accuracy", _accuracy(row)))
    for base in found.summary[found.summary["role"] == "baseline"].to_dict("records"):
        lines.append(("The baseline's", f"{_accuracy(base)}, at {count_text(base['macs'])} FLOPs"))
    winners = facts.winners
    if winners is not None and winners.standings:
        text = f"{len(winners.members)} of {facts.space.networks} candidates cannot be told from the best"
        lines.append((f"Winner set at {percent(winners.level, 0)}", text))
    if winners is not None and winners.comparisons:
        verdicts = [f"{item['dimension']}: {item['verdict']}" for item in winners.comparisons]
        lines.append(("Against one dimension alone", "; ".join(verdicts)))
    return [*lines, *((what.capitalize(), value) for what, value in sections.spent(found, facts) if value)]


def _accuracy(row: Any) -> str:
    return (
        f"{percent(row['accuracy'])} top-1 (95 % interval {interval_text(row['low'], row['high'])}; {row['correct']} "
        f"of {row['images']} validation images, {sections.trained_text(row)})"
    )


def _notes(found: Findings, facts: RunFacts) -> list[Markup]:
    """What must be known before the numbers are believed."""
    return [html(text) for text in (answer.guessing(found, facts), answer.source(facts), answer.target(facts)) if text]


def _sections(
    found: Findings, facts: RunFacts, family: Sequence[Member], figures: dict[str, Drawing]
) -> Iterator[Section]:
    """In the order in which the page tells its story."""
    plates = {name: plate(drawing) for name, drawing in figures.items()}
    winners = facts.winners
    if "accuracy_flops" in plates:
        text = html(
            "Candidates cost about twice the baseline; FLOPs are multiply-adds of convolution and linear operators as "
            "fvcore counts them. Open markers were trained for fewer epochs: only filled ones compare with each other."
        )
        yield Section("accuracy", "Accuracy against FLOPs", text, (plates["accuracy_flops"],))
    if winners is not None and winners.standings:
        told = answer.winner_set(winners, facts.space.networks, facts.coefficients is not None)
        yield Section("winners", "Which cannot be told from the best", html(told), (plates["winner_set"],))
    if winners is not None and winners.comparisons:
        text = html(
            "The lead in score is split exactly into what accuracy brought and what FLOPs cost. Intervals are paired "
            f"by validation image.\n\n{answer.bought(winners)}"
        )
        table = frame_table("The recommended candidate against its controls", comparison_table(winners.comparisons))
        yield Section("controls", "Against one dimension alone", text, (plates["controls"],), (table,))
    if "score_grid" in plates:
        yield Section("grid", "The grid", plates=(plates["score_grid"],))
    curves = tuple(plates[name] for name in ("learning_curves", "member_curves") if name in plates)
    if curves:
        yield Section("curves", "Learning curves", plates=curves)
    transfers = tuple(plates[name] for name in plates if name.startswith("transfer_phi"))
    if transfers:
        said = "\n\n".join(f"φ = {one.phi:g}, {one.note}: {one.said}" for one in facts.transfers)
        yield Section("transfer", "Does φ = 1 transfer?", html(said), transfers)
    yield _family(family, facts, plates.get("family"))
    if len(found.summary):
        status = {item["name"]: item["status"] for item in winners.standings} if winners else {}
        note = accuracy_note(found, facts)
        yield Section(
            "candidates", "All candidates", html(f"{note[0].upper()}{note[1:]}. A heading sorts the table."),
            tables=(candidates_table(found.summary, status),),
        )  # fmt: skip
    if facts.network is not None:
        name = "Recommended" if facts.coefficients is not None else "Ahead so far"
        yield Section("network", "The network", tables=(stages_table(facts.network, f"{name}: {facts.network.name}"),))
    yield Section("cost", "What the candidates cost", html(sections.cost_section(found, facts)))
    yield Section(
        "dropped", "Triples dropped", html(sections.grid_text(facts)),
        tables=(frame_table("Reasons", drop_reasons(facts.space.dropped)),) if facts.space.dropped else (),
    )  # fmt: skip
    if len(found.failed):
        yield Section(
            "failed",
            "Failed trials",
            tables=(frame_table("Trials without a result", failures(found.results), prose=True),),
        )
    yield Section("provenance", "Provenance", tables=(_provenance(found, facts),))


def _family(family: Sequence[Member], facts: RunFacts, figure: Plate | None) -> Section:
    published = (published_table(best_published()),)
    if not family:
        text = html("The family follows from the coefficients, once the search is finished.")
        return Section("family", "The family", text, folded=published)
    text = html(
        "Published accuracies are ImageNet's, yours are on your own test images: they have axes of their own and "
        "cannot be compared."
    )
    table = frame_table("Members by the coefficients found", family_table(family))
    return Section("family", "The family", text, (figure,) if figure else (), (table,), published)


def _provenance(found: Findings, facts: RunFacts) -> Table:
    return frame_table("Where every number comes from", sections.provenance(found, facts), prose=True)
