"""Families trained side by side: accuracy on the test images over what they are equal in, and other costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from scalesearch.design.measure import FLOPS
from scalesearch.reports.family_words import label
from scalesearch.reports.figures import canvas
from scalesearch.reports.words import shortened
from scalesearch.study.family_answer import FamilyAnswer, Point
from scalesearch.study.family_plan import FOUND, PAPER, FamilyPlan

FLOPS_LABEL = "FLOPs (multiply-adds of convolution and linear operators, as fvcore counts)"
LATENCY_LABEL, PARAMETERS_LABEL = "measured latency of one image, ms", "parameters"
STAR = 5.0  # pixels around the middle of a published network's marker
ROUND = [(1.0, 0.0), (-1.0, 0.0), (0.7, 0.8), (-0.7, 0.8), (0.7, -0.8), (-0.7, -0.8), (0.0, 1.0), (0.0, -1.0)]


@dataclass(frozen=True)
class Line:
    """How a family is drawn: told apart by marker and dashes where colours are not seen."""

    marker: str
    colour: str
    dashes: Any
    heavy: bool = False


LINES = {
    FOUND: Line("o", canvas.BLUE, "-", heavy=True), PAPER: Line("s", canvas.RED, (0, (5, 2)), heavy=True),
    "depth": Line("^", canvas.GREEN, (0, (1, 1.5))), "width": Line("v", canvas.ORANGE, (0, (4, 1.5, 1, 1.5))),
    "resolution": Line("D", canvas.PURPLE, (0, (2, 2))),
}  # fmt: skip
OTHER = Line("p", canvas.GREY, "-")
PUBLISHED = Line("*", "black", "")


def families_figure(plan: FamilyPlan, answer: FamilyAnswer, look: canvas.Look = canvas.FILE) -> Figure:
    """Accuracy over what families are equal in: a line a family, published networks as single markers with names."""
    height = 4.6 if not look.narrow else 3.0 if look is canvas.PAPER else 4.4
    figure = Figure(figsize=(look.width_inches, height), layout="constrained")
    axes = figure.subplots()
    canvas.head(figure, axes, "Families trained side by side", f"{plan.data} test images, 95 % intervals", look)
    source = plan.measure.source.partition(";")[0]
    text = FLOPS_LABEL if plan.measure == FLOPS else f"{plan.measure.noun}, {source}" if source else plan.measure.noun
    _panel(axes, plan, answer, look, text, lambda one: one.cost)
    if plan.measure != FLOPS:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plan.measure.unit.short(float(f"{value:.3g}"))))
    _finished(figure, [axes], plan, answer, look)
    return figure


def costs_figure(plan: FamilyPlan, answer: FamilyAnswer, look: canvas.Look = canvas.FILE) -> Figure:
    """The same accuracies over measured latency, where it was measured, and over parameters."""
    panels: list[tuple[str, Callable[[Point], float | None]]] = [(PARAMETERS_LABEL, lambda one: one.params)]
    if any(one.latency_ms is not None for one in answer.points):
        panels.insert(0, (LATENCY_LABEL, lambda one: one.latency_ms))
    shape = (len(panels), 1) if look.narrow else (1, len(panels))
    height = 4.2 if not look.narrow else 1.0 + (2.3 if look is canvas.PAPER else 3.4) * len(panels)
    figure = Figure(figsize=(look.width_inches, height), layout="constrained")
    drawn = list(figure.subplots(*shape, sharey=True, squeeze=False).flat)
    if look.titled:
        figure.suptitle(f"What accuracy costs in use, {plan.data} test images", fontsize=11, parse_math=False)
    for axes, (text, across) in zip(drawn, panels, strict=True):
        _panel(axes, plan, answer, look, text, across)
    _finished(figure, drawn, plan, answer, look)
    return figure


def _panel(
    axes: Axes, plan: FamilyPlan, answer: FamilyAnswer, look: canvas.Look, text: str,
    across: Callable[[Point], float | None],
) -> None:  # fmt: skip
    """One accuracy axis. A network that several families share is drawn once, the first one's; lines go through it."""
    size, drawn = (3.5 if look is canvas.PAPER else 5.0), set[int]()
    alone = {one.families[0] for one in answer.points if one.phi is None}
    for family in plan.families:
        points = [(at, one) for one in answer.curve(family) if (at := across(one)) is not None]
        line = PUBLISHED if family in alone else LINES.get(family, OTHER)
        named = "_nolegend_" if family in alone else label(plan, family)
        own = [(at, one) for at, one in points if one.number not in drawn]
        if points:
            axes.plot(
                [at for at, _ in points], [one.accuracy.value for _, one in points], linestyle=line.dashes or "none",
                color=line.colour, linewidth=1.8 if line.heavy else 1.0, marker=line.marker, markeredgewidth=0.8,
                markersize=size * (1.7 if family in alone else 1), label=named, zorder=4 if line.heavy else 3,
                markerfacecolor=line.colour if line.heavy or family in alone else "white",
                markevery=[place for place, (_, one) in enumerate(points) if one.number not in drawn],
            )  # fmt: skip
        drawn |= {one.number for _, one in own}
        if own:
            axes.errorbar(
                [at for at, _ in own], [one.accuracy.value for _, one in own],
                yerr=canvas.errors([one.accuracy for _, one in own]), fmt="none", ecolor=line.colour,
                elinewidth=1.2 if line.heavy else 0.7, capsize=2.5 if line.heavy else 1.5, zorder=2,
            )  # fmt: skip
    canvas.count_axis(axes.xaxis, [at for one in answer.points if (at := across(one)) is not None])
    axes.set_xlabel(look.wrap(text), fontsize=look.points + 1)


