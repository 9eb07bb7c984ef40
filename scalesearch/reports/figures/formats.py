"""A figure as a file, and as SVG for a page."""

import io
import re
from typing import Literal

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from scalesearch.reports.figures.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, RED

# What the figures draw with, and the page's variable that takes its place; template.html gives both modes' values.
COLOURS = {
    BLUE: "blue", ORANGE: "orange", GREEN: "green", RED: "red", PURPLE: "purple", GREY: "grey", "#000000": "ink",
    "#333333": "ink", "#b0b0b0": "rule", "#bbbbbb": "rule", "#cccccc": "rule", "#ffffff": "paper",
}  # fmt: skip
TAG = re.compile(r"<[^>]+>")
FONT = re.compile(r"font-family: [^;\"]+")
DECIMALS = re.compile(r"(?<=\.\d\d)\d+")


def rendered(figure: Figure, kind: Literal["png", "svg", "pdf"]) -> bytes:
    """The figure as a file's bytes; figures made alike give the same bytes. PNG: 150 dpi, 256 colours."""
    stream = io.BytesIO()
    if kind == "svg":
        with matplotlib.rc_context({"svg.hashsalt": "scalesearch"}):
            figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()
    if kind == "pdf":
        with matplotlib.rc_context({"pdf.fonttype": 42}):  # fonts that publishers take, and text that can be searched
            figure.savefig(stream, format="pdf", metadata={"CreationDate": None})
        return stream.getvalue()
    figure.savefig(stream, format="png", dpi=150)
    small = io.BytesIO()
    with Image.open(stream) as image:
        image.convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()


def inline_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an ``svg`` element, to stand in HTML.

    Args:
        name: begins every id, so that figures of one page do not share any.
        title, description: what a screen reader says of it.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scalesearch"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None  # matplotlib always writes one
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = TAG.sub(lambda tag: _own(tag[0], name), body)
    heading = (
        f'<svg viewBox="{box[1]}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return Markup(f"{heading}{body.strip()}</svg>")


def _own(tag: str, name: str) -> str:
    """A tag with the page's fonts and colours, ids that begin with the figure's name, and hundredths of a point."""
    if "base64" in tag:
        return re.sub(r'\bid="', f'id="{name}-', tag.replace("xlink:href=", "href="))
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', tag).replace("url(#", f"url(#{name}-")
    for colour, variable in COLOURS.items():
        tag = tag.replace(colour.lower(), f"var(--{variable})")
    return DECIMALS.sub("", FONT.sub("font-family: inherit", tag))
