"""Compound scaling against depth, width and resolution alone, each at the same real FLOPs."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from scalesearch.reports.axes import BLUE, FILE, GREY, ORANGE, RED, Look, legend_below, panels_below
from scalesearch.reports.tables import epochs_text, shortened

STYLES = {"won": ("D", RED), "not shown": ("o", BLUE), "bought": ("s", ORANGE), "lost": ("X", GREY)}


def controls_figure(comparisons: Sequence[Mapping[str, Any]], recommended: str, note: str, look: Look = FILE) -> Figure:
    """The recommended candidate's lead in score over each control, with its 95 % interval, paired by image.

    Args:
        comparisons: of ``facts.WinnerFacts``, at least one.
        note: one line that says where the accuracies come from.
    """
    recommended = shortened(recommended)
    title = f"Lead of {recommended} over one dimension alone, 95 % intervals"
    figure, (axes,) = panels_below((1.4 * len(comparisons),), title, note, look)
    axes.axvline(0, color=GREY, linewidth=1)
    seen: set[str] = set()
    for place, item in enumerate(comparisons):
        verdict = item["verdict"]
        marker, colour = STYLES[verdict]
        axes.errorbar(
            item["gap"], place, xerr=[[max(0.0, item["gap"] - item["low"])], [max(0.0, item["high"] - item["gap"])]],
            fmt=marker, color=colour, markersize=8, markeredgecolor="black", markeredgewidth=0.5, elinewidth=1.5,
            capsize=3, label=None if verdict in seen else verdict,
        )  # fmt: skip
        seen.add(verdict)
    names = [
        f"{item['dimension']} only\n{shortened(item['control'])}, {epochs_text(item['epochs'])}" for item in comparisons
    ]
    axes.set_yticks(range(len(comparisons)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.set_xlabel(
        look.wrap(f"lead of {recommended} in score (right of 0: {recommended} is better)"), parse_math=False
    )
    axes.grid(axis="x", alpha=0.25)
    legend_below(figure, look)
    return figure
