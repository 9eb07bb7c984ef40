"""Learning curves: at the rungs of a race, of trained members after every epoch, and of the learning rate's test."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from scalesearch.reports.figures import canvas
from scalesearch.reports.words import accuracy_note, mark_label
from scalesearch.study.record import MemberTraining, Record
from scalesearch.study.summary import NetworkSummary

COLOURS = (canvas.BLUE, canvas.RED, canvas.GREEN, canvas.ORANGE, canvas.PURPLE, canvas.GREY)
MARKERS, LINES = ("o", "s", "D", "^", "v", "P", "X"), ("-", "--", "-.", ":")


def networks(record: Record) -> list[list[NetworkSummary]]:
    """The rungs of each network, by epochs."""
    return [list(ones) for _, ones in groupby(record.rungs, key=lambda one: one.row.candidate)]


def learning_figure(record: Record, look: canvas.Look = canvas.FILE) -> Figure:
    """A line a network from rung to rung, nothing between; epochs on a logarithmic axis whose ticks are the rungs.

    At least one network has a result; the bars of the one in front are 95 % intervals.
    """
    title = "Accuracy by epochs of training, measured where trainings pause"
    figure, (axes,) = canvas.panels_beside(4.2, (1.0,), title, accuracy_note(record), look)
    front = record.leader.row.candidate if record.leader else None
    for ones in networks(record):
        style = replace(canvas.STANDING[ones[0].status or "unknown"], size=4.5)
        if ones[0].is_baseline:
            style = canvas.Style("baseline", "s", canvas.GREY, 4.5)
        elif ones[0].row.candidate == front:
            style = canvas.Style(mark_label(record), "*", canvas.RED, 12)
        _curve(axes, ones, style)
    ticks = sorted({one.row.epochs for one in record.rungs})
    axes.set_xscale("log")
    axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    return _finished(figure, axes, look)


def _curve(axes: Axes, ones: Sequence[NetworkSummary], style: canvas.Style) -> None:
    starred = style.marker == "*"
    axes.errorbar(
        [one.row.epochs for one in ones], [one.accuracy.value for one in ones],
        yerr=canvas.errors([one.accuracy for one in ones]) if starred else None, marker=style.marker,
        color=style.colour, label=style.label, capsize=2, linestyle="--" if style.marker == "s" else "-",
        linewidth=1.6 if starred else 0.9, elinewidth=1, markersize=style.size, markeredgecolor="black",
        markeredgewidth=0.5, zorder=4 if starred else 3 if style.marker == "s" else 2,
    )  # fmt: skip


def members_figure(trainings: Sequence[MemberTraining], look: canvas.Look = canvas.FILE) -> Figure:
    """Validation accuracy after every epoch of the members that were trained; each with a line and marker of its own.

    Args:
        trainings: at least one; those without an accuracy are left out.
    """
    title = "Learning curves of the members trained"
    figure, (axes,) = canvas.panels_beside(3.8, (1.0,), title, "trained on their own, after the search", look)
    for number, one in enumerate(trainings):
        colour, marker, line = (choice[number % len(choice)] for choice in (COLOURS, MARKERS, LINES))
        epochs, top1 = zip(*curve(one), strict=True)
        axes.plot(epochs, top1, line, color=colour, marker=marker, markersize=5, label=curve_name(one))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _finished(figure, axes, look)


def curve(training: MemberTraining) -> list[tuple[int, float]]:
    """(epochs trained, accuracy on validation images) after each epoch that has one."""
    return [(one.epoch + 1, one.metrics["top1"]) for one in training.history if "top1" in one.metrics]


def curve_name(training: MemberTraining) -> str:
    """The member, and what it started from."""
    return f"{training.model}, from {'scratch' if training.start == 'scratch' else 'weights'}"


def _finished(figure: Figure, axes: Axes, look: canvas.Look) -> Figure:
    canvas.accuracy_axis(axes)
    axes.set_xlabel("epochs")
    axes.grid(alpha=0.25)
    canvas.legend_below(figure, look)
    return figure


def lr_figure(lrs: Sequence[float], losses: Sequence[float], suggestion: float) -> Figure:
    """Smoothed training loss by peak learning rate, logarithmic, with the rate that is suggested."""
    figure = Figure(figsize=(0.7 * canvas.WIDTH_INCHES, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(lrs, losses, color=canvas.BLUE, linewidth=1.5)
    axes.axvline(suggestion, color=canvas.RED, linestyle="--", linewidth=1.2)
    axes.annotate(
        f"suggested: {suggestion:g}", (suggestion, 1), xycoords=("data", "axes fraction"), xytext=(5, -12),
        textcoords="offset points", color=canvas.RED, fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("learning rate of the head")
    axes.set_ylabel("training loss, smoothed")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
