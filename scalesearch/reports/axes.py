"""What the figures share: size, colours, ticks that read as people write counts."""

import io
import math
from collections.abc import Iterable
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


def panels_beside(
    height_inches: float, shares: tuple[float, ...], title: str, note: str
) -> tuple[Figure, tuple[Axes, ...]]:
    """A figure with panels side by side that share their vertical axis; ``note`` stands small under the title.

    Args:
        height_inches: of the figure; its width is ``WIDTH_INCHES``.
        shares: relative width of each panel.
    """
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    panels = tuple(figure.subplots(1, len(shares), sharey=True, width_ratios=shares, squeeze=False)[0])
    figure.suptitle(title, fontsize=11)
    panels[-1].set_title(note, fontsize=8, color="#333333")
    return figure, panels


def panels_below(rows: tuple[float, ...], title: str, note: str) -> tuple[Figure, tuple[Axes, ...]]:
    """A figure with panels one below another, each as tall as its rows of text need; scales of their own."""
    height = 1.6 + 0.2 * sum(rows) + 0.35 * len(rows)
    figure = Figure(figsize=(WIDTH_INCHES, max(2.4, height)), layout="constrained")
    panels = tuple(figure.subplots(len(rows), 1, height_ratios=[one + 0.6 for one in rows], squeeze=False)[:, 0])
    figure.suptitle(title, fontsize=11)
    panels[0].set_title(note, fontsize=8, color="#333333")
    return figure, panels


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


def rendered(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file's bytes; figures made alike give the same bytes. PNG: 150 dpi, 256 colours."""
    stream = io.BytesIO()
    if kind == "svg":
        with matplotlib.rc_context({"svg.hashsalt": "scalesearch"}):
            figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()
    figure.savefig(stream, format="png", dpi=150)
    small = io.BytesIO()
    with Image.open(stream) as image:
        image.convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()
