"""Figures of faces are drawn from plain values."""

from benchmarks.faces.report import coverage_figure
from scalesearch.reports.face_figures import distance_figure, open_set_figure, roc_figure
from scalesearch.reports.figures.formats import rendered

CURVE = [0.001, 0.01, 0.1, 1.0]


def test_figures_name_what_they_show() -> None:
    roc = roc_figure({"before": {"far": CURVE, "tar": [0.1, 0.2, 0.5, 1]}, "after": {"far": CURVE, "tar": CURVE}})
    texts = {text.get_text() for text in roc.axes[0].get_legend().get_texts()}  # type: ignore[union-attr]
    assert texts == {"before", "after"}
    assert "FAR" in roc.axes[0].get_xlabel()
    assert "FPIR" in open_set_figure({"one": {"fpir": [0.0, *CURVE], "tpir": [0.0, *CURVE]}}).axes[0].get_xlabel()
    values = {"edges": [0.0, 1.0, 2.0], "same": [0.9, 0.1], "different": [0.2, 0.8]}
    assert len(distance_figure({"a": values, "b": values}).axes) == 2


def test_coverage_counts_what_lies_inside() -> None:
    rows = [
        {"fpir": 0.1, "low": 0.05, "high": 0.15, "achieved": achieved} for achieved in (0.04, 0.06, 0.1, 0.2)
    ]  # fmt: skip
    figure = coverage_figure(rows)
    assert "2 of 4 inside (50.0%)" in figure.axes[0].get_title(loc="left")
    assert rendered(figure, "png").startswith(b"\x89PNG")
