from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalesearch.data.dataset import open_data
from scalesearch.reports.artefacts import report_markdown
from scalesearch.reports.edition import Edition
from scalesearch.reports.figures.canvas import PAGE, PHONE, Look
from scalesearch.reports.figures.drawings import drawings
from scalesearch.reports.figures.formats import inline_svg
from scalesearch.reports.figures.mistakes import mistakes_figure, samples_figure
from scalesearch.reports.pictures import EACH, MOST_MISTAKES, Pictures, pictures
from scalesearch.study.record import Record, read_record

GOLDEN = Path(__file__).parents[1] / "golden" / "run-0.1.0"


@pytest.fixture(scope="module")
def golden() -> tuple[Record, Pictures]:
    record = read_record(GOLDEN)
    shown = pictures(record)
    assert shown is not None
    return record, shown


def test_images_are_squares_as_the_network_was_trained_on_them(golden: tuple[Record, Pictures]) -> None:
    record, shown = golden
    assert record.leader is not None
    side = record.leader.row.proxy_resolution
    assert len(shown.samples) == min(12, record.provenance.classes)
    for images in shown.samples.values():
        assert 0 < len(images) <= EACH
        assert {(one.shape, one.dtype) for one in images} == {((side, side, 3), np.dtype(np.uint8))}


def test_mistakes_are_wrong_and_the_surest_first(golden: tuple[Record, Pictures]) -> None:
    record, shown = golden
    confused = record.confusion
    assert confused is not None
    wrong = confused.predictions[0] != confused.labels
    assert len(shown.mistakes) == min(MOST_MISTAKES, int(wrong.sum()))
    assert all(one.truth != one.guess for one in shown.mistakes)
    worst = int(np.flatnonzero(wrong)[confused.soft[0][wrong].argmin()])
    first = shown.mistakes[0]
    names = open_data("glyphs").classes
    assert set(shown.samples) < set(names)
    assert (first.truth, first.guess) == (names[confused.labels[worst]], names[confused.predictions[0][worst]])


def test_images_that_have_changed_or_gone_are_not_shown(golden: tuple[Record, Pictures], tmp_path: Path) -> None:
    record, _ = golden
    gone = replace(record, provenance=replace(record.provenance, data_argument=str(tmp_path / "gone")))
    assert pictures(gone) is None
    other = replace(record, plan=replace(record.plan, data_digest="0" * 12))
    assert pictures(other) is None


def test_a_report_holds_them_where_they_are_asked_for(golden: tuple[Record, Pictures]) -> None:
    record, shown = golden
    drawn = list(drawings(record, (), shown))
    text = report_markdown(record, (), drawn, Edition(pictures=shown))
    assert "## What the networks look at" in text
    assert "(mistakes.png)" in text
    (samples,) = [one for one in drawn if one.name == "samples"]
    assert "data:image/png;base64" in inline_svg(samples.draw(PAGE), "samples", samples.caption, samples.description)
    without = list(drawings(record, ()))
    assert not {"samples", "mistakes"} & {one.name for one in without}
    assert "What the networks look at" not in report_markdown(record, (), without)


@pytest.mark.parametrize("look", [PAGE, PHONE])
def test_every_class_and_every_image_is_drawn(golden: tuple[Record, Pictures], look: Look) -> None:
    _, shown = golden
    figure = samples_figure(shown.samples, look)
    assert sum(len(axes.images) for axes in figure.axes) == sum(map(len, shown.samples.values()))
    assert sum(len(axes.texts) for axes in figure.axes) == len(shown.samples)
    pixels, truths, guesses = zip(*((one.pixels, one.truth, one.guess) for one in shown.mistakes), strict=True)
    drawn = mistakes_figure(pixels, truths, guesses, 99, 100, look)
    assert sum(len(axes.images) for axes in drawn.axes) == len(pixels)
