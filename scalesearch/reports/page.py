"""Reports as one HTML file: nothing is loaded from anywhere, and every name in it is text."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from scalesearch.design.family import Member
from scalesearch.reports import words
from scalesearch.reports.edition import USUAL, Edition
from scalesearch.reports.figures.canvas import PAGE, PHONE, Look
from scalesearch.reports.figures.drawings import Drawing
from scalesearch.reports.figures.formats import inline_svg
from scalesearch.reports.outline import key_facts, notes, sections
from scalesearch.study.record import Record


def report_page(
    record: Record, members: Sequence[Member], figures: Sequence[Drawing], edition: Edition = USUAL
) -> str:  # fmt: skip
    """The whole page, from whatever is known so far; ``members``: of the family, none while unfinished."""
    factors: list[tuple[str, str, str]] = []
    if record.recommendation is not None and words.decided(record):
        c = record.recommendation.coefficients
        listed = (("depth", "α", c.alpha), ("width", "β", c.beta), ("resolution", "γ", c.gamma))
        factors = [(dimension, letter, f"{value:.3g}") for dimension, letter, value in listed]
    return rendered_page(
        "report.html",
        title=edition.title or f"Compound scaling for {words.bare(words.subject(record))}",
        name=words.run_name(record),
        date=record.provenance.date,
        state=words.state(record),
        question=words.question(record),
        factors=factors,
        picture=next((one for one in figures if one.name == "accuracy_flops"), None),
        answer=words.answer_markdown(record),
        key_facts=key_facts(record, edition.rates),
        notes=notes(record),
        sections=list(sections(record, members, figures, edition.rates)),
        commands=record.commands,
        reload_seconds=edition.reload_seconds,
    )


def rendered_page(
    template: str, script_file: str = "sort.js", reload_seconds: int | None = None, **values: Any
) -> str:  # fmt: skip
    """A template with its values; scripts other than ``script_file``, which stands in it, may not run.

    Args:
        reload_seconds: after which the page loads itself anew; None: never.
    """
    environment = _environment()
    script = environment.get_template(script_file).render()
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        script=Markup(script), script_hash=allowed, reload_seconds=reload_seconds, **values
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("scalesearch.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    looks = {"wide": PAGE, "narrow": PHONE, "beside": PHONE}
    environment.filters |= {"html": html} | {size: partial(_svg, look, size) for size, look in looks.items()}
    return environment


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


def _svg(look: Look, size: str, one: Drawing) -> Markup:
    return inline_svg(one.draw(look), f"{one.name}-{size}", one.caption, one.description)
