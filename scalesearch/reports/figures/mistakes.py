"""Images that a network got wrong."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from scalesearch.reports.words import shortened

COLUMNS, ROWS = 5, 4
SHOWN = COLUMNS * ROWS
LONGEST = 18  # characters of a class's name


def wrong(labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer]) -> list[int]:
    """Places of some wrong answers, spread evenly over all of them.

    >>> wrong(np.array([0, 1, 2]), np.array([0, 2, 1]))
    [1, 2]
    """
    places = np.flatnonzero(labels != predictions)
    shown = np.linspace(0, len(places) - 1, min(SHOWN, len(places)), dtype=int)
    return [int(place) for place in places[shown]]


def mistakes_figure(
    pixels: Sequence[npt.NDArray[np.uint8]], truths: Sequence[str], guesses: Sequence[str], count: int, images: int
) -> Figure:
    """At most twenty images, each uint8 (S, S, 3), under what they show and what they were taken for; ``count`` of
    ``images`` are wrong in all."""
    rows = max(1, -(-len(pixels) // COLUMNS))
    figure = Figure(figsize=(1.7 * COLUMNS, 2.1 * rows + 0.4), layout="constrained")
    figure.suptitle(f"{count} of {images} images wrong", fontsize=10)
    for place, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(pixels):
            axes.imshow(pixels[place])
            truth, guess = (shortened(names[place], LONGEST) for names in (truths, guesses))
            axes.set_title(f"{truth}\ntaken for {guess}", fontsize=7, parse_math=False)
    return figure
