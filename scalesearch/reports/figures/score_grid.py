"""The score over depth and width."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.design.measure import FLOPS
from scalesearch.reports import words
from scalesearch.reports.figures.accuracy import MANY
from scalesearch.reports.figures.canvas import FILE, GREY, RED, Look, legend_below, panels_beside
from scalesearch.study.race import above_guessing
from scalesearch.study.record import Record
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import Floats
from scalesearch.study.summary import NetworkSummary, common_epochs
from scalesearch.units import counted


def compared(record: Record) -> list[tuple[NetworkSummary, float]]:
    """The candidates with scores that compare: expected after full training where the answer has them, else measured
    after the number of epochs at which most have a result."""
    standings = record.answer.standings if record.answer else ()
    expected = {one.name: one.score.value for one in standings if one.score}
    if expected:
        return [(one, expected[one.row.name]) for one in record.summaries if one.row.name in expected]
    epochs = common_epochs(record.rungs)
    return [(one, one.score) for one in record.rungs if one.row.epochs == epochs and not one.is_baseline]


def which(record: Record) -> str:
    """Which scores those are."""
    if words.decided(record):
        return "expected after full training"
    return f"measured after {counted(compared(record)[0][0].row.epochs, 'epoch')}"


def curves_of(record: Record) -> str:
    """What its curves show, where there are any, for a caption."""
    if record.plan.measure != FLOPS:
        return ""
    return "curves: the resolution that twice the FLOPs would leave without rounding; "


def grid_figure(record: Record, look: Look = FILE) -> Figure:
    """The score over the multipliers as trained: depth across, width up; where FLOPs are equal, curves show the
    resolution that twice as many would leave if nothing were rounded.

    At least one candidate has a result; failed ones are crosses, and those no better than guessing have no colour.
    """
    curved = bool(curves_of(record))
    title = "Score over depth and width"
    title += "; curves: the resolution × of depth · width² · resolution² = 2" if curved else ""
    figure, (axes,) = panels_beside(5.2, (1.0,), title, words.accuracy_note(record), look)
    done = compared(record)
    reached = {one.row.candidate for one in record.summaries} | {BASELINE}
    failed = {row.candidate: row for row in record.rows if row.candidate not in reached}.values()
    rows = [*(one.row for one, _ in done), *failed]
    depth, width = _apart([round(row.depth_ratio, 3) for row in rows], [round(row.width_ratio, 3) for row in rows])
    size = 42.0 if len(depth) > MANY else 90.0
    learnt = np.array([
        above_guessing(one.correct / one.seeds, one.images // one.seeds, record.plan.majority) for one, _ in done
    ])  # fmt: skip
    scores = [100 * score for (_, score), learns in zip(done, learnt, strict=True) if learns]
    if curved:
        _resolution_curves(axes, depth, width, 0.12 if look.narrow else 0.05)
    draw = partial(axes.scatter, s=size, edgecolors="black", linewidths=0.6, zorder=3)
    across, up = depth[: len(done)], width[: len(done)]
    if scores:
        colours = _score_scale(scores)
        draw(across[learnt], up[learnt], c=scores, cmap="cividis", norm=colours, label="candidate")
        bar = figure.colorbar(
            ScalarMappable(colours, "cividis"), ax=axes, location="bottom" if look.narrow else "right"
        )
        bar.set_label(look.wrap(f"score in points, {which(record)}"))
    if not learnt.all():
        draw(across[~learnt], up[~learnt], c="white", marker="s", label="no better than guessing")
    if failed:
        rest = slice(len(done), None)
        axes.scatter(depth[rest], width[rest], marker="x", c="black", s=size / 2, zorder=3, label="failed")
    _rings(axes, [one for one, _ in done], record, np.stack([depth, width], 1), size)
    axes.set_xlabel("depth × as trained")
    axes.set_ylabel("width × as trained")
    legend_below(figure, look)
    return figure


def _rings(axes: Axes, done: Sequence[NetworkSummary], record: Record, places: Floats, size: float) -> None:
    """Thin rings around the set, a thick one around the candidate in front; ``places`` (candidates, 2)."""
    number = record.leader.row.candidate if record.leader else None
    marked = [place for place, one in enumerate(done) if one.row.candidate == number]
    others = [place for place, one in enumerate(done) if one.status == "member" and one.row.candidate != number]
    rings = ((others, "in the set", 1.0, 2.4), (marked, words.mark_label(record), 2.4, 3.6))
    for ringed, label, width, larger in rings:
        if ringed:
            axes.scatter(
                places[ringed, 0], places[ringed, 1], s=size * larger, facecolors="none", edgecolors=RED,
                linewidths=width, zorder=4, label=label,
            )  # fmt: skip


def _apart(depth: list[float], width: list[float]) -> tuple[Floats, Floats]:
    """Points that share depth and width and differ in resolution stand side by side, a fifth of a step apart."""
    steps = np.diff(np.unique(np.round(depth, 6)))
    shift = 0.2 * float(steps.min()) if len(steps) else 0.01
    total, placed = Counter(zip(depth, width, strict=True)), Counter[tuple[float, float]]()
    moved = []
    for point in zip(depth, width, strict=True):
        moved.append(point[0] + shift * (2 * placed[point] - total[point] + 1))
        placed[point] += 1
    return np.array(moved, dtype=float), np.array(width, dtype=float)


def _resolution_curves(axes: Axes, depth: Floats, width: Floats, edge: float) -> None:
    """The curves of equal resolution that cross the panel, each named near its lower end, ``edge`` inside."""
    right, top = max(2.0, float(depth.max())) + 0.18, max(1.42, float(width.max())) + 0.04
    bottom = min(1.0, float(width.min())) - 0.06
    across = np.linspace(min(1.0, float(depth.min())) - 0.06, right, 400)
    for resolution in np.arange(1.0, 1.5, 0.1):
        up = np.sqrt(SEARCH_RATIO / across) / resolution
        inside = (up >= bottom) & (up <= top)
        axes.plot(across[inside], up[inside], color="#bbbbbb", linewidth=0.8, zorder=1)
        end = int(np.flatnonzero((up >= bottom + 0.02) & (across <= right - edge))[-1])
        axes.text(
            across[end], up[end], f"× {resolution:.1f}", ha="center", va="center", fontsize=8, color=GREY, zorder=2,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.set_xlim(across[0], right)
    axes.set_ylim(bottom, top)


def _score_scale(scores: Sequence[float]) -> Normalize:
    """The scores' range; a little room where all are equal, so that the scale has two ends."""
    low, high = min(scores), max(scores)
    room = 0.5 if high == low else 0.0
    return Normalize(low - room, high + room)
