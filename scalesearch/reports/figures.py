"""The search's figures: values in, a matplotlib ``Figure`` out. No pyplot, no global state."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.reports.axes import (
    BLUE,
    FILE,
    GREY,
    ORANGE,
    RED,
    Look,
    count_axis,
    legend_below,
    panels_below,
    panels_beside,
)
from scalesearch.reports.tables import epochs_text, shortened

FLOPS_LABEL = "FLOPs (multiply-adds, convolution + linear, fvcore)"
MANY = 40  # points from which markers and bars are drawn finer
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """The candidate to mark and what the legend calls it: ``recommended``, or ``best so far``."""

    candidate: int
    label: str


def accuracy_figure(summary: pd.DataFrame, mark: Mark | None, note: str, look: Look = FILE) -> Figure:
    """Validation accuracy against the full-size network's FLOPs, 95 % intervals as bars, and the Pareto front.

    Candidates cost about twice the baseline, all nearly the same: the baseline has a panel of its own, so that
    they are not squeezed into a column. Both panels share the accuracy axis. Open markers were trained for fewer
    epochs than the others, so their accuracies are not comparable with those.

    Args:
        summary: of ``statistics.summarise``; at least one row.
        mark: the candidate to mark.
        note: one line that says where the accuracies come from.
    """
    baseline, candidates = summary[summary["role"] == "baseline"], summary[summary["role"] == "candidate"]
    shown = [(rows, share) for rows, share in ((baseline, 1.0), (candidates, 3.0 if look.narrow else 5.0)) if len(rows)]
    figure, panels = panels_beside(
        4.4, tuple(share for _, share in shown), "Accuracy against cost, 95 % intervals", note, look
    )
    for axes, (rows, _) in zip(panels, shown, strict=True):
        if rows is baseline:
            _with_bars(axes, rows, "baseline", "s", GREY, 7.0)
        else:
            _candidates(axes, rows, mark, int(summary["epochs"].max()))
            _front(axes, rows[rows["pareto"]], named=len(rows) <= MANY)
        count_axis(axes.xaxis, rows["macs"])
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("top-1 accuracy, validation images")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    panels[-1].set_xlabel(look.wrap(FLOPS_LABEL))
    legend_below(figure, look)
    return figure


def _candidates(axes: Axes, rows: pd.DataFrame, mark: Mark | None, epochs: int) -> None:
    """A series a status; ``epochs``: of those trained longest."""
    marked, fine, shorter = _marked(rows, mark), len(rows) > MANY, rows["epochs"] < epochs
    size = 4.0 if fine else 5.5
    for inside, name, marker, colour in ((False, "beaten", "o", BLUE), (True, "in the winner set", "D", ORANGE)):
        of_status = ~marked & (rows["member"] == inside)
        _with_bars(axes, rows[of_status & ~shorter], name, marker, colour, size, fine=fine)
        label = f"{'in the set' if inside else name}, fewer epochs"
        _with_bars(axes, rows[of_status & shorter], label, marker, colour, size, fine=fine, filled=False)
    if mark:
        _with_bars(axes, rows[marked], mark.label, "*", RED, 15.0)


def _front(axes: Axes, rows: pd.DataFrame, *, named: bool) -> None:
    """The candidates on the Pareto front: joined where there are several, named where there is room."""
    rows = rows.sort_values("macs")
    if len(rows) > 1:
        axes.plot(rows["macs"], rows["accuracy"], "--", color=GREY, linewidth=1.2, label="Pareto front", zorder=1)
    for number, row in enumerate(rows.to_dict("records") if named else []):
        # above and left of the front there is nothing; every other name goes below, so that neighbours stand apart
        above = number % 2 == 0
        axes.annotate(
            shortened(row["name"]), (row["macs"], row["accuracy"]), (-6, 5) if above else (7, -5),
            textcoords="offset points", ha="right" if above else "left", va="bottom" if above else "top", fontsize=8,
            zorder=5, parse_math=False,
        )  # fmt: skip


def _marked(rows: pd.DataFrame, mark: Mark | None) -> "pd.Series[bool]":
    return rows["candidate"] == (mark.candidate if mark else None)


def _with_bars(
    axes: Axes, rows: pd.DataFrame, label: str, marker: str, colour: str, size: float, *, fine: bool = False,
    filled: bool = True,
) -> None:  # fmt: skip
    if rows.empty:
        return
    errors = (list(rows["accuracy"] - rows["low"]), list(rows["high"] - rows["accuracy"]))
    axes.errorbar(
        rows["macs"], rows["accuracy"], yerr=errors, fmt=marker, color=colour, markersize=size,
        label=label, elinewidth=0.5 if fine else 1.0, capsize=0 if fine else 2,
        markerfacecolor=colour if filled else "white", markeredgecolor="black" if filled else colour,
        markeredgewidth=0.5 if filled else 1.2, zorder=4 if marker == "*" else 2,
    )  # fmt: skip


def winner_figure(
    summary: pd.DataFrame,
    standings: Sequence[Mapping[str, Any]],
    recommended: str,
    note: str,
    look: Look = FILE,
    star: str = "recommended",
) -> Figure:
    """Every candidate's score with its 95 % interval, in order of standing; one panel a rung, since scores after
    different numbers of epochs cannot be compared.

    Args:
        summary: of ``statistics.summarise``, for the coefficients.
        standings: of ``facts.WinnerFacts``, at least one.
        recommended: the name to star; ``star`` is what the legend calls it.
        note: one line that says where the accuracies come from.
    """
    triples = {
        row["name"]: f"{row['alpha']:.3g}/{row['beta']:.3g}/{row['gamma']:.3g}" for row in summary.to_dict("records")
    }
    rungs = sorted({item["epochs"] for item in standings}, reverse=True)
    title = "Scores with 95 % intervals; candidates named with α/β/γ"
    figure, panels = panels_below(
        tuple(float(sum(item["epochs"] == epochs for item in standings)) for epochs in rungs), title, note, look
    )
    seen: set[str] = set()
    for axes, epochs in zip(panels, rungs, strict=True):
        items = [item for item in standings if item["epochs"] == epochs]
        for place, item in enumerate(items):
            label, marker, colour, size = _standing_style(item, recommended, star)
            axes.errorbar(
                item["score"], place, xerr=[[item["score"] - item["low"]], [item["high"] - item["score"]]], fmt=marker,
                color=colour, markersize=size, markeredgecolor="black", markeredgewidth=0.5, elinewidth=1.2,
                label=None if label in seen else label,
            )  # fmt: skip
            seen.add(label)
        names = [f"{shortened(item['name'])} {triples.get(item['name'], '')}{_only(item, look)}" for item in items]
        axes.set_yticks(range(len(items)), names, fontsize=8, parse_math=False)
        axes.set_ylim(len(items) - 0.4, -0.6)
        if look.titled:
            axes.set_ylabel(f"{epochs} ep.", rotation=0, ha="right", labelpad=4)
        else:
            axes.set_title(f"after {epochs_text(epochs)}", fontsize=9, loc="left")
        axes.grid(axis="x", alpha=0.25)
    panels[-1].set_xlabel(look.wrap("score (accuracy, discounted by FLOPs)"))
    figure.align_ylabels(panels)
    legend_below(figure, look)
    return figure


def _standing_style(item: Mapping[str, Any], recommended: str, star: str) -> tuple[str, str, str, float]:
    if item["name"] == recommended:
        return star, "*", RED, 13.0
    return {
        "member": ("in the winner set", "D", ORANGE, 5.5),
        "undecided": ("in the set, undecided", "o", BLUE, 5.5),
        "beaten": ("beaten", "x", GREY, 5.5),
    }[item["status"]]


def _only(item: Mapping[str, Any], look: Look) -> str:
    if not item["control"]:
        return ""
    return f" {item['control']}" if look.narrow else f" ({item['control']} only)"


def grid_figure(summary: pd.DataFrame, failed: pd.DataFrame, mark: Mark | None, note: str, look: Look = FILE) -> Figure:
    """The score over the grid: α across, β up; curves show the γ that the constraint leaves.

    Args:
        summary: of ``statistics.summarise``; at least one candidate, all trained as long as each other if their colours
            are to be compared.
        failed: of ``statistics.failed_trials``.
        mark: the candidate to ring.
        note: one line that says where the accuracies come from.
    """
    title = "Score over the grid; curves: the γ (resolution) of αβ²γ² = 2"
    figure, (axes,) = panels_beside(5.2, (1.0,), title, note, look)
    done = summary[summary["role"] == "candidate"]
    failed = failed[(failed["role"] == "candidate") & ~failed["candidate"].isin(done["candidate"])]
    failed = failed.drop_duplicates("candidate")
    alpha, beta = _apart([*done["alpha"], *failed["alpha"]], [*done["beta"], *failed["beta"]])
    size, colours = 42.0 if len(alpha) > MANY else 90.0, _score_scale(done["score"])
    _gamma_curves(axes, alpha, beta, 0.12 if look.narrow else 0.05)
    axes.scatter(
        alpha[: len(done)], beta[: len(done)], c=done["score"], cmap="cividis", norm=colours, s=size,
        edgecolors="black", linewidths=0.6, zorder=3, label="candidate",
    )  # fmt: skip
    if len(failed):
        axes.scatter(alpha[len(done) :], beta[len(done) :], marker="x", c="black", s=size / 2, zorder=3, label="failed")
    _rings(axes, done, mark, np.stack([alpha, beta], 1)[: len(done)], size)
    place = "bottom" if look.narrow else "right"
    bar = figure.colorbar(ScalarMappable(colours, "cividis"), ax=axes, location=place)
    trained = sorted(set(done["epochs"].astype(int)))
    bar.set_label(look.wrap(f"score (accuracy, discounted by FLOPs) after {epochs_text(trained[-1])}"))
    axes.set_xlabel("α (depth)")
    axes.set_ylabel("β (width)")
    legend_below(figure, look)
    return figure


def _rings(axes: Axes, done: pd.DataFrame, mark: Mark | None, places: Floats, size: float) -> None:
    """Thin rings around the winner set, a thick one around the marked candidate; ``places`` (candidates, 2)."""
    marked = _marked(done, mark)
    rings = ((done["member"] & ~marked, "in the winner set", 1.0, 2.4), (marked, mark.label if mark else "", 2.4, 3.6))
    for mask, label, width, larger in rings:
        if mask.any():
            axes.scatter(
                places[mask.to_numpy(), 0], places[mask.to_numpy(), 1],
                s=size * larger, facecolors="none", edgecolors=RED, linewidths=width,
                zorder=4, label=label,
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


def _score_scale(scores: "pd.Series[float]") -> Normalize:
    """The scores' range; a little room where all are equal, so that the scale has two ends."""
    low, high = float(scores.min()), float(scores.max())
    room = 0.005 if high == low else 0.0
    return Normalize(low - room, high + room)
