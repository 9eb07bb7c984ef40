"""Your family beside published networks: ImageNet figures and yours never share an accuracy axis."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from scalesearch.design.cost import cost
from scalesearch.design.family import Member
from scalesearch.reports.figures import canvas
from scalesearch.reports.published import PublishedNetwork
from scalesearch.reports.tables import start, tested_members
from scalesearch.reports.words import shortened
from scalesearch.study.record import MemberTraining
from scalesearch.study.statistics import wilson_interval

STYLES = {
    "GoogLeNet": ("D", canvas.GREY), "ResNet": ("s", "black"), "MobileNetV2": ("v", canvas.ORANGE),
    "MobileNetV3": ("^", canvas.RED), "MNASNet": ("P", canvas.PURPLE), "EfficientNet B0–B7": ("o", canvas.BLUE),
    "EfficientNetV2 S, M, L": ("X", canvas.GREEN),
}  # fmt: skip


def family_figure(
    members: Sequence[Member],
    trainings: Sequence[MemberTraining],
    published: Sequence[PublishedNetwork],
    data_name: str,
    look: canvas.Look = canvas.FILE,
) -> Figure:
    """Two panels. Left: ImageNet top-1 of published networks, your members' FLOPs as ticks beneath.

    Right: your members' accuracy on your test images where any was tested; else parameters of both.

    Args:
        members: at least one.
        published: networks of ``published.SERIES``.
        data_name: whose test images.
    """
    figure = Figure(figsize=(look.width_inches, 8.4 if look.narrow else 4.8), layout="constrained")
    left, right = figure.subplots(2, 1) if look.narrow else figure.subplots(1, 2)
    if look.titled:
        figure.suptitle("Your family beside published networks", fontsize=11)
    own = [cost(one.spec).macs for one in members]
    macs = [*(entry.macs for entry in published), *own]
    _published(left, published, [entry.top1 for entry in published])
    left.plot(
        own, [0.03] * len(own), "|", color=canvas.RED, markersize=11, markeredgewidth=1.5,
        transform=left.get_xaxis_transform(), label="FLOPs of your members",
    )  # fmt: skip
    left.set_title("Published: accuracy on ImageNet", fontsize=10)
    canvas.accuracy_axis(left, "top-1 accuracy, ImageNet")
    canvas.count_axis(left.xaxis, macs)
    tested = tested_members(members, trainings)
    if tested:
        _accuracies(right, list(tested.values()), shortened(data_name))
    else:
        _sizes(right, members, published)
        canvas.count_axis(right.xaxis, macs)
    for axes in (left, right):
        axes.set_xlabel("FLOPs (multiply-adds)")
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    canvas.legend_below(figure, look)
    return figure


def _published(axes: Axes, published: Sequence[PublishedNetwork], values: Sequence[float]) -> None:
    """One marker and line a series, smallest network first."""
    points = sorted(
        zip((entry.macs for entry in published), values, (entry.series for entry in published), strict=True)
    )
    for series, (marker, colour) in STYLES.items():
        across = [macs for macs, _, name in points if name == series]
        up = [value for _, value, name in points if name == series]
        if across:
            axes.plot(across, up, marker=marker, color=colour, markersize=5, linewidth=0.8, label=series)


def _sizes(axes: Axes, members: Sequence[Member], published: Sequence[PublishedNetwork]) -> None:
    _published(axes, published, [entry.params for entry in published])
    sizes = [cost(one.spec) for one in members]
    macs, params = [one.macs for one in sizes], [one.params for one in sizes]
    axes.plot(
        macs, params, "*", linestyle="-", color=canvas.RED, markersize=9, markeredgecolor="black", label="your family"
    )
    for one, across, up in zip(members, macs, params, strict=True):
        _name(axes, one.name, across, up, (-13, 5))
    canvas.count_axis(axes.yaxis, [*(entry.params for entry in published), *params])
    axes.set_title("Size of both", fontsize=10)
    axes.set_ylabel("parameters")


def _accuracies(axes: Axes, tested: Sequence[MemberTraining], data_name: str) -> None:
    """Test accuracies with 95 % intervals; members fine-tuned and trained from scratch are told apart."""
    for source in sorted(set(map(start, tested))):
        ones = [one for one in tested if start(one) == source]
        accuracies = [wilson_interval(one.test.correct, one.test.images) for one in ones]
        axes.errorbar(
            [one.macs for one in ones], [one.value for one in accuracies], yerr=canvas.errors(accuracies),
            fmt="*", color=canvas.RED, markerfacecolor="white" if source == "from scratch" else canvas.RED,
            markersize=10, markeredgecolor="black", linewidth=1, capsize=2, label=f"your family, {source}",
        )  # fmt: skip
        for one, accuracy in zip(ones, accuracies, strict=True):
            _name(axes, one.model, one.macs, accuracy.high, (-4, 3))
    canvas.count_axis(axes.xaxis, [one.macs for one in tested])
    axes.margins(y=0.15)
    axes.set_title(f"Yours: accuracy on {data_name}", fontsize=10, parse_math=False)
    canvas.accuracy_axis(axes, f"top-1 accuracy, {data_name} test images")


def _name(axes: Axes, name: str, across: float, up: float, offset: tuple[int, int]) -> None:
    axes.annotate(
        name, (across, up), offset, textcoords="offset points", fontsize=8, zorder=5,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip
