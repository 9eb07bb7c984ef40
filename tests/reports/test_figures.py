import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from scalesearch.reports.axes import FILE, PAGE, PHONE, Look, count_ticks, rendered
from scalesearch.reports.controls_figure import controls_figure
from scalesearch.reports.facts import Curve
from scalesearch.reports.family_figure import family_figure
from scalesearch.reports.figures import FLOPS_LABEL, Mark, accuracy_figure, grid_figure, winner_figure
from scalesearch.reports.learning_figure import has_curves, learning_figure, members_figure
from scalesearch.reports.published import Published
from scalesearch.reports.statistics import failed_trials, rung_points, summarise
from tests.reports.synthetic import answer, family, results

NOTE = "accuracy from a proxy at 32 px, 3 epochs; FLOPs of the full-size network"
PUBLISHED = (
    Published("ResNet", "resnet18", "IMAGENET1K_V1", 0.69758, 1_814_000_000, 11_689_512, 224),
    Published("EfficientNet B0–B7", "efficientnet_b0", "IMAGENET1K_V1", 0.77692, 386_000_000, 5_288_548, 224),
)


def bars(axes: Axes) -> dict[str, int]:
    """Points in each series drawn with error bars."""
    return {str(c.get_label()): len(c.lines[0].get_xdata()) for c in axes.containers}  # type: ignore[attr-defined]


def dots(axes: Axes) -> dict[str, int]:
    return {
        str(c.get_label()): len(np.asarray(c.get_offsets())) for c in axes.collections if isinstance(c, PathCollection)
    }


def legend(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.legends[0].get_texts()}


def test_accuracy_figure_holds_every_network_once_on_log_axes_with_units() -> None:
    frame = results(25, failed=(3,))
    members = set(answer(frame, beaten=9).members)
    summary = summarise(frame, members)
    best = summary[summary["role"] == "candidate"].iloc[0]
    figure = accuracy_figure(summary, Mark(int(best["candidate"]), "recommended"), NOTE)
    left, right = figure.axes
    assert bars(left) == {"baseline": 1}
    front = summary[summary["pareto"] & (summary["role"] == "candidate")]
    assert [text.get_text() for text in right.texts] == list(front.sort_values("macs")["name"])
    assert bars(right) == {"beaten": 9, "in the winner set": 14, "recommended": 1}
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    assert right.get_xlabel() == FLOPS_LABEL
    assert left.get_ylim() == right.get_ylim()
    assert NOTE in {axes.get_title() for axes in figure.axes}
    star = next(c for c in right.containers if c.get_label() == "recommended")
    assert star.lines[0].get_xydata().tolist() == [[best["macs"], best["accuracy"]]]  # type: ignore[attr-defined]
    (segment,) = star.lines[2][0].get_segments()  # type: ignore[attr-defined]
    assert segment[:, 1] == pytest.approx([best["low"], best["high"]])
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["386 M"]


@pytest.mark.parametrize("role", ["baseline", "candidate"])
def test_accuracy_figure_of_one_role_alone(role: str) -> None:
    summary = summarise(results(2))
    figure = accuracy_figure(summary[summary["role"] == role], None, NOTE)
    assert len(figure.axes) == 1
    assert sum(bars(figure.axes[0]).values()) == (2 if role == "candidate" else 1)


@pytest.mark.parametrize("count", [1, 25, 100])
def test_grid_figure_holds_every_candidate_once(count: int) -> None:
    frame = results(count, seeds=2, failed=(4, 5))
    summary = summarise(frame, answer(frame, beaten=1 if count > 1 else 0).members)
    best = int(summary.loc[summary["role"] == "candidate", "candidate"].iloc[0])
    figure = grid_figure(summary, failed_trials(frame), Mark(best, "best so far"), NOTE)
    axes = figure.axes[0]
    counted = dots(axes)
    ties = int(summary["member"].sum()) - 1
    expected = {"candidate": count - (2 if count > 5 else 0), "best so far": 1}
    expected |= {"failed": 2} if count > 5 else {}
    assert counted == expected | ({"in the winner set": ties} if ties else {})
    assert legend(figure) == set(counted)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("α (depth)", "β (width)")
    assert "γ 1.2" in {text.get_text() for text in axes.texts}
    shown = np.concatenate([c.get_offsets() for c in axes.collections if c.get_label() in ("candidate", "failed")])
    assert len(np.unique(np.round(shown, 9), axis=0)) == count  # those that differ in γ alone stand apart


