"""What the figures share: size, colours, ticks that read as people write counts."""

import io
import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

from scalesearch.reports.tables import count_text

# Okabe and Ito's colours, told apart by colour-blind readers; the figures' markers differ as well.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
WIDTH_INCHES = 7.0


@dataclass(frozen=True)
class Look:
    """Where a figure will stand.

    Args:
        titled: with its title and note; a page sets both as text of its own.
        columns: of the legend.
        characters: in a line of an axis label.
    """

    width_inches: float
    titled: bool
    columns: int
    characters: int

    @property
    def narrow(self) -> bool:
        """Too narrow for panels side by side."""
        return self.width_inches < WIDTH_INCHES / 1.5

    def wrap(self, text: str) -> str:
        """A label broken into lines that fit."""
        return "\n".join(textwrap.wrap(text, self.characters))


FILE = Look(WIDTH_INCHES, titled=True, columns=4, characters=80)
PAGE = Look(WIDTH_INCHES, titled=False, columns=4, characters=80)
PHONE = Look(3.7, titled=False, columns=2, characters=26)


def panels_beside(
    height_inches: float, shares: tuple[float, ...], title: str, note: str, look: Look = FILE
) -> tuple[Figure, tuple[Axes, ...]]:
    """A figure with panels side by side that share their vertical axis; ``note`` stands small under the title.

    Args:
        height_inches: of the figure.
        shares: relative width of each panel.
    """
    figure = Figure(figsize=(look.width_inches, height_inches), layout="constrained")
    panels = tuple(figure.subplots(1, len(shares), sharey=True, width_ratios=shares, squeeze=False)[0])
    head(figure, panels[-1], title, note, look)
    return figure, panels


def panels_below(rows: tuple[float, ...], title: str, note: str, look: Look = FILE) -> tuple[Figure, tuple[Axes, ...]]:
    """A figure with panels one below another, each as tall as its rows of text need; scales of their own."""
    height = 1.6 + 0.2 * sum(rows) + 0.35 * len(rows)
    figure = Figure(figsize=(look.width_inches, max(2.4, height)), layout="constrained")
    panels = tuple(figure.subplots(len(rows), 1, height_ratios=[one + 0.6 for one in rows], squeeze=False)[:, 0])
    head(figure, panels[0], title, note, look)
    return figure, panels


def head(figure: Figure, axes: Axes, title: str, note: str, look: Look) -> None:
    """Title and note, where the figure carries its own."""
    if look.titled:
        figure.suptitle(title, fontsize=11)
        axes.set_title(note, fontsize=8, color="#333333", parse_math=False)


def legend_below(figure: Figure, look: Look) -> None:
    """One legend for all panels."""
    figure.legend(loc="outside lower center", ncols=look.columns, frameon=False, fontsize=8)


def count_axis(axis: Axis, values: Iterable[float]) -> None:
    """Makes an axis of counts logarithmic around the values; ticks such as ``200 M``; one value is its own tick."""
    numbers = [float(value) for value in values]
    low, high = min(numbers), max(numbers)
    alone = low == high
    margin = max(1.01, (high / low) ** 0.06)
    low, high = low / margin, high * margin
    ticks = numbers[:1] if alone else count_ticks(low, high)
    setter = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale  # type: ignore[attr-defined]
    setter("log")
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)  # type: ignore[attr-defined]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def count_ticks(low: float, high: float) -> list[float]:
    """Tick values inside [low, high]: even steps within a factor of 4, else 1–2–5, else powers of ten."""
    if high / low < 4:
        ticks = [float(tick) for tick in MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    else:
        digits = (1, 2, 5) if high / low < 1000 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]


def _short(value: float) -> str:
    """``count_text`` without zeros behind the point."""
    number, _, unit = count_text(value).partition(" ")
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number} {unit}".rstrip()


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
