"""The loss while the learning rate rises, with the rate that is suggested."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from scalesearch.reports.axes import BLUE, RED, WIDTH_INCHES


def lr_figure(lrs: Sequence[float], losses: Sequence[float], suggestion: float) -> Figure:
    """Smoothed training loss by peak learning rate, logarithmic."""
    figure = Figure(figsize=(0.7 * WIDTH_INCHES, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(lrs, losses, color=BLUE, linewidth=1.5)
    axes.axvline(suggestion, color=RED, linestyle="--", linewidth=1.2)
    axes.annotate(
        f"suggested: {suggestion:g}", (suggestion, 1), xycoords=("data", "axes fraction"), xytext=(5, -12),
        textcoords="offset points", color=RED, fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("learning rate of the head")
    axes.set_ylabel("training loss, smoothed")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
