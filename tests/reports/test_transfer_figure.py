import numpy as np
import pytest

from scalesearch.reports.figures.formats import rendered
from scalesearch.reports.figures.scores import transfer_figure
from scalesearch.study.statistics import Interval
from tests.reports.synthetic import compared, verification

NETWORKS = (
    compared("c004", "recommended", 0.65, interval=(0.01, 0.02)), compared("c005", "member", 0.64),
    compared("c007", "unknown", 0.63), compared("c009", "outside", 0.55), compared("c000", "outside", 0.5, "depth"),
    compared("c001", "member", 0.6, "width"), compared("c003", "member", 0.61, "paper"),
)  # fmt: skip


def test_each_network_stands_once_with_both_intervals() -> None:
    figure = transfer_figure(verification(*NETWORKS, tau=Interval(0.5, 0.1, 0.8)))
    axes = figure.axes[0]
    series = {str(c.get_label()): np.asarray(c.lines[0].get_xydata()) for c in axes.containers}  # type: ignore[attr-defined]
    assert {label: len(places) for label, places in series.items()} == {
        "in the set of φ = 1": 2, "outside the set of φ = 1": 1, "one dimension alone": 2,
        "the paper's coefficients": 1, "recommended": 1,
    }  # fmt: skip
    assert series["recommended"] == pytest.approx(np.array([[65, 75]]))
    star = next(c for c in axes.containers if c.get_label() == "recommended")
    across, up = (bars.get_segments()[0] for bars in star.lines[2])  # type: ignore[attr-defined]
    assert across[:, 0] == pytest.approx([64, 67])
    assert up[:, 1] == pytest.approx([74, 77])
    names = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(names) == {"depth", "width", "paper", "c004", "c005", "c007", "c009"}
    ups = sorted(up for _, up in names.values())
    assert min(np.diff(ups)) >= 0.045 - 1e-9  # none on another
    assert ups[0] >= 0
    assert ups[-1] <= 1
    assert "τ 0.50" in figure.get_suptitle()
    assert "φ = 2" in axes.get_ylabel()


def test_a_recommended_control_is_starred_and_a_value_outside_its_interval_can_be_drawn() -> None:
    odd = verification(compared("c000", "recommended", 0.5, "depth", interval=(-0.01, 0.02)), tau=None)
    figure = transfer_figure(odd)
    assert [c.get_label() for c in figure.axes[0].containers] == ["recommended"]
    assert rendered(figure, "svg") == rendered(transfer_figure(odd), "svg")