def _finished(
    figure: Figure, panels: Sequence[Axes], plan: FamilyPlan, answer: FamilyAnswer, look: canvas.Look
) -> None:  # fmt: skip
    """Vertical axis, level of guessing, legend, and last the names of published networks, where there is room."""
    low, high = min(one.accuracy.low for one in answer.points), max(one.accuracy.high for one in answer.points)
    margin = max(0.05 * (high - low), 0.002)
    if canvas.guessing_line(panels, plan.majority, low, high):
        low = min(low, plan.majority)
    panels[0].set_ylim(max(low - margin, -0.02), min(high + margin, 1.02))
    for axes in panels:
        axes.tick_params(labelsize=look.points)
        axes.grid(alpha=0.25)
        canvas.accuracy_axis(axes, "top-1 accuracy, test images" if axes is panels[0] or look.narrow else "")
        axes.yaxis.label.set_fontsize(look.points + 1)
    canvas.legend_below(figure, look)
    figure.draw_without_rendering()  # names are placed where everything else has come to stand
    for axes in panels:
        _name_published(axes, answer, look)


def _name_published(axes: Axes, answer: FamilyAnswer, look: canvas.Look) -> None:
    """Each name where it hides the least of lines, markers, bars and earlier names."""
    stars = [line for line in axes.lines if line.get_marker() == PUBLISHED.marker]
    names = [one.name for one in answer.points if one.phi is None]
    drawn = [line for line in axes.lines if line.get_transform() == axes.transData]  # guessing spans the axes
    lines = [line.get_xydata() for line in drawn if line.get_linestyle() != "None"]
    bars = [path.vertices for one in axes.collections for path in one.get_paths()]
    single = [axes.transData.transform(line.get_xydata()) for line in drawn if line.get_linestyle() == "None"]
    taken = np.concatenate([*(_along(axes, vertices) for vertices in (*lines, *bars)), *single])
    where = [axes.transData.transform(line.get_xydata())[0] for line in stars]
    labels = [Bbox.from_bounds(x - STAR, y - STAR, 2 * STAR, 2 * STAR) for x, y in where]
    for line, name in zip(stars, names, strict=False):
        point = np.asarray(line.get_xydata())[0]
        text = axes.annotate(
            shortened(name), (float(point[0]), float(point[1])), (0, 0), textcoords="offset points", va="center",
            ha="center", fontsize=look.points, zorder=6, parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
            arrowprops={"arrowstyle": "-", "color": canvas.GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        text.set_in_layout(False)
        box, middle = text.get_window_extent(), axes.transData.transform(point)
        best = min(
            ((_hidden(axes, moved, taken, labels) + 0.01 * rank + 2 * far, rank, far, moved)
             for far in range(4) for rank, (right, up) in enumerate(ROUND)
             for moved in [_moved(box, middle, right, up, 9 + 9 * far)]),
            key=lambda one: one[0],
        )  # fmt: skip
        labels.append(best[3])
        shift = (np.array([best[3].x0 + best[3].x1, best[3].y0 + best[3].y1]) / 2 - middle) * 72 / axes.figure.dpi
        text.set_position((float(shift[0]), float(shift[1])))


def _moved(box: Bbox, middle: Any, right: float, up: float, gap: float) -> Bbox:
    """The box beside a point, ``gap`` pixels off, in a direction."""
    x, y = middle[0] + right * (gap + box.width / 2), middle[1] + up * (gap + box.height / 2)
    return Bbox.from_bounds(x - box.width / 2, y - box.height / 2, box.width, box.height)


def _hidden(axes: Axes, box: Bbox, taken: Any, labels: Sequence[Bbox]) -> float:
    """How much a name would hide there: samples of what is drawn; other names and the axes' edge count for most."""
    inside = (taken[:, 0] > box.x0) & (taken[:, 0] < box.x1) & (taken[:, 1] > box.y0) & (taken[:, 1] < box.y1)
    frame = axes.bbox
    outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
    return int(inside.sum()) + 1000 * sum(bool(box.overlaps(other)) for other in labels) + 500 * int(outside)


def _along(axes: Axes, vertices: Any) -> Any:
    """Pixels along a line from point to point, at most three apart."""
    pixels = axes.transData.transform(np.asarray(vertices, float))
    if len(pixels) < 2:
        return pixels
    return np.concatenate([
        np.linspace(one, other, max(2, int(np.hypot(*(other - one)) / 3))) for one, other in pairwise(pixels)
    ])  # fmt: skip
