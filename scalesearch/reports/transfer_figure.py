"""Scores at φ = 1 against scores at another φ: whether networks that win small win large."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalesearch.reports.axes import BLUE, FILE, GREY, ORANGE, RED, Look, legend_below, panels_beside
from scalesearch.reports.facts import Bounds, TransferPoint


@dataclass(frozen=True)
class Style:
    """How a kind of network is drawn."""

    label: str
    marker: str
    colour: str
    size: float


RECOMMENDED = Style("recommended", "*", RED, 15.0)
CONTROL = Style("one dimension alone", "s", ORANGE, 6.0)
BEATEN = Style("beaten at φ = 1", "D", GREY, 5.0)
MEMBER = Style("winner set of φ = 1", "o", BLUE, 6.0)


def transfer_figure(points: Sequence[TransferPoint], phi: float, tau: str, note: str, look: Look = FILE) -> Figure:
    """Every network once, with both 95 % intervals; controls are named by their dimension, the others by name.

    Args:
        points: at least one.
        tau: Kendall's τ in words, for the title.
        note: one line that says how both sides were trained.
    """
    figure, (axes,) = panels_beside(5.0, (1.0,), f"Score at φ = {phi:g} against φ = 1: {tau}", note, look)
    for style in (MEMBER, BEATEN, CONTROL, RECOMMENDED):
        _series(axes, [point for point in points if _style(point) is style], style)
    # neighbours in score have their names on different sides
    for number, point in enumerate(sorted(points, key=lambda point: point.at_phi)):
        left = number % 2 == 1
        axes.annotate(
            point.control or point.name, (point.at_one, point.at_phi),
            xytext=(-6, -11) if left else (6, 5), ha="right" if left else "left", textcoords="offset points",
            fontsize=8, parse_math=False,
        )  # fmt: skip
    axes.set_xlabel("score at φ = 1, 95 % interval")
    axes.set_ylabel(f"score at φ = {phi:g}, 95 % interval")
    axes.margins(0.08)
    axes.grid(alpha=0.25)
    legend_below(figure, look)
    return figure


def _style(point: TransferPoint) -> Style:
    if point.kind == "recommended":
        return RECOMMENDED
    if point.control:
        return CONTROL
    return BEATEN if point.kind == "beaten" else MEMBER


def _series(axes: Axes, points: Sequence[TransferPoint], style: Style) -> None:
    if points:
        axes.errorbar(
            [p.at_one for p in points], [p.at_phi for p in points],
            xerr=_errors([(p.at_one, p.at_one_interval) for p in points]),
            yerr=_errors([(p.at_phi, p.at_phi_interval) for p in points]),
            fmt=style.marker, color=style.colour, markersize=style.size, label=style.label, elinewidth=0.8,
            capsize=2, markeredgecolor="black", markeredgewidth=0.5, zorder=4 if style is RECOMMENDED else 2,
        )  # fmt: skip


def _errors(values: Sequence[tuple[float, Bounds]]) -> tuple[list[float], list[float]]:
    """Lengths of the bars below and above; a mean outside its percentiles has none on that side."""
    return (
        [max(0.0, value - low) for value, (low, _) in values],
        [max(0.0, high - value) for value, (_, high) in values],
    )
