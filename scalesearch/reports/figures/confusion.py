"""What a network confuses, and whether its probabilities can be believed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scalesearch.reports.figures.canvas import BLUE, FILE, GREY, ORANGE, WIDTH_INCHES, Look
from scalesearch.reports.words import shortened
from scalesearch.study.calibration import Calibration
from scalesearch.units import show_percent

NUMBERED, NUMBERED_NARROW = 20, 6  # classes up to which cells carry numbers
NAMED = 40  # and up to which every class is named
DARK = 0.55  # share of a row above which numbers are white


def confusion_figure(
    counts: Sequence[Sequence[int]], classes: Sequence[str], look: Look = FILE
) -> Figure:  # fmt: skip
    """Rows: true classes, each summing to 1; columns: predicted ones; cells show images up to twenty classes.

    Args:
        counts: images by true and predicted class.
    """
    numbers = np.array(counts, dtype=float)
    shares = numbers / np.maximum(numbers.sum(1, keepdims=True), 1)
    numbered = len(classes) <= (NUMBERED if not look.narrow else NUMBERED_NARROW)
    side = min(WIDTH_INCHES, 2.6 + 0.34 * len(classes)) if len(classes) <= NUMBERED else WIDTH_INCHES
    width = min(side + 0.8, look.width_inches)
    figure = Figure(figsize=(width, width - 0.8 if not look.narrow else width), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    where = "bottom" if look.narrow else "right"
    figure.colorbar(
        image, ax=axes, location=where, shrink=0.7, format=PercentFormatter(1, 0, " %"), label="of the true class"
    )
    images, right = int(numbers.sum()), int(np.trace(numbers))
    axes.set_title(f"{right} of {images} right ({show_percent(right / max(1, images))})", fontsize=10)
    named = NAMED if not look.narrow else NAMED // 2
    step = 1 if len(classes) <= named else -(-len(classes) // named)
    places = list(range(0, len(classes), step))
    names = [shortened(classes[place], 16) for place in places]
    size = 8 if len(classes) <= NUMBERED else 6
    axes.set_xticks(places, names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if numbered:
        for row, column in zip(*np.nonzero(numbers), strict=True):
            colour = "white" if shares[row, column] > DARK else "black"
            axes.text(column, row, f"{int(numbers[row, column])}", ha="center", va="center", color=colour, fontsize=8)
    return figure


def calibration_figure(reliability: Calibration, look: Look = FILE) -> Figure:
    """Accuracy against stated probability by bins, and how many images each bin has."""
    figure = Figure(figsize=(min(5.0, look.width_inches), min(5.2, look.width_inches + 0.2)), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    stated = [one for one in reliability.confidence if one == one]  # NaN in an empty bin
    measured = [one for one in reliability.accuracy if one == one]
    above.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as stated")
    above.plot(stated, measured, "o-", color=BLUE, label="measured")
    above.set_ylabel("share right")
    above.set_title(f"Expected calibration error {show_percent(reliability.ece)}", fontsize=10)
    above.legend(fontsize=8)
    count = len(reliability.images)
    below.bar([(n + 0.5) / count for n in range(count)], reliability.images, 0.9 / count, color=ORANGE)
    below.set_ylabel("images")
    below.set_xlabel("probability of the first guess")
    for axes in (above, below):
        axes.xaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
        axes.spines[["top", "right"]].set_visible(False)
    above.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    return figure
