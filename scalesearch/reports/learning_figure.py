"""Learning curves as a race knows them: each network's accuracy at the rungs where it was measured, nothing between."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from scalesearch.reports.axes import BLUE, FILE, GREEN, GREY, ORANGE, PURPLE, RED, Look, legend_below, panels_beside
from scalesearch.reports.facts import Curve
from scalesearch.reports.figures import Mark

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, GREY)
MARKERS, LINES = ("o", "s", "D", "^", "v", "P", "X"), ("-", "--", "-.", ":")
TITLE = "Accuracy by epochs of training, measured at each rung"


def has_curves(points: pd.DataFrame) -> bool:
    """Whether any network was measured more than once."""
    return bool(points.duplicated(["role", "candidate"]).any())


def learning_figure(
    points: pd.DataFrame, members: frozenset[str], mark: Mark | None, note: str, look: Look = FILE
) -> Figure:
    """A line a network from rung to rung; epochs on a logarithmic axis whose ticks are the rungs.

    Args:
        points: of ``statistics.rung_points``; at least one row.
        members: names of the winner set.
        mark: the candidate to star; its bars are 95 % intervals.
        note: one line that says where the accuracies come from.
    """
    figure, (axes,) = panels_beside(4.2, (1.0,), TITLE, note, look)
    seen: set[str] = set()
    for (role, number), rows in points.groupby(["role", "candidate"], sort=True):
        label, marker, colour = "beaten", "o", BLUE
        if role == "baseline":
            label, marker, colour = "baseline", "s", GREY
        elif mark and number == mark.candidate:
            label, marker, colour = mark.label, "*", RED
        elif rows["name"].iloc[0] in members:
            label, marker, colour = "in the winner set", "D", ORANGE
        _curve(axes, rows, None if label in seen else label, marker, colour)
        seen.add(label)
    ticks = sorted(set(points["epochs"].astype(int)))
    axes.set_xscale("log")
    axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("epochs")
    axes.set_ylabel("top-1 accuracy, validation images")
    axes.grid(alpha=0.25)
    legend_below(figure, look)
    return figure


def members_figure(curves: Sequence[Curve], note: str, look: Look = FILE) -> Figure:
    """Validation accuracy after every epoch of the members that were trained; each with a line and marker of its own.

    Args:
        curves: at least one, of at least one epoch.
        note: one line that says where the accuracies come from.
    """
    title = "Learning curves of the members trained"
    figure, (axes,) = panels_beside(3.8, (1.0,), title, note, look)
    for number, curve in enumerate(curves):
        colour, marker, line = (choice[number % len(choice)] for choice in (COLOURS, MARKERS, LINES))
        axes.plot(curve.epochs, curve.top1, line, color=colour, marker=marker, markersize=5, label=curve.name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("epochs")
    axes.set_ylabel("top-1 accuracy, validation images")
    axes.grid(alpha=0.25)
    legend_below(figure, look)
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, label: str | None, marker: str, colour: str) -> None:
    starred = marker == "*"
    rows = rows.sort_values("epochs")
    bars = (list(rows["accuracy"] - rows["low"]), list(rows["high"] - rows["accuracy"])) if starred else None
    axes.errorbar(
        rows["epochs"], rows["accuracy"], yerr=bars, marker=marker, color=colour, label=label, capsize=2,
        linestyle="--" if marker == "s" else "-", linewidth=1.6 if starred else 0.9, elinewidth=1,
        markersize=12 if starred else 4.5, markeredgecolor="black", markeredgewidth=0.5,
        zorder=4 if starred else 3 if marker == "s" else 2,
    )  # fmt: skip