@pytest.mark.parametrize("count", [1, 6, 70])
def test_winner_figure_shows_every_standing_with_its_interval(count: int) -> None:
    frame = results(count)
    found = answer(frame, beaten=count // 3)
    figure = winner_figure(summarise(frame, found.members), found.standings, found.recommended, NOTE)
    drawn = [c for axes in figure.axes for c in axes.containers]
    assert len(drawn) == count
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    expected = {"recommended"} | ({"in the winner set", "in the set, undecided", "beaten"} if count > 5 else set())
    assert labels == expected
    first = drawn[0].lines[2][0].get_segments()[0]  # type: ignore[attr-defined]
    assert first[:, 0] == pytest.approx([found.standings[0]["low"], found.standings[0]["high"]])


def test_grid_figure_with_equal_scores_still_has_a_scale() -> None:
    frame = results(3)
    frame["score"] = 0.5
    figure = grid_figure(summarise(frame), failed_trials(frame), None, NOTE)
    low, high = figure.axes[1].get_ylim()
    assert low < 0.5 < high


def test_family_accuracies_never_share_an_axis_with_imagenet() -> None:
    figure = family_figure(family(tested=5), PUBLISHED, "Flowers $x")
    left, right = figure.axes
    assert left.get_ylabel() == "top-1 accuracy, ImageNet"
    assert right.get_ylabel() == "top-1 accuracy, Flowers $x test images"
    assert not left.get_shared_y_axes().joined(left, right)
    assert bars(right) == {"your family, fine-tuned": 4, "your family, from scratch": 1}
    assert [text.get_text() for text in right.texts] == ["b0", "b1", "b2", "b3", "b4"]
    lines = {line.get_label(): line for line in left.lines}
    assert set(lines) == {"ResNet", "EfficientNet B0–B7", "FLOPs of your members"}
    assert np.asarray(lines["ResNet"].get_xydata()).tolist() == [[1_814_000_000, 0.69758]]
    rendered(figure, "svg")  # a dollar sign in a name is no formula


def test_family_without_a_test_result_shows_sizes() -> None:
    figure = family_figure(family(), PUBLISHED, "Flowers")
    right = figure.axes[1]
    assert (right.get_xscale(), right.get_yscale()) == ("log", "log")
    assert right.get_ylabel() == "parameters"
    (mine,) = [line for line in right.lines if line.get_label() == "your family"]
    assert list(np.asarray(mine.get_xdata())) == [member["macs"] for member in family()]
    assert len(legend(figure)) == len({*legend(figure)}) == 4


def test_candidates_trained_for_fewer_epochs_are_open_and_not_on_the_front() -> None:
    frame = results(8)
    frame.loc[frame["candidate"] >= 4, "epochs"] = 1
    summary = summarise(frame, set(frame["name"]) - {"c000", "c007"})
    right = accuracy_figure(summary, None, NOTE).axes[1]
    assert bars(right) == {
        "beaten": 1, "beaten, fewer epochs": 1, "in the winner set": 3, "in the set, fewer epochs": 3
    }  # fmt: skip
    filled = {c.get_label(): c.lines[0].get_markerfacecolor() for c in right.containers}  # type: ignore[attr-defined]
    assert [label for label, colour in filled.items() if colour == "white"] == [
        "beaten, fewer epochs", "in the set, fewer epochs",
    ]  # fmt: skip
    assert not summary.loc[summary["epochs"] == 1, "pareto"].any()


def test_learning_curves_join_the_rungs_of_each_network() -> None:
    late = results(5)
    early = late.assign(epochs=1, correct=late["correct"] - 300, top1=late["top1"] - 0.15)
    late = late[late["candidate"] < 2]
    points = rung_points(pd.concat([early, late]))
    figure = learning_figure(points, frozenset({"c000", "c001", "c002"}), Mark(1, "recommended"), NOTE)
    (axes,) = figure.axes
    assert legend(figure) == {"baseline", "recommended", "in the winner set", "beaten"}
    lines = [c.lines[0] for c in axes.containers]  # type: ignore[attr-defined]
    assert sorted(len(line.get_xdata()) for line in lines) == [1, 1, 1, 2, 2, 2]
    (star,) = [c for c in axes.containers if c.get_label() == "recommended"]
    trials = {epochs: rows[rows["candidate"] == 1].iloc[0] for epochs, rows in ((1, early), (3, late))}
    expected = [[epochs, row["correct"] / row["images"]] for epochs, row in trials.items()]
    assert star.lines[0].get_xydata().tolist() == expected  # type: ignore[attr-defined]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "3"]
    assert has_curves(points)
    assert not has_curves(rung_points(late))


def test_members_learning_curves_are_told_apart_without_colour() -> None:
    curves = [Curve(f"b{n}", (1, 2), (0.1 * n, 0.1 * n + 0.05)) for n in range(7)]
    (axes,) = members_figure(curves, NOTE).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [  # type: ignore[union-attr]
        pytest.approx(curve.top1) for curve in curves
    ]
    assert len({(line.get_marker(), line.get_linestyle()) for line in axes.lines}) == 7


def test_controls_figure_shows_leads_and_verdicts() -> None:
    (won,) = answer(results(5)).comparisons
    bought = {**won, "dimension": "depth", "verdict": "bought", "gap": -0.001, "low": -0.02, "high": 0.01}
    figure = controls_figure([won, bought], "c003", NOTE)
    (axes,) = figure.axes
    assert bars(axes) == {"won": 1, "bought": 1}
    assert legend(figure) == {"won", "bought"}
    segment = axes.containers[0].lines[2][0].get_segments()[0]  # type: ignore[attr-defined]
    assert segment[:, 0] == pytest.approx([won["low"], won["high"]])
    assert axes.get_yticklabels()[1].get_text() == "depth only\nc001, 3 epochs"


@pytest.mark.parametrize("look", [FILE, PAGE, PHONE])
def test_no_two_texts_overlap_and_none_is_cut_off(look: Look) -> None:
    frame = results(12, failed=(3,))
    found = answer(frame)
    summary, mark = summarise(frame, found.members), Mark(int(found.recommended[1:]), "recommended")
    early = frame.assign(epochs=1)
    drawn = {
        "accuracy": accuracy_figure(summary, mark, NOTE, look),
        "winners": winner_figure(summary, found.standings, found.recommended, NOTE, look),
        "grid": grid_figure(summary, failed_trials(frame), mark, NOTE, look),
        "controls": controls_figure(found.comparisons, found.recommended, NOTE, look),
        "curves": learning_figure(rung_points(pd.concat([early, frame])), frozenset(), mark, NOTE, look),
        "members": members_figure([Curve(f"b{n}", (1, 2), (0.2, 0.3)) for n in range(7)], NOTE, look),
        "sizes": family_figure(family(), PUBLISHED, "Flowers", look),
        "family": family_figure(family(tested=3), PUBLISHED, "Flowers", look),
    }
    for name, figure in drawn.items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = canvas.get_width_height()
        texts = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text().strip()]
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t not in undrawn(figure)]
        for number, (text, box) in enumerate(boxes):
            assert -2 <= box.x0 <= box.x1 <= width + 2, (name, text)
            assert -2 <= box.y0 <= box.y1 <= height + 2, (name, text)
            for other, beside in boxes[:number]:
                crossing = (
                    min(box.x1, beside.x1) - max(box.x0, beside.x0),
                    min(box.y1, beside.y1) - max(box.y0, beside.y0),
                )
                assert min(crossing) <= 2, (name, text, other)


