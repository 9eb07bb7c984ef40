import numpy as np
import pytest

from scalesearch.reports.figures.confusion import calibration_figure, confusion_figure
from scalesearch.reports.figures.formats import rendered
from scalesearch.study.calibration import calibration


@pytest.mark.parametrize("classes", [2, 20, 21, 100])
def test_confusion_names_and_numbers_what_there_is_room_for(classes: int) -> None:
    counts = np.diag(np.full(classes, 7)).tolist()
    counts[0][1] = 3
    figure = confusion_figure(counts, [f"class {n}" for n in range(classes)])
    axes = figure.axes[0]
    assert axes.get_title().startswith(f"{7 * classes} of {7 * classes + 3} right")
    assert len(axes.texts) == (classes + 1 if classes <= 20 else 0)
    assert len(axes.get_yticklabels()) == (classes if classes <= 40 else 34)
    assert rendered(figure, "png")[:4] == b"\x89PNG"


def test_names_of_classes_are_no_formulas() -> None:
    figure = confusion_figure([[3, 1], [0, 2]], ["$\\frac$", "$5 note, $10"])
    assert rendered(figure, "svg").count(b"frac") >= 1


def test_calibration_draws_only_bins_with_images() -> None:
    figure = calibration_figure(calibration(np.array([True, False, True]), np.float32([0.9, 0.8, 0.3])))
    assert len(figure.axes[0].lines[1].get_xdata()) == 3
    assert "calibration error" in figure.axes[0].get_title()
