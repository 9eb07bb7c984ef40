"""The winner set, and the recommended candidate against depth, width and resolution alone at the same real FLOPs."""

from matplotlib.figure import Figure

from scalesearch.reports.figures import canvas
from scalesearch.reports.words import accuracy_note, mark_label, shortened
from scalesearch.study.answer import Answer, Standing
from scalesearch.study.record import Record
from scalesearch.study.statistics import Interval
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
        axes,
        [f"{c.dimension} only\n{shortened(c.control)}, {counted(c.epochs, 'epoch')}" for c in comparisons],
        0.5,
    )
    axes.set_xlabel(
        look.wrap(f"lead of {recommended} in score (right of 0: {recommended} is better)"), parse_math=False
    )
    canvas.legend_below(figure, look)
    return figure
