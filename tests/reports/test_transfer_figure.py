import numpy as np
import pytest

from scalesearch.reports.axes import rendered
from scalesearch.reports.facts import TransferPoint
from scalesearch.reports.transfer_figure import transfer_figure


def point(name: str, kind: str, control: str = "", at: float = 0.6) -> TransferPoint:
    return TransferPoint(name, kind, control, at, (at - 0.01, at + 0.02), at + 0.1, (at + 0.08, at + 0.13))


POINTS = (
    point("c004", "recommended", at=0.65), point("c005", "member", at=0.64), point("c007", "undecided", at=0.63),
    point("c009", "beaten", at=0.55), point("c000", "beaten", "depth", 0.5), point("c001", "member", "width", 0.6),
)  # fmt: skip


def test_each_network_stands_once_with_both_intervals() -> None:
    figure = transfer_figure(POINTS, 2.0, "τ 0.50 [0.10, 0.80]", "6 epochs")
    axes = figure.axes[0]
    series = {str(c.get_label()): np.asarray(c.lines[0].get_xydata()) for c in axes.containers}  # type: ignore[attr-defined]
    assert {label: len(places) for label, places in series.items()} == {
        "winner set of φ = 1": 2, "beaten at φ = 1": 1, "one dimension alone": 2, "recommended": 1,
    }  # fmt: skip
    assert series["recommended"] == pytest.approx(np.array([[0.65, 0.75]]))
    star = next(c for c in axes.containers if c.get_label() == "recommended")
    across, up = (bars.get_segments()[0] for bars in star.lines[2])  # type: ignore[attr-defined]
    assert across[:, 0] == pytest.approx([0.64, 0.67])
    assert up[:, 1] == pytest.approx([0.73, 0.78])
    assert {"depth", "width", "c004"} <= {text.get_text() for text in axes.texts}
    assert "τ 0.50" in figure.get_suptitle()
    assert "φ = 2" in axes.get_ylabel()


def test_a_recommended_control_is_starred_and_a_value_outside_its_interval_can_be_drawn() -> None:
    odd = TransferPoint("c000", "recommended", "depth", 0.5, (0.51, 0.52), 0.5, (0.4, 0.49))
    figure = transfer_figure([odd], 1.5, "τ not defined", "note")
    assert [c.get_label() for c in figure.axes[0].containers] == ["recommended"]
    assert rendered(figure, "svg") == rendered(transfer_figure([odd], 1.5, "τ not defined", "note"), "svg")