def undrawn(figure: Figure) -> set[Text]:
    """Labels of ticks outside their axis' limits, which matplotlib keeps and does not draw."""
    labels: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            room = 1e-6 * (high - low)
            places = axis.get_majorticklocs()
            for number, tick in enumerate(axis.majorTicks):
                if number >= len(places) or not low - room <= places[number] <= high + room:
                    labels |= {tick.label1, tick.label2}
    return labels


@pytest.mark.parametrize(("low", "high"), [(380e6, 400e6), (730e6, 810e6), (7e8, 1.3e9), (5e7, 6e10), (1e3, 1e9)])
def test_ticks_lie_inside_and_are_neither_few_nor_many(low: float, high: float) -> None:
    ticks = count_ticks(low, high)
    assert all(low <= tick <= high for tick in ticks)
    assert 3 <= len(ticks) <= 10


def test_no_text_is_smaller_than_8_points_and_files_are_small_and_repeatable() -> None:
    frame = results(100, failed=(7,))

    def draw() -> Figure:
        return grid_figure(summarise(frame), failed_trials(frame), Mark(0, "recommended"), NOTE)

    figure = draw()
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    assert min(float(text.get_fontsize()) for text in texts) >= 8
    png = rendered(figure, "png")
    assert len(png) < 150_000
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == 1050
    assert rendered(draw(), "svg") == rendered(draw(), "svg")
