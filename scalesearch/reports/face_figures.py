"""How well faces are told apart: ROC, distances of pairs, recognition among strangers, and the error of a threshold."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from scalesearch.reports.figures.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, WIDTH_INCHES

STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"), (RED, (0, (5, 1, 1, 1, 1, 1))), (GREY, "-"))
Curve = Mapping[str, Sequence[float]]


def roc_figure(curves: Mapping[str, Curve]) -> Figure:
    """True accepts against false accepts (logarithmic) of pairs.

    Args:
        curves: name → {"far": [...], "tar": [...]}, ascending.
    """
    figure, axes = _panel(4.2)
    _lines(axes, curves, "far", "tar")
    axes.set_xlabel("pairs of two people accepted (FAR)")
    axes.set_ylabel("pairs of one person accepted (TAR)")
    axes.set_title("Verification", fontsize=11)
    return figure


def open_set_figure(curves: Mapping[str, Curve]) -> Figure:
    """Members recognised against strangers let in (logarithmic).

    Args:
        curves: name → {"fpir": [...], "tpir": [...]}, ascending.
    """
    figure, axes = _panel(4.2)
    _lines(axes, curves, "fpir", "tpir")
    axes.set_xlabel("strangers' photos taken for a member (FPIR)")
    axes.set_ylabel("members' photos recognised (TPIR)")
    axes.set_title("Identification among strangers", fontsize=11)
    return figure


def distance_figure(histograms: Mapping[str, Curve]) -> Figure:
    """Squared distances of pairs of one person and of two, a panel for each name.

    Args:
        histograms: name → {"edges": n + 1 numbers, "same": n shares, "different": n shares}.
    """
    figure = Figure(figsize=(WIDTH_INCHES, 1.2 + 1.7 * len(histograms)), layout="constrained")
    panels = figure.subplots(len(histograms), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, histograms.items(), strict=True):
        edges = list(values["edges"])
        axes.stairs(values["different"], edges, fill=True, color=ORANGE, alpha=0.45, label="two people")
        axes.stairs(values["same"], edges, color=BLUE, linewidth=2, label="one person")
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylabel("share of pairs")
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=9, frameon=False)
    panels[-1].set_xlabel("squared distance between embeddings (0 to 4)")
    return figure


def evaluation_tables(values: Mapping[str, Any]) -> tuple[tuple[str, list[tuple[str, str]]], ...]:
    """Titles, and (measure, value) rows, of the verification of pairs and of the identification among strangers.

    Args:
        values: as ``evaluation.json`` holds them.
    """
    pairs, known = values["verification"], values["open_set"]
    threshold = known["threshold"]
    fitted = f"{threshold['photos']} photos of {threshold['people']} others"
    verification = [
        (f"accuracy over 10 folds ({pairs['folds']})", f"{pairs['accuracy']:.1%} ± {pairs['accuracy_error']:.1%}"),
        ("AUC", f"{pairs['auc']:.4f}"),
        *((f"TAR at FAR {far}", _with(item["tar"], item["interval"])) for far, item in pairs["tar"].items()),
    ]
    identification = [
        ("rank-1", _with(known["rank1"], known["rank1_interval"])),
        *((f"TPIR at FPIR {rate}", _with(item["tpir"], item["interval"])) for rate, item in known["tpir_at"].items()),
        (f"threshold for FPIR {threshold['fpir']:g}, on {fitted}", f"{threshold['distance']:.3f}"),
        (f"FPIR on {known['stranger_photos']} photos of unseen strangers; brackets: predicted",
         _with(known["fpir"], known["fpir_interval"])),
        ("TPIR there", _with(known["tpir"], known["tpir_interval"])),
    ]  # fmt: skip
    return (
        (f"Verification, {pairs['pairs']} pairs ({pairs['same']} of one person)", verification),
        (f"Identification, {known['members']} members, {known['probes']} photos shown", identification),
    )


def evaluation_markdown(values: Mapping[str, Any]) -> str:
    """``evaluation.md``: the numbers as tables, and the figures."""
    figures = (("", "![ROC](roc.png)", "", "![Distances](distances.png)"), ("", "![Among strangers](open_set.png)"))
    lines = [
        "# Faces, evaluated", "",
        f"Model {values['model']}; {values['people']} people, {values['photos']} photos; seed {values['seed']}. "
        "Brackets: 95 % intervals, people resampled.", "",
        *(f"- {note}" for note in values["notes"]),
    ]  # fmt: skip
    for (title, rows), shown in zip(evaluation_tables(values), figures, strict=True):
        lines += ["", f"## {title}", "", "| measure | value |", "|---|--:|"]
        lines += [*(f"| {measure} | {value} |" for measure, value in rows), *shown]
    lines += [
        "", "## Each person", "", "| person | enrolled | shown | rank-1 | recognised |", "|---|--:|--:|--:|--:|",
        *(f"| {row['name']} | {row['enrolled']} | {row['shown']} | {_share(row['rank1'])} | {_share(row['let_in'])} |"
          for row in values["open_set"]["per_person"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _with(value: float, interval: Sequence[float]) -> str:
    return f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _panel(height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    return figure, figure.subplots()


def _lines(axes: Axes, curves: Mapping[str, Curve], x: str, y: str) -> None:
    lowest = max(1e-4, min((value for curve in curves.values() for value in curve[x] if value > 0), default=1e-3))
    for (name, curve), (colour, style) in zip(curves.items(), STYLES, strict=False):
        points = [(a, b) for a, b in zip(curve[x], curve[y], strict=True) if a > 0]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=2, label=name)
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1)
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.4g}".rstrip("0").rstrip(".") if value < 1 else "1")
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False, loc="best")
