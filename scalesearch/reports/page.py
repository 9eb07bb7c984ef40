"""The report as one HTML file: nothing is loaded from anywhere, and every name in it is text."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from scalesearch.design.family import Member
from scalesearch.reports import tables, words
from scalesearch.reports.figures.canvas import PAGE, PHONE
from scalesearch.reports.figures.drawings import Drawing
from scalesearch.reports.figures.formats import inline_svg
from scalesearch.reports.published import best_published
from scalesearch.reports.tables import Table
from scalesearch.reports.words import NO_RATES, Rates
from scalesearch.study.record import Record
from scalesearch.units import show_percent


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


def report_page(
    record: Record, members: Sequence[Member], figures: Sequence[Drawing], rates: Rates = NO_RATES
) -> str:  # fmt: skip
    """The whole page, from whatever is known so far; ``members``: of the family, none while unfinished."""
    notes = (words.guessing(record), words.source(record), words.target(record))
    return rendered_page(
        "report.html",
        title=f"Compound scaling for {record.plan.data}",
        name=words.run_name(record),
        date=record.provenance.date,
        state=words.state(record),
        question=html(words.question(record)),
        factors=_factors(record),
        key_facts=_key_facts(record, rates),
        notes=[html(note) for note in notes if note],
        sections=[
            *_search_sections(record, {one.name: plate(one) for one in figures}, members),
            tables_section("provenance", "Provenance", tables.provenance(record, rates)),
        ],
        commands=record.commands,
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


def html(source: str) -> Markup:
    """Paragraphs, lists and emphasis of markdown; raw HTML in it stays text.

    >>> print(html("**a** <b> [x](javascript:1)"))
    <p><strong>a</strong> &lt;b&gt; [x](javascript:1)</p>
    """
    return Markup(_parser().render(source).strip())


@cache
def _parser() -> MarkdownIt:
    # html: raw HTML is escaped. Images would be loaded from wherever a name says, links could lead anywhere.
    return MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink"])


def plate(drawing: Drawing) -> Plate:
    """A figure for both widths."""
    wide, narrow = (
        inline_svg(drawing.draw(look), f"{drawing.name}-{kind}", drawing.caption, drawing.description)
        for kind, look in (("wide", PAGE), ("narrow", PHONE))
    )
    return Plate(drawing.caption, wide, narrow)


def tables_section(key: str, heading: str, *shown: Table, text: str = "") -> Section:
    """A section of tables under some sentences of markdown."""
    return Section(key, heading, html(text), tables=shown)


def _factors(record: Record) -> list[tuple[str, str, str]]:
    """(dimension, letter, value) of the answer, or of the candidate ahead; none while there is none."""
    if record.leader is None:
        return []
    row = record.leader.row
    listed = (("depth", "α", row.alpha), ("width", "β", row.beta), ("resolution", "γ", row.gamma))
    return [(dimension, letter, f"{value:.4g}") for dimension, letter, value in listed]


def _key_facts(record: Record, rates: Rates) -> list[tuple[str, str]]:
    """What somebody wants to know first, as (what, value)."""
    lines, answer = [], record.answer
    if record.leader is not None:
        head = "Network recommended" if record.complete else "Ahead so far"
        lines += [(head, words.network(record.leader)), ("Its accuracy", words.accuracy(record.leader))]
    for one in record.summaries:
        if one.is_baseline:
            lines += [("The baseline", words.network(one)), ("Its accuracy", words.accuracy(one))]
    if answer is not None:
        tied = words.tied(answer, len(record.enumeration.candidates))
        lines.append((f"Winner set at {show_percent(answer.level, 0)}", tied))
        if answer.comparisons:
            lines.append(("Against one dimension alone", words.verdicts(answer)))
    return [*lines, *((what.capitalize(), value) for what, value in words.spent(record, rates))]


def _search_sections(record: Record, plates: dict[str, Plate], members: Sequence[Member]) -> Iterator[Section]:
    """In the order in which the page tells its story."""
    yield from _answer_sections(record, plates)
    if "score_grid" in plates:
        yield Section("grid", "The grid", plates=(plates["score_grid"],))
    curves = tuple(plates[name] for name in ("learning_curves", "member_curves") if name in plates)
    if curves:
        yield Section("curves", "Learning curves", plates=curves)
    transfers = tuple(plates[name] for name in plates if name.startswith("transfer_phi"))
    if transfers:
        said = "\n\n".join(map(words.verification_text, record.verifications))
        compared = tuple(map(tables.verification, record.verifications))
        yield Section("transfer", "Does φ = 1 transfer?", html(said), transfers, folded=compared)
    yield _family(record, members, plates.get("family"))
    if record.summaries:
        text = f"{words.accuracy_source(record)} A heading sorts the table."
        yield tables_section("candidates", "All candidates", tables.candidates(record), text=text)
    if record.answer is not None:
        name = f"{'Recommended' if record.complete else 'Ahead so far'}: {record.answer.recommended}"
        spec = next(c.spec for c in record.enumeration.candidates if c.name == record.answer.recommended)
        yield tables_section("network", "The network", tables.stages(spec, name))
    text = f"{words.COUNTING}\n\n{words.bullets(words.costs(record.enumeration))}"
    yield tables_section("cost", "What the candidates cost", text=text)
    dropped = record.enumeration.dropped
    listed = [tables.dropped(dropped)] if dropped else []
    yield tables_section("dropped", "Triples dropped", *listed, text=words.grid(record))
    failures = tables.failures(record.rows)
    if failures.rows:
        yield tables_section("failed", "Failed trials", failures)


def _answer_sections(record: Record, plates: dict[str, Plate]) -> Iterator[Section]:
    if "accuracy_flops" in plates:
        text = html(
            "Candidates cost about twice the baseline; FLOPs are multiply-adds of convolution and linear operators as "
            "fvcore counts them. Open markers were trained for fewer epochs: only filled ones compare with each other."
        )
        yield Section("accuracy", "Accuracy against FLOPs", text, (plates["accuracy_flops"],))
    if record.answer is None:
        return
    heading = f"Which are {words.TIED}"
    yield Section("winners", heading, html(words.winner_markdown(record, record.answer)), (plates["winner_set"],))
    if record.answer.comparisons:
        text = html(
            "The lead in score is split exactly into what accuracy brought and what FLOPs cost. Intervals are paired "
            f"by validation image.\n\n{words.bought(record.answer)}"
        )
        table = tables.comparisons(record.answer)
        yield Section("controls", "Against one dimension alone", text, (plates["controls"],), (table,))


def _family(record: Record, members: Sequence[Member], figure: Plate | None) -> Section:
    published = (tables.published(best_published()),)
    if not members:
        return Section("family", "The family", html(words.NO_FAMILY), folded=published)
    text = html(
        "Published accuracies are ImageNet's, yours are on your own test images: they have axes of their own and "
        "cannot be compared."
    )
    table = tables.family(members, record.trainings, "Members by the coefficients found")
    return Section("family", "The family", text, (figure,) if figure else (), (table,), published)
