"""Your family beside published networks: ImageNet figures and yours never share an accuracy axis."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import PercentFormatter

from scalesearch.reports.axes import BLUE, FILE, GREEN, GREY, ORANGE, PURPLE, RED, Look, count_axis
from scalesearch.reports.published import Published
from scalesearch.reports.tables import shortened
from scalesearch.study.intervals import wilson_interval

STYLES = {
    "GoogLeNet": ("D", GREY), "ResNet": ("s", "black"), "MobileNetV2": ("v", ORANGE), "MobileNetV3": ("^", RED),
    "MNASNet": ("P", PURPLE), "EfficientNet B0–B7": ("o", BLUE), "EfficientNetV2 S, M, L": ("X", GREEN),
}  # fmt: skip
Member = Mapping[str, Any]


def family_figure(
    family: Sequence[Member], published: Sequence[Published], data_name: str, look: Look = FILE
) -> Figure:
    """Two panels. Left: ImageNet top-1 of published networks, your members' FLOPs as ticks beneath.

    Right: your members' accuracy on your test images where any was tested; else parameters of both.

    Args:
        family: members b0…b6, at least one.
        published: networks of ``published.SERIES``.
        data_name: whose test images.
    """
    data_name = shortened(data_name)
    figure = Figure(figsize=(look.width_inches, 8.4 if look.narrow else 4.8), layout="constrained")
    left, right = figure.subplots(2, 1) if look.narrow else figure.subplots(1, 2)
    if look.titled:
        figure.suptitle("Your family beside published networks", fontsize=11)
    macs = [*(entry.macs for entry in published), *(member["macs"] for member in family)]
    _published(left, published, [entry.top1 for entry in published])
    left.plot(
        [member["macs"] for member in family], [0.03] * len(family), "|", color=RED, markersize=11, markeredgewidth=1.5,
        transform=left.get_xaxis_transform(), label="FLOPs of your members",
    )  # fmt: skip
    left.set_title("Published: accuracy on ImageNet", fontsize=10)
    left.set_ylabel("top-1 accuracy, ImageNet")
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    count_axis(left.xaxis, macs)
    tested = [member for member in family if member.get("images")]
    if tested:
        _accuracies(right, tested, data_name)
    else:
        _sizes(right, family, published)
        count_axis(right.xaxis, macs)
    for axes in (left, right):
        axes.set_xlabel("FLOPs (multiply-adds)")
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    _legend(figure, look, left, right)
    return figure


def _published(axes: Axes, published: Sequence[Published], values: Sequence[float]) -> None:
    """One marker and line a series, smallest network first."""
    points = sorted(
        zip((entry.macs for entry in published), values, (entry.series for entry in published), strict=True)
    )
    for series, (marker, colour) in STYLES.items():
        across = [macs for macs, _, name in points if name == series]
        up = [value for _, value, name in points if name == series]
        if across:
            axes.plot(across, up, marker=marker, color=colour, markersize=5, linewidth=0.8, label=series)


def _sizes(axes: Axes, family: Sequence[Member], published: Sequence[Published]) -> None:
    _published(axes, published, [entry.params for entry in published])
    macs, params = [member["macs"] for member in family], [member["params"] for member in family]
    axes.plot(macs, params, "*", linestyle="-", color=RED, markersize=9, markeredgecolor="black", label="your family")
    for member in family:
        _name(axes, member["name"], member["macs"], member["params"], (-13, 5))
    count_axis(axes.yaxis, [*(entry.params for entry in published), *params])
    axes.set_title("Size of both", fontsize=10)
    axes.set_ylabel("parameters")


def _accuracies(axes: Axes, tested: Sequence[Member], data_name: str) -> None:
    """Test accuracies with 95 % intervals; members fine-tuned and trained from scratch are told apart."""
    for source in sorted({str(member.get("source", "")) for member in tested}):
        members = [member for member in tested if str(member.get("source", "")) == source]
        bounds = [wilson_interval(member["correct"], member["images"]) for member in members]
        top1 = [member["correct"] / member["images"] for member in members]
        axes.errorbar(
            [member["macs"] for member in members], top1,
            yerr=([max(0.0, t - low) for t, (low, _) in zip(top1, bounds, strict=True)],
                  [max(0.0, high - t) for t, (_, high) in zip(top1, bounds, strict=True)]),
            fmt="*", color=RED, markerfacecolor="white" if source == "from scratch" else RED,
            markersize=10, markeredgecolor="black", linewidth=1, capsize=2,
            label=f"your family, {source}" if source else "your family",
        )  # fmt: skip
        for member, (_, high) in zip(members, bounds, strict=True):
            _name(axes, member["name"], member["macs"], high, (-4, 3))
    count_axis(axes.xaxis, [member["macs"] for member in tested])
    axes.margins(y=0.15)
    axes.set_title(f"Yours: accuracy on {data_name}", fontsize=10, parse_math=False)
    axes.set_ylabel(f"top-1 accuracy, {data_name} test images", parse_math=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _name(axes: Axes, name: str, across: float, up: float, offset: tuple[int, int]) -> None:
    axes.annotate(
        name, (across, up), offset, textcoords="offset points", fontsize=8, zorder=5,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip


def _legend(figure: Figure, look: Look, *panels: Axes) -> None:
    """One legend for all panels, each label once."""
    entries = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(dict(zip(labels, handles, strict=True)))
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=look.columns, frameon=False, fontsize=8
    )
