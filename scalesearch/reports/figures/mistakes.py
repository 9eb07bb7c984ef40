"""Images that a network looks at, and those that it got wrong."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from scalesearch.reports.figures.canvas import FILE, Look
from scalesearch.reports.words import shortened

COLUMNS, ROWS = 5, 4
SHOWN = COLUMNS * ROWS
LONGEST, NARROW = 18, 12  # characters of a class's name


def wrong(labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer]) -> list[int]:
    """Places of some wrong answers, spread evenly over all of them.

    >>> wrong(np.array([0, 1, 2]), np.array([0, 2, 1]))
    [1, 2]
    """
    places = np.flatnonzero(labels != predictions)
    shown = np.linspace(0, len(places) - 1, min(SHOWN, len(places)), dtype=int)
    return [int(place) for place in places[shown]]


def mistakes_figure(
    pixels: Sequence[npt.NDArray[np.uint8]], truths: Sequence[str], guesses: Sequence[str], count: int, images: int,
    look: Look | None = None,
) -> Figure:  # fmt: skip
    """At most twenty images, each uint8 (S, S, 3), under what they show and what they were taken for; ``count`` of
    ``images`` are wrong in all."""
    columns = 3 if look is not None and look.narrow else COLUMNS
    rows, width = max(1, -(-len(pixels) // columns)), look.width_inches if look else 1.7 * COLUMNS
    figure = Figure(figsize=(width, (width / columns + 0.4) * rows + 0.4), layout="constrained")
    figure.suptitle(f"{count} of {images} images wrong", fontsize=10)
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(pixels):
            axes.imshow(pixels[place])
            truth, guess = (shortened(names[place], LONGEST) for names in (truths, guesses))
            axes.set_title(f"{truth}\ntaken for {guess}", fontsize=7, parse_math=False)
    return figure


def samples_figure(samples: Mapping[str, Sequence[npt.NDArray[np.uint8]]], look: Look = FILE) -> Figure:
    """A row a class, images uint8 (S, S, 3) as the network looks at them, every pixel to be seen."""
    columns = max(map(len, samples.values()))
    figure = Figure(figsize=(look.width_inches, look.width_inches * len(samples) / (columns + 1.5)))
    grid = figure.add_gridspec(len(samples), columns, left=1.4 / (columns + 1.5), right=1, top=1, bottom=0,
                               wspace=0.04, hspace=0.04)  # fmt: skip
    for row, (name, images) in enumerate(samples.items()):
        for column in range(columns):
            axes = figure.add_subplot(grid[row, column])
            axes.set_axis_off()
            if column < len(images):
                axes.imshow(images[column], interpolation="nearest")
            if column == 0:
                axes.text(
                    -0.1, 0.5, shortened(name, LONGEST if not look.narrow else NARROW), ha="right", va="center",
                    transform=axes.transAxes, fontsize=look.points, parse_math=False,
                )  # fmt: skip
    return figure
