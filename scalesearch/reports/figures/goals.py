"""The same accuracies over several costs at full size."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from scalesearch.reports.figures import canvas
from scalesearch.reports.goal_words import GOALS
from scalesearch.reports.words import mark_label
from scalesearch.study.goals import Goal
from scalesearch.study.record import Record
from scalesearch.study.summary import NetworkSummary

SHOWN = ("flops", "latency", "memory")


def goals_figure(record: Record, goals: Sequence[Goal], look: canvas.Look = canvas.FILE) -> Figure:
    """Validation accuracy, 95 % intervals, of the networks trained longest over each cost, with each cost's Pareto
    front; the fuller a point, the likelier its network is truly on it. At least one of ``SHOWN`` is known."""
    shown = [goal for goal in goals if goal.kind in SHOWN]
    longest = max(one.row.epochs for one in record.summaries)
    ones = [one for one in record.summaries if one.row.epochs == longest]
    title = "Accuracy against several costs at full size, 95 % intervals"
    note = "fuller points: likelier on the front" if any(goal.likely for goal in shown) else ""
    if look.narrow:
        figure, panels = canvas.panels_below((9.0,) * len(shown), title, note, look)
    else:
        figure, panels = canvas.panels_beside(4.2, (1.0,) * len(shown), title, note, look)
    for axes, goal in zip(panels, shown, strict=True):
        told = GOALS[goal.kind]
        _points(axes, ones, goal, record)
        values = [goal.costs[one.row.name] for one in ones]
        canvas.count_axis(axes.xaxis, values, 3)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _, show=told.short: show(value)))
        axes.set_xlabel(told.axis if look.narrow else "\n".join(textwrap.wrap(told.axis, 30)), fontsize=look.points + 1)
        axes.grid(alpha=0.25)
        if look.narrow:
            canvas.accuracy_axis(axes, "top-1 accuracy")
    canvas.accuracy_axis(panels[0])
    canvas.legend_below(figure, look)
    return figure


def _points(axes: Axes, ones: Sequence[NetworkSummary], goal: Goal, record: Record) -> None:
    leader = record.leader.row.name if record.leader else ""
    kinds = {
        "baseline": canvas.Style("baseline", "s", canvas.GREY, 6.0),
        "candidate": canvas.Style("candidate", "o", canvas.BLUE, 4.5),
        "leader": canvas.Style(mark_label(record), "*", canvas.RED, 12.0),
    }
    for one in ones:
        name = one.row.name
        style = kinds["baseline" if one.is_baseline else "leader" if name == leader else "candidate"]
        axes.errorbar(
            [goal.costs[name]], [one.accuracy.value], yerr=canvas.errors([one.accuracy]), fmt=style.marker,
            color=style.colour, markersize=style.size, elinewidth=0.8, capsize=1.5,
            markerfacecolor=(style.colour, goal.likely.get(name, 0.0)) if goal.likely else style.colour,
            markeredgecolor=style.colour, markeredgewidth=1.0,
            zorder=4 if name == leader else 2,
        )  # fmt: skip
    for style in kinds.values():
        axes.plot([], [], style.marker, color=style.colour, markersize=style.size, label=style.label)
    front = sorted((goal.costs[one.row.name], one.accuracy.value) for one in ones if one.row.name in goal.front)
    if front:
        across, up = zip(*front, strict=True)
        axes.plot(across, up, "--", color=canvas.GREY, linewidth=1.1, label="Pareto front", zorder=1)
