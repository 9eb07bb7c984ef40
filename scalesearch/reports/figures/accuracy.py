"""Accuracies with their intervals: against FLOPs, and of several searches side by side."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scalesearch.reports.figures.axes import (
    BLUE,
    FILE,
    GREY,
    ORANGE,
    RED,
    Look,
    Style,
    accuracy_axis,
    count_axis,
    errors,
    legend_below,
    name_rows,
    panels_below,
    panels_beside,
    row_bar,
)
from scalesearch.reports.words import accuracy_note, mark_label, shortened
from scalesearch.study.record import Record
from scalesearch.study.summary import NetworkSummary
from scalesearch.units import counted

FLOPS_LABEL = "FLOPs (multiply-adds, convolution + linear, fvcore)"
MANY = 40  # points from which markers and bars are drawn finer


def accuracy_figure(record: Record, look: Look = FILE) -> Figure:
    """Validation accuracy against the full-size network's FLOPs, 95 % intervals as bars, and the Pareto front.

    Candidates cost about twice the baseline, all nearly the same: the baseline has a panel of its own, so that
    they are not squeezed into a column. Both panels share the accuracy axis. Open markers were trained for fewer
    epochs than the others, so their accuracies are not comparable with those. At least one network has a result.
    """
    baseline = [one for one in record.summaries if one.is_baseline]
    candidates = [one for one in record.summaries if not one.is_baseline]
    shown = [(ones, share) for ones, share in ((baseline, 1.0), (candidates, 3.0 if look.narrow else 5.0)) if ones]
    figure, panels = panels_beside(
        4.4, tuple(share for _, share in shown), "Accuracy against cost, 95 % intervals", accuracy_note(record), look
    )
    for axes, (ones, _) in zip(panels, shown, strict=True):
        if ones is baseline:
            _with_bars(axes, ones, Style("baseline", "s", GREY, 7.0))
        else:
            _candidates(axes, ones, record)
            _front(axes, [one for one in ones if one.front], named=len(ones) <= MANY)
        count_axis(axes.xaxis, [one.row.macs for one in ones])
        axes.grid(alpha=0.25)
    accuracy_axis(panels[0])
    panels[-1].set_xlabel(look.wrap(FLOPS_LABEL))
    legend_below(figure, look)
    return figure


def _candidates(axes: Axes, ones: Sequence[NetworkSummary], record: Record) -> None:
    """A series a status, open where trained for fewer epochs than the longest."""
    longest, leader = record.summaries[0].row.epochs, record.leader
    size, fine = (4.0, True) if len(ones) > MANY else (5.5, False)
    for inside, name, marker, colour in ((False, "beaten", "o", BLUE), (True, "in the winner set", "D", ORANGE)):
        of_status = [one for one in ones if one is not leader and one.member == inside]
        full = [one for one in of_status if one.row.epochs == longest]
        _with_bars(axes, full, Style(name, marker, colour, size), fine=fine)
        label = f"{'in the set' if inside else name}, fewer epochs"
        shorter = [one for one in of_status if one.row.epochs < longest]
        _with_bars(axes, shorter, Style(label, marker, colour, size), fine=fine, filled=False)
    if leader:
        _with_bars(axes, [leader], Style(mark_label(record), "*", RED, 15.0))


def _front(axes: Axes, ones: Sequence[NetworkSummary], *, named: bool) -> None:
    """The candidates on the Pareto front: joined where there are several, named where there is room."""
    ones = sorted(ones, key=lambda one: one.row.macs)
    macs, accuracies = [one.row.macs for one in ones], [one.accuracy.value for one in ones]
    if len(ones) > 1:
        axes.plot(macs, accuracies, "--", color=GREY, linewidth=1.2, label="Pareto front", zorder=1)
    for number, one in enumerate(ones if named else []):
        # above and left of the front there is nothing; every other name goes below, so that neighbours stand apart
        above = number % 2 == 0
        axes.annotate(
            shortened(one.row.name), (one.row.macs, one.accuracy.value), (-6, 5) if above else (7, -5),
            textcoords="offset points", ha="right" if above else "left", va="bottom" if above else "top", fontsize=8,
            zorder=5, parse_math=False,
        )  # fmt: skip


def _with_bars(
    axes: Axes, ones: Sequence[NetworkSummary], style: Style, *, fine: bool = False, filled: bool = True
) -> None:
    if ones:
        axes.errorbar(
            [one.row.macs for one in ones], [one.accuracy.value for one in ones],
            yerr=errors([one.accuracy for one in ones]), fmt=style.marker, color=style.colour, markersize=style.size,
            label=style.label, elinewidth=0.5 if fine else 1.0, capsize=0 if fine else 2,
            markerfacecolor=style.colour if filled else "white", markeredgecolor="black" if filled else style.colour,
            markeredgewidth=0.5 if filled else 1.2, zorder=4 if style.marker == "*" else 2,
        )  # fmt: skip


def runs_figure(runs: Mapping[str, Record], look: Look = FILE) -> Figure:
    """A row a run that saw the same images: the accuracy of its recommended candidate, or of the one ahead, and of its
    baseline."""
    title = "Accuracy of what each search recommends, 95 % intervals"
    figure, (axes,) = panels_below((1.4 * len(runs),), title, "validation images of the searches", look)
    for place, record in enumerate(runs.values()):
        if record.leader:
            row_bar(axes, place, record.leader.accuracy, Style("recommended, or ahead so far", "*", RED, 14.0), 1.5, 2)
        for one in record.summaries:
            if one.is_baseline:
                row_bar(axes, place + 0.22, one.accuracy, Style("baseline", "s", GREY, 6.0), 1.5, 2)
    name_rows(axes, [_run_label(name, record) for name, record in runs.items()], 0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("top-1 accuracy, validation images")
    legend_below(figure, look)
    return figure


def _run_label(name: str, record: Record) -> str:
    """A run's name, not too long, and how long the candidate in front was trained."""
    leader = record.leader
    return f"{shortened(name)}\n{counted(leader.row.epochs, 'epoch')}" if leader else shortened(name)
