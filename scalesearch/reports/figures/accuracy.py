"""Accuracies with their intervals: against FLOPs, and of several searches side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scalesearch.reports.figures import canvas
from scalesearch.reports.words import accuracy_note, mark_label, shortened
from scalesearch.study.record import Record
from scalesearch.study.summary import NetworkSummary
from scalesearch.units import counted

FLOPS_LABEL = "FLOPs as trained (multiply-adds, convolution + linear, fvcore)"
MANY = 40  # points from which markers and bars are drawn finer


def accuracy_figure(record: Record, look: canvas.Look = canvas.FILE) -> Figure:
    """Validation accuracy against the FLOPs of the networks as trained, 95 % intervals as bars, and the Pareto front.

    Candidates cost about twice the baseline, all nearly the same: the baseline has a panel of its own, so that
    they are not squeezed into a column. So have networks that were trained for fewer epochs, whose accuracies do not
    compare with the others'. All panels share the accuracy axis. At least one network has a result.
    """
    baseline = [one for one in record.summaries if one.is_baseline]
    candidates = [one for one in record.summaries if not one.is_baseline]  # those trained longest come first
    alike = [list(group) for _, group in groupby(candidates, key=lambda one: one.row.epochs)]
    shown = [(ones, share) for ones, share in (
        (baseline, 1.0), *((ones, (3.0 if look.narrow else 5.0) / len(alike)) for ones in alike)
    ) if ones]  # fmt: skip
    several = len({one.row.epochs for one in record.summaries}) > 1  # then each panel says its own
    figure, panels = canvas.panels_beside(
        4.4, tuple(share for _, share in shown), "Accuracy against cost, 95 % intervals",
        "" if several else accuracy_note(record), look,
    )  # fmt: skip
    ticks = (3 if len(shown) < 3 else 1) if look.narrow else 6 if len(shown) < 3 else 3
    for axes, (ones, _) in zip(panels, shown, strict=True):
        if ones is baseline:
            _with_bars(axes, ones, canvas.Style("baseline", "s", canvas.GREY, 7.0))
        else:
            _candidates(axes, ones, record, fine=len(candidates) > MANY)
            _front(axes, [one for one in ones if one.front], named=len(ones) <= MANY)
        if several:
            epochs = counted(ones[0].row.epochs, "epoch")
            axes.set_title(epochs if look.narrow else f"after {epochs}", fontsize=look.points)
        canvas.count_axis(axes.xaxis, [one.row.proxy_macs for one in ones], ticks)
        axes.grid(alpha=0.25)
    intervals = [one.accuracy for one in record.summaries]
    low, high = min(one.low for one in intervals), max(one.high for one in intervals)
    canvas.guessing_line(panels, record.plan.majority, low, high)
    canvas.accuracy_axis(panels[0])
    panels[1 if len(panels) > 1 else 0].set_xlabel(look.wrap(FLOPS_LABEL))
    canvas.legend_below(figure, look)
    return figure


def _candidates(axes: Axes, ones: Sequence[NetworkSummary], record: Record, *, fine: bool) -> None:
    """A series a status, and the candidate in front if it is one of them."""
    leader = record.leader
    for status, style in canvas.STANDING.items():
        of_status = [one for one in ones if one is not leader and (one.status or "unknown") == status]
        _with_bars(axes, of_status, replace(style, size=4.0 if fine else 5.5), fine=fine)
    if leader is not None and leader in ones:
        _with_bars(axes, [leader], canvas.Style(mark_label(record), "*", canvas.RED, 15.0))


def _front(axes: Axes, ones: Sequence[NetworkSummary], *, named: bool) -> None:
    """The candidates on the Pareto front: joined where there are several, named where there is room."""
    ones = sorted(ones, key=lambda one: one.row.proxy_macs)
    macs, accuracies = [one.row.proxy_macs for one in ones], [one.accuracy.value for one in ones]
    if len(ones) > 1:
        axes.plot(macs, accuracies, "--", color=canvas.GREY, linewidth=1.2, label="Pareto front", zorder=1)
    for number, one in enumerate(ones if named else []):
        # above and left of the front there is nothing; every other name goes below, so that neighbours stand apart
        above = number % 2 == 0
        axes.annotate(
            shortened(one.row.name), (one.row.proxy_macs, one.accuracy.value), (-6, 5) if above else (7, -5),
            textcoords="offset points", ha="right" if above else "left", va="bottom" if above else "top", fontsize=8,
            zorder=5, parse_math=False,
        )  # fmt: skip


def _with_bars(
    axes: Axes, ones: Sequence[NetworkSummary], style: canvas.Style, *, fine: bool = False
) -> None:  # fmt: skip
    if ones:
        axes.errorbar(
            [one.row.proxy_macs for one in ones], [one.accuracy.value for one in ones],
            yerr=canvas.errors([one.accuracy for one in ones]), fmt=style.marker, color=style.colour,
            markersize=style.size, label=style.label, elinewidth=0.5 if fine else 1.0, capsize=0 if fine else 2,
            zorder=4 if style.marker == "*" else 2, **canvas.faces(style, filled=True),
        )  # fmt: skip


def runs_figure(runs: Mapping[str, Record], look: canvas.Look = canvas.FILE) -> Figure:
    """A row a run that saw the same images: the accuracy of its recommended candidate, or of the one ahead, and of its
    baseline."""
    title = "Accuracy of what each search recommends, 95 % intervals"
    figure, (axes,) = canvas.panels_below((1.4 * len(runs),), title, "validation images of the searches", look)
    first = canvas.Style("recommended, or what stands for it", "*", canvas.RED, 14.0)
    baseline = canvas.Style("baseline", "s", canvas.GREY, 6.0)
    for place, record in enumerate(runs.values()):
        if record.leader:
            canvas.row_bar(axes, place, record.leader.accuracy, first, 1.5, 2)
        for one in record.summaries:
            if one.is_baseline:
                canvas.row_bar(axes, place + 0.22, one.accuracy, baseline, 1.5, 2)
    canvas.name_rows(axes, [_run_label(name, record) for name, record in runs.items()], 0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_xlabel("top-1 accuracy, validation images")
    canvas.legend_below(figure, look)
    return figure


def _run_label(name: str, record: Record) -> str:
    """A run's name, not too long, and how long the candidate in front was trained."""
    leader = record.leader
    return f"{shortened(name)}\n{counted(leader.row.epochs, 'epoch')}" if leader else shortened(name)
