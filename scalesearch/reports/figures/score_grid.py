"""The score over the grid of α and β."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.reports.figures.accuracy import MANY
from scalesearch.reports.figures.canvas import FILE, GREY, RED, Look, legend_below, panels_beside
from scalesearch.reports.words import accuracy_note, mark_label
from scalesearch.study.record import Record
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import Floats
from scalesearch.study.summary import NetworkSummary, common_epochs
from scalesearch.units import counted


def compared(record: Record) -> list[NetworkSummary]:
    """The candidates after the number of epochs at which most have a result, since only those compare."""
    epochs = common_epochs(record.rungs)
    return [one for one in record.rungs if one.row.epochs == epochs and not one.is_baseline]


def grid_figure(record: Record, look: Look = FILE) -> Figure:
    """The score over the grid: α across, β up; curves show the γ that the constraint leaves.

    At least one candidate has a result; failed ones are crosses.
    """
    title = "Score over the grid; curves: the γ (resolution) of αβ²γ² = 2"
    figure, (axes,) = panels_beside(5.2, (1.0,), title, accuracy_note(record), look)
    done = compared(record)
    reached = {one.row.candidate for one in record.summaries} | {BASELINE}
    failed = {row.candidate: row for row in record.rows if row.candidate not in reached}.values()
    rows = [*(one.row for one in done), *failed]
    alpha, beta = _apart([row.alpha for row in rows], [row.beta for row in rows])
    scores = [one.score for one in done]
    size, colours = 42.0 if len(alpha) > MANY else 90.0, _score_scale(scores)
    _gamma_curves(axes, alpha, beta, 0.12 if look.narrow else 0.05)
    axes.scatter(
        alpha[: len(done)], beta[: len(done)], c=scores, cmap="cividis", norm=colours, s=size,
        edgecolors="black", linewidths=0.6, zorder=3, label="candidate",
    )  # fmt: skip
    if failed:
        axes.scatter(alpha[len(done) :], beta[len(done) :], marker="x", c="black", s=size / 2, zorder=3, label="failed")
    _rings(axes, done, record, np.stack([alpha, beta], 1), size)
    bar = figure.colorbar(ScalarMappable(colours, "cividis"), ax=axes, location="bottom" if look.narrow else "right")
    bar.set_label(look.wrap(f"score (accuracy, discounted by FLOPs) after {counted(done[0].row.epochs, 'epoch')}"))
    axes.set_xlabel("α (depth)")
    axes.set_ylabel("β (width)")
    legend_below(figure, look)
    return figure


def _rings(axes: Axes, done: Sequence[NetworkSummary], record: Record, places: Floats, size: float) -> None:
    """Thin rings around the winner set, a thick one around the candidate in front; ``places`` (candidates, 2)."""
    number = record.leader.row.candidate if record.leader else None
    marked = [place for place, one in enumerate(done) if one.row.candidate == number]
    others = [place for place, one in enumerate(done) if one.member and one.row.candidate != number]
    rings = ((others, "in the winner set", 1.0, 2.4), (marked, mark_label(record), 2.4, 3.6))
    for ringed, label, width, larger in rings:
        if ringed:
            axes.scatter(
                places[ringed, 0], places[ringed, 1], s=size * larger, facecolors="none", edgecolors=RED,
                linewidths=width, zorder=4, label=label,
            )  # fmt: skip


def _apart(alpha: list[float], beta: list[float]) -> tuple[Floats, Floats]:
    """Points that share (α, β) and differ in γ stand side by side, a fifth of the grid's step apart."""
    steps = np.diff(np.unique(np.round(alpha, 6)))
    shift = 0.2 * float(steps.min()) if len(steps) else 0.01
    total, placed = Counter(zip(alpha, beta, strict=True)), Counter[tuple[float, float]]()
    moved = []
    for point in zip(alpha, beta, strict=True):
        moved.append(point[0] + shift * (2 * placed[point] - total[point] + 1))
        placed[point] += 1
    return np.array(moved, dtype=float), np.array(beta, dtype=float)


def _gamma_curves(axes: Axes, alpha: Floats, beta: Floats, edge: float) -> None:
    """The curves of equal γ at αβ²γ² = 2 that cross the panel, each named near its lower end, ``edge`` inside."""
    right, top = max(2.0, float(alpha.max())) + 0.18, max(1.42, float(beta.max())) + 0.04
    bottom = min(1.0, float(beta.min())) - 0.06
    across = np.linspace(min(1.0, float(alpha.min())) - 0.06, right, 400)
    for gamma in np.arange(1.0, 1.5, 0.1):
        up = np.sqrt(SEARCH_RATIO / across) / gamma
        inside = (up >= bottom) & (up <= top)
        axes.plot(across[inside], up[inside], color="#bbbbbb", linewidth=0.8, zorder=1)
        end = int(np.flatnonzero((up >= bottom + 0.02) & (across <= right - edge))[-1])
        axes.text(
            across[end], up[end], f"γ {gamma:.1f}", ha="center", va="center", fontsize=8, color=GREY, zorder=2,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.set_xlim(across[0], right)
    axes.set_ylim(bottom, top)


def _score_scale(scores: Sequence[float]) -> Normalize:
    """The scores' range; a little room where all are equal, so that the scale has two ends."""
    low, high = min(scores), max(scores)
    room = 0.005 if high == low else 0.0
    return Normalize(low - room, high + room)
