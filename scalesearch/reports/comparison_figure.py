"""Recommended candidates and baselines of several searches, with intervals, where all saw the same images."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scalesearch.reports.axes import FILE, GREY, RED, Look, legend_below, panels_below
from scalesearch.reports.comparison import Run, leading
from scalesearch.reports.tables import epochs_text, shortened


def comparison_figure(runs: Sequence[Run], look: Look = FILE) -> Figure:
    """A row a run: the accuracy of its recommended candidate, or of the one ahead, and of its baseline."""
    title = "Accuracy of what each search recommends, 95 % intervals"
    figure, (axes,) = panels_below((1.4 * len(runs),), title, "validation images of the searches", look)
    seen: set[str] = set()
    for place, run in enumerate(runs):
        baseline = run.found.summary[run.found.summary["role"] == "baseline"].to_dict("records")
        first = leading(run)
        drawn = [("recommended, or ahead so far", "*", RED, 14.0, 0.0, first)] if first else []
        drawn += [("baseline", "s", GREY, 6.0, 0.22, row) for row in baseline]
        for label, marker, colour, size, below, row in drawn:
            axes.errorbar(
                row["accuracy"], place + below,
                xerr=[[row["accuracy"] - row["low"]], [row["high"] - row["accuracy"]]], fmt=marker, color=colour,
                markersize=size, markeredgecolor="black", markeredgewidth=0.5, capsize=2,
                label=None if label in seen else label,
            )  # fmt: skip
            seen.add(label)
    names = [_label(run) for run in runs]
    axes.set_yticks(range(len(runs)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(runs) - 0.4, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("top-1 accuracy, validation images")
    axes.grid(axis="x", alpha=0.25)
    legend_below(figure, look)
    return figure


def _label(run: Run) -> str:
    """A run's name, not too long, and how long the candidate in front was trained."""
    name, row = shortened(run.name), leading(run)
    return f"{name}\n{epochs_text(row['epochs'])}" if row else name
