"""Scores with their intervals: the winner set, the lead over one dimension alone at the same real FLOPs, and the same
networks at φ = 1 and another φ."""

from matplotlib.figure import Figure

from scalesearch.reports.figures import canvas
from scalesearch.reports.words import accuracy_note, mark_label, shortened, sizes_compared, tau
from scalesearch.study.answer import Answer, Standing
from scalesearch.study.record import Record
from scalesearch.study.statistics import Interval
from scalesearch.study.verification import SizeComparison, Verification
from scalesearch.units import counted

STANDING = {
    "member": canvas.Style("in the winner set", "D", canvas.ORANGE, 5.5),
    "undecided": canvas.Style("in the set, undecided", "o", canvas.BLUE, 5.5),
    "beaten": canvas.Style("beaten", "x", canvas.GREY, 5.5),
}
VERDICT = {
    "won": canvas.Style("won", "D", canvas.RED, 8.0),
    "not shown": canvas.Style("not shown", "o", canvas.BLUE, 8.0),
    "bought": canvas.Style("bought", "s", canvas.ORANGE, 8.0),
    "lost": canvas.Style("lost", "X", canvas.GREY, 8.0),
}
STARRED = canvas.Style("recommended", "*", canvas.RED, 15.0)
ALONE = canvas.Style("one dimension alone", "s", canvas.ORANGE, 6.0)
BEATEN_AT_ONE = canvas.Style("beaten at φ = 1", "D", canvas.GREY, 5.0)
SET_AT_ONE = canvas.Style("winner set of φ = 1", "o", canvas.BLUE, 6.0)


def winner_figure(record: Record, answer: Answer, look: canvas.Look = canvas.FILE) -> Figure:
    """Every candidate's score with its 95 % interval, in order of standing; one panel a rung, since scores after
    different numbers of epochs cannot be compared."""
    rungs = sorted({standing.epochs for standing in answer.standings}, reverse=True)
    heights = tuple(float(sum(standing.epochs == epochs for standing in answer.standings)) for epochs in rungs)
    title = "Scores with 95 % intervals; candidates named with α/β/γ"
    figure, panels = canvas.panels_below(heights, title, accuracy_note(record), look)
    rows = {row.name: row for row in record.rows}
    for axes, epochs in zip(panels, rungs, strict=True):
        names = []
        for place, standing in enumerate(one for one in answer.standings if one.epochs == epochs):
            row, style = rows[standing.name], STANDING[standing.status]
            if standing.name == answer.recommended:
                style = canvas.Style(mark_label(record), "*", canvas.RED, 13.0)
            canvas.row_bar(axes, place, Interval(standing.score, standing.low, standing.high), style)
            factors = f"{row.alpha:.3g}/{row.beta:.3g}/{row.gamma:.3g}"
            names.append(f"{shortened(standing.name)} {factors}{_only(standing, look)}")
        canvas.name_rows(axes, names)
        if look.titled:
            axes.set_ylabel(f"{epochs} ep.", rotation=0, ha="right", labelpad=4)
        else:
            axes.set_title(f"after {counted(epochs, 'epoch')}", fontsize=9, loc="left")
    panels[-1].set_xlabel(look.wrap("score (accuracy, discounted by FLOPs)"))
    figure.align_ylabels(panels)
    canvas.legend_below(figure, look)
    return figure


def _only(standing: Standing, look: canvas.Look) -> str:
    if not standing.control:
        return ""
    return f" {standing.control}" if look.narrow else f" ({standing.control} only)"


def controls_figure(record: Record, answer: Answer, look: canvas.Look = canvas.FILE) -> Figure:
    """The recommended candidate's lead in score over each control, at least one, with its 95 % interval, paired by
    image."""
    recommended, comparisons = shortened(answer.recommended), answer.comparisons
    title = f"Lead of {recommended} over one dimension alone, 95 % intervals"
    figure, (axes,) = canvas.panels_below((1.4 * len(comparisons),), title, accuracy_note(record), look)
    axes.axvline(0, color=canvas.GREY, linewidth=1)
    for place, item in enumerate(comparisons):
        canvas.row_bar(axes, place, Interval(item.gap, item.low, item.high), VERDICT[item.verdict], 1.5, 3)
    canvas.name_rows(
        axes, [f"{c.dimension} only\n{shortened(c.control)}, {counted(c.epochs, 'epoch')}" for c in comparisons], 0.5
    )
    axes.set_xlabel(
        look.wrap(f"lead of {recommended} in score (right of 0: {recommended} is better)"), parse_math=False
    )
    canvas.legend_below(figure, look)
    return figure


def transfer_figure(verified: Verification, look: canvas.Look = canvas.FILE) -> Figure:
    """Every network once, with both 95 % intervals; controls are named by their dimension, the others by name."""
    title = f"Score at φ = {verified.phi:g} against φ = 1: {tau(verified)}"
    figure, (axes,) = canvas.panels_beside(5.0, (1.0,), title, sizes_compared(verified), look)
    for style in (SET_AT_ONE, BEATEN_AT_ONE, ALONE, STARRED):
        ones = [one for one in verified.networks if _style(one) is style]
        if ones:
            axes.errorbar(
                [one.at_one.value for one in ones], [one.at_phi.value for one in ones],
                xerr=canvas.errors([one.at_one for one in ones]), yerr=canvas.errors([one.at_phi for one in ones]),
                fmt=style.marker, color=style.colour, markersize=style.size, label=style.label, elinewidth=0.8,
                capsize=2, markeredgecolor="black", markeredgewidth=0.5, zorder=4 if style is STARRED else 2,
            )  # fmt: skip
    # neighbours in score have their names on different sides
    for number, one in enumerate(sorted(verified.networks, key=lambda one: one.at_phi.value)):
        left = number % 2 == 1
        axes.annotate(
            one.control or one.name, (one.at_one.value, one.at_phi.value),
            xytext=(-6, -11) if left else (6, 5), ha="right" if left else "left", textcoords="offset points",
            fontsize=8, parse_math=False,
        )  # fmt: skip
    axes.set_xlabel("score at φ = 1, 95 % interval")
    axes.set_ylabel(f"score at φ = {verified.phi:g}, 95 % interval")
    axes.margins(0.08)
    axes.grid(alpha=0.25)
    canvas.legend_below(figure, look)
    return figure


def _style(one: SizeComparison) -> canvas.Style:
    if one.status == "recommended":
        return STARRED
    if one.control:
        return ALONE
    return BEATEN_AT_ONE if one.status == "beaten" else SET_AT_ONE
