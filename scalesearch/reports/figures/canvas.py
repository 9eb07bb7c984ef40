"""What the figures share: size, colours, ticks that read as people write counts."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from scalesearch.study.statistics import Interval
from scalesearch.units import show_count

# Okabe and Ito's colours, told apart by colour-blind readers; the figures' markers differ as well.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
WIDTH_INCHES = 7.0
NEAR = 0.3  # of the accuracies' range: how far below it guessing is still drawn
NAME_STEP = 0.045  # of the height of axes, between names below each other


@dataclass(frozen=True)
class Look:
    """Where a figure will stand.

    Args:
        titled: with its title and note; a page sets both as text of its own.
        columns: of the legend.
        characters: in a line of an axis label.
        points: size of small text.
    """

    width_inches: float
    titled: bool
    columns: int
    characters: int
    points: float = 8.0

    @property
    def narrow(self) -> bool:
        """Too narrow for panels side by side."""
        return self.width_inches < WIDTH_INCHES / 1.5

    def wrap(self, text: str) -> str:
        """A label broken into lines that fit."""
        return "\n".join(textwrap.wrap(text, self.characters))


@dataclass(frozen=True)
class Style:
    """How a kind of network is drawn."""

    label: str
    marker: str
    colour: str
    size: float


STANDING = {  # of a candidate in the answer; before there is one, of all
    "outside": Style("outside the set", "o", BLUE, 5.5),
    "member": Style("in the set", "D", ORANGE, 5.5),
    "unknown": Style("not decided", "v", GREEN, 5.5),
}
FILE = Look(WIDTH_INCHES, titled=True, columns=4, characters=80)
PAGE = Look(WIDTH_INCHES, titled=False, columns=4, characters=80)
PHONE = Look(3.7, titled=False, columns=2, characters=26)
PAPER = Look(3.3, titled=False, columns=3, characters=44, points=7.0)  # a column of most journals and conferences


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
    """One legend for all panels, each label once."""
    entries = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(dict(zip(labels, handles, strict=True)))
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=look.columns,
        frameon=False,
        fontsize=look.points,
    )


def names_beside(axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Names of points in a column right of the axes, in the points' order and clear of each other, each with a line."""
    low, high = axes.get_ylim()
    order = sorted(range(len(points)), key=lambda n: points[n][1])
    wanted = [(points[n][1] - low) / (high - low) for n in order]
    step = min(NAME_STEP, 1 / len(order))
    places = [place - step * rank for rank, place in enumerate(wanted)]  # apart by a step: these must not fall
    level = [max(places[: rank + 1]) for rank in range(len(order))]
    shift = max(0.0, level[-1] + step * (len(order) - 1) - 1)
    for rank, n in enumerate(order):
        axes.annotate(
            names[n], points[n], (1.02, level[rank] + step * rank - shift), textcoords="axes fraction", va="center",
            fontsize=8, parse_math=False, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip


def errors(intervals: Sequence[Interval]) -> tuple[list[float], list[float]]:
    """Lengths of bars on either side of values; a value outside its interval has none on that side."""
    return [max(0.0, one.value - one.low) for one in intervals], [max(0.0, one.high - one.value) for one in intervals]


def row_bar(
    axes: Axes, place: float, interval: Interval, style: Style, width: float = 1.2, cap: float = 0, filled: bool = True
) -> None:
    """A value with its interval in a row of its own, across."""
    axes.errorbar(
        interval.value, place, xerr=errors([interval]), fmt=style.marker, color=style.colour, markersize=style.size,
        elinewidth=width, capsize=cap, label=style.label, **faces(style, filled),
    )  # fmt: skip


def faces(style: Style, filled: bool) -> dict[str, Any]:
    """How a marker's face and edge are drawn."""
    if filled:
        return {"markerfacecolor": style.colour, "markeredgecolor": "black", "markeredgewidth": 0.5}
    return {"markerfacecolor": "white", "markeredgecolor": style.colour, "markeredgewidth": 1.2}


def name_rows(axes: Axes, names: Sequence[str], above: float = 0.6) -> None:
    """Names the rows of a panel, the first one on top; ``above``: room over it, in rows."""
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -above)
    axes.grid(axis="x", alpha=0.25)


def accuracy_axis(axes: Axes, label: str = "top-1 accuracy, validation images") -> None:
    """The vertical axis in percent."""
    axes.set_ylabel(label, parse_math=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def guessing_line(panels: Sequence[Axes], share: float, low: float, high: float) -> bool:
    """Draws what guessing the most frequent class gets right, where that is near accuracies from ``low`` to ``high``;
    whether it is."""
    near = share > low - NEAR * (high - low)
    for axes in panels if near else ():
        axes.axhline(share, color=GREY, linewidth=0.7, linestyle=(0, (1, 3)), label="guessing")
    return near


def count_axis(axis: Axis, values: Iterable[float], ticks: int = 6) -> None:
    """Makes an axis of counts logarithmic around the values; about so many ticks such as ``200M``; one value is its own
    tick."""
    numbers = [float(value) for value in values]
    low, high = min(numbers), max(numbers)
    alone = low == high
    margin = max(1.01, (high / low) ** 0.06)
    low, high = low / margin, high * margin
    places = numbers[:1] if alone else count_ticks(low, high, ticks)
    setter = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale  # type: ignore[attr-defined]
    setter("log")
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)  # type: ignore[attr-defined]
    axis.set_major_locator(FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: show_count(value)))


def count_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Tick values inside [low, high]: even steps within a factor of 4, else 1–2–5, else powers of ten."""
    if high / low < 4:
        ticks = [float(tick) for tick in MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    else:
        digits = (1, 2, 5) if high / low < 1000 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [digit * 10.0**power for power in powers for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]
