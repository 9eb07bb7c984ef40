"""Markdown to HTML: the report's sentences are written once, as markdown, for report.md and for the page."""

from functools import cache

from markdown_it import MarkdownIt
from markupsafe import Markup


def html(markdown: str) -> Markup:
    """Paragraphs, lists and emphasis; raw HTML in it stays text.

    >>> print(html("**a** <b> [x](javascript:1)"))
    <p><strong>a</strong> &lt;b&gt; [x](javascript:1)</p>
    """
    return Markup(_parser().render(markdown).strip())


@cache
def _parser() -> MarkdownIt:
    # html: raw HTML is escaped. Images would be loaded from wherever a name says, links could lead anywhere.
    return MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink"])
