"""Scores with their intervals: expected after full training, the lead over the paper's coefficients and one dimension
alone, and the same networks at φ = 1 and another φ."""

from dataclasses import replace

from matplotlib.figure import Figure

from scalesearch.reports.figures import canvas
from scalesearch.reports.words import OTHERS, accuracy_note, mark_label, ordered, scales, shortened, sizes_compared, tau
from scalesearch.study.answer import Answer, Standing
from scalesearch.study.record import Record
from scalesearch.study.statistics import Interval
from scalesearch.study.verification import SizeComparison, Verification

VERDICT = {
    "won": canvas.Style("won", "D", canvas.RED, 8.0),
    "not shown": canvas.Style("not shown", "o", canvas.BLUE, 8.0),
    "bought": canvas.Style("bought at a higher cost", "s", canvas.ORANGE, 8.0),
    "lost": canvas.Style("lost", "X", canvas.GREY, 8.0),
}
STARRED = canvas.Style("recommended", "*", canvas.RED, 15.0)
ALONE = canvas.Style("one dimension alone", "s", canvas.ORANGE, 6.0)
PAPERS = canvas.Style("the paper's coefficients", "^", canvas.GREEN, 7.0)
OUTSIDE_AT_ONE = canvas.Style("outside the set of φ = 1", "D", canvas.GREY, 5.0)
SET_AT_ONE = canvas.Style("in the set of φ = 1", "o", canvas.BLUE, 6.0)


def standings_figure(record: Record, answer: Answer, look: canvas.Look = canvas.FILE) -> Figure:
    """Every candidate's score expected after full training with its 95 % interval, the likeliest best on top.

    Open markers: not trained to the end, so that the score rests on an early rung. The dashed line is the baseline's.
    """
    shown = [(one, one.score) for one in answer.standings if one.score is not None]
    title = "Scores expected after full training, 95 % intervals; named with multipliers"
    figure, (axes,) = canvas.panels_below((float(len(shown)),), title, accuracy_note(record), look)
    rows, full = {row.name: row for row in record.rows}, record.plan.train.epochs
    for item in answer.comparisons:
        if item.dimension == "baseline" and answer.best and answer.best.score:
            place = 100 * (answer.best.score.value - item.gap)
            axes.axvline(place, color=canvas.GREY, linestyle="--", linewidth=1, label="baseline", zorder=1)
    names = []
    for place, (standing, score) in enumerate(shown):
        row, early, style = rows[standing.name], standing.epochs < full, canvas.STANDING[standing.status]
        if standing.name == answer.recommended:
            style = canvas.Style(mark_label(record), "*", canvas.RED, 13.0)
        elif early:
            style = replace(style, label=f"{style.label}, fewer epochs")
        canvas.row_bar(axes, place, _points(score), style, filled=not early)
        factors = f"{row.depth_ratio:.2f}/{row.width_ratio:.2f}/{row.resolution_ratio:.2f}"
        names.append(f"{shortened(standing.name)} {factors}{_control(standing, look)}")
    canvas.name_rows(axes, names)
    axes.set_xlabel(look.wrap("score after full training, in points (accuracy, discounted by cost)"))
    canvas.legend_below(figure, look)
    return figure


def _points(interval: Interval) -> Interval:
    return Interval(100 * interval.value, 100 * interval.low, 100 * interval.high)


def _control(standing: Standing, look: canvas.Look) -> str:
    if not standing.control:
        return ""
    return f" {standing.control}" if look.narrow else f" ({scales(standing.control)})"


def controls_figure(record: Record, answer: Answer, look: canvas.Look = canvas.FILE) -> Figure:
    """The recommended candidate's lead in expected score over each other one, at least one, with its 95 % interval."""
    recommended, comparisons = shortened(answer.recommended), ordered(answer)
    title = f"Lead of {recommended} in score expected after full training, 95 % intervals"
    figure, (axes,) = canvas.panels_below((1.4 * len(comparisons),), title, accuracy_note(record), look)
    axes.axvline(0, color=canvas.GREY, linewidth=1)
    for place, item in enumerate(comparisons):
        lead = _points(Interval(item.gap, item.low, item.high))
        canvas.row_bar(axes, place, lead, VERDICT[item.verdict], 1.5, 3)
    names = [
        OTHERS[c.dimension] + ("" if c.control == c.dimension else f"\n{shortened(c.control)}") for c in comparisons
    ]
    canvas.name_rows(axes, names, 0.5)
    axes.set_xlabel(
        look.wrap(f"lead of {recommended} in points of score (right of 0: {recommended} is better)"), parse_math=False
    )
    canvas.legend_below(figure, look)
    return figure


def transfer_figure(verified: Verification, look: canvas.Look = canvas.FILE) -> Figure:
    """Every network once, with both 95 % intervals; controls are named by their dimension, the others by name."""
    title = f"Score at φ = {verified.phi:g} against φ = 1: {tau(verified)}"
    figure, (axes,) = canvas.panels_beside(5.0, (1.0,), title, sizes_compared(verified), look)
    for style in (SET_AT_ONE, OUTSIDE_AT_ONE, ALONE, PAPERS, STARRED):
        ones = [one for one in verified.networks if _style(one) is style]
        if ones:
            axes.errorbar(
                [100 * one.at_one.value for one in ones], [100 * one.at_phi.value for one in ones],
                xerr=canvas.errors([_points(one.at_one) for one in ones]),
                yerr=canvas.errors([_points(one.at_phi) for one in ones]),
                fmt=style.marker, color=style.colour, markersize=style.size, label=style.label, elinewidth=0.8,
                capsize=2, markeredgecolor="black", markeredgewidth=0.5, zorder=4 if style is STARRED else 2,
            )  # fmt: skip
    axes.set_xlabel("score at φ = 1, in points, 95 % interval")
    axes.set_ylabel(f"score at φ = {verified.phi:g}, in points, 95 % interval")
    axes.margins(0.08)
    axes.grid(alpha=0.25)
    places = [(100 * one.at_one.value, 100 * one.at_phi.value) for one in verified.networks]
    canvas.names_beside(axes, [one.control or one.name for one in verified.networks], places)
    canvas.legend_below(figure, look)
    return figure


def _style(one: SizeComparison) -> canvas.Style:
    if one.status == "recommended":
        return STARRED
    if one.control:
        return PAPERS if one.control == "paper" else ALONE
    return OUTSIDE_AT_ONE if one.status == "outside" else SET_AT_ONE
