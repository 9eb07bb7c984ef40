import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from scalesearch.reports.figures.accuracy import FLOPS_LABEL, accuracy_figure
from scalesearch.reports.figures.canvas import FILE, PAGE, PHONE, Look, count_ticks
from scalesearch.reports.figures.curves import curve as points
from scalesearch.reports.figures.curves import learning_figure, lr_figure, members_figure, networks
from scalesearch.reports.figures.formats import rendered
from scalesearch.reports.figures.members import family_figure
from scalesearch.reports.figures.score_grid import grid_figure
from scalesearch.reports.figures.scores import controls_figure, standings_figure
from scalesearch.reports.published import PublishedNetwork
from scalesearch.reports.words import accuracy_note
from scalesearch.study.record import Record
from scalesearch.study.summary import NetworkSummary
from tests.reports.synthetic import answer, curve, early, judged, members, record, rows, trained

PUBLISHED = (
    PublishedNetwork("ResNet", "resnet18", "IMAGENET1K_V1", 0.69758, 1_814_000_000, 11_689_512, 224),
    PublishedNetwork("EfficientNet B0–B7", "efficientnet_b0", "IMAGENET1K_V1", 0.77692, 386_000_000, 5_288_548, 224),
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
    trainings = rows(25, failed=(3,))
    run = record(trainings, answer(trainings, outside=9), complete=True)
    best = run.leader
    assert best is not None
    figure = accuracy_figure(run)
    left, right = figure.axes
    assert bars(left) == {"baseline": 1}
    assert not right.texts  # candidates that cost the same have no front
    assert bars(right) == {"outside the set": 9, "in the set": 14, "recommended": 1}
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    assert right.get_xlabel() == FLOPS_LABEL
    assert left.get_ylim() == right.get_ylim()
    assert accuracy_note(run) in {axes.get_title() for axes in figure.axes}
    star = next(c for c in right.containers if c.get_label() == "recommended")
    assert star.lines[0].get_xydata().tolist() == [[best.row.proxy_macs, best.accuracy.value]]  # type: ignore[attr-defined]
    (segment,) = star.lines[2][0].get_segments()  # type: ignore[attr-defined]
    assert segment[:, 1] == pytest.approx([best.accuracy.low, best.accuracy.high])
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["7.87M"]


def test_candidates_of_unequal_cost_have_a_named_front() -> None:
    unequal = [
        row if row.role == "baseline" else replace(row, proxy_macs=round(row.proxy_macs * (1 + 0.05 * row.candidate)))
        for row in rows(9)
    ]  # fmt: skip
    run = record(unequal)
    right = accuracy_figure(run).axes[1]
    front = sorted(
        (one for one in run.summaries if one.front and not one.is_baseline), key=lambda one: one.row.proxy_macs
    )
    assert [text.get_text() for text in right.texts] == [one.row.name for one in front] != []


def test_guessing_is_drawn_where_accuracies_are_near_it_and_has_no_colour() -> None:
    trainings = rows(6)
    assert "guessing" not in legend(accuracy_figure(record(trainings)))
    run = record([judged(row, 50) if row.candidate in (2, 4) else row for row in trainings])
    assert "guessing" in legend(accuracy_figure(run))
    figure = grid_figure(run)
    assert dots(figure.axes[0])["no better than guessing"] == 2
    assert dots(figure.axes[0])["candidate"] == 4
    nothing = grid_figure(record([judged(row, 50) for row in trainings]))
    assert dots(nothing.axes[0])["no better than guessing"] == 6
    assert len(nothing.axes) == 1  # no scale of colours


@pytest.mark.parametrize("role", ["baseline", "candidate"])
def test_accuracy_figure_of_one_role_alone(role: str) -> None:
    figure = accuracy_figure(record([row for row in rows(2) if row.role == role]))
    assert len(figure.axes) == 1
    assert sum(bars(figure.axes[0]).values()) == (2 if role == "candidate" else 1)


@pytest.mark.parametrize("count", [1, 25, 100])
def test_grid_figure_holds_every_candidate_once(count: int) -> None:
    trainings = rows(count, seeds=2, failed=(4, 5))
    run = record(trainings, answer(trainings, outside=1 if count > 1 else 0))
    figure = grid_figure(run)
    axes = figure.axes[0]
    counted = dots(axes)
    ties = sum(one.member for one in run.summaries) - 1
    expected = {"candidate": count - (2 if count > 5 else 0), "ahead so far": 1}
    expected |= {"failed": 2} if count > 5 else {}
    assert counted == expected | ({"in the set": ties} if ties else {})
    assert legend(figure) == set(counted)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("depth × as trained", "width × as trained")
    assert "× 1.2" in {text.get_text() for text in axes.texts}
    shown = np.concatenate([c.get_offsets() for c in axes.collections if c.get_label() in ("candidate", "failed")])
    assert len(np.unique(np.round(shown, 9), axis=0)) == count  # those that differ in resolution alone stand apart


@pytest.mark.parametrize("count", [1, 6, 70])
def test_standings_figure_shows_every_expected_score_with_its_interval_and_the_baseline(count: int) -> None:
    trainings = rows(count)
    told = answer(trainings, outside=count // 3)
    figure = standings_figure(record(trainings, told, complete=True), told)
    (axes,) = figure.axes
    assert len(axes.containers) == count
    expected = {"recommended", "baseline"} | ({"in the set", "outside the set"} if count > 5 else set())
    assert legend(figure) == expected
    first, score = axes.containers[0].lines[2][0].get_segments()[0], told.standings[0].score  # type: ignore[attr-defined]
    assert score is not None
    assert first[:, 0] == pytest.approx([100 * score.low, 100 * score.high])
    (line,) = [line for line in axes.lines if line.get_label() == "baseline"]
    assert np.asarray(line.get_xdata())[0] == pytest.approx(100 * (score.value - 0.0123))


def test_who_was_not_trained_to_the_end_is_hollow_and_the_paper_s_triple_is_named() -> None:
    late, first = rows(6), early(rows(6))
    told = answer([*(row for row in late if row.candidate < 4), *(row for row in first if row.candidate >= 4)])
    run = record((*first, *(row for row in late if row.candidate < 4)), told, complete=True)
    figure = standings_figure(run, told)
    (axes,) = figure.axes
    hollow = [c.get_label() for c in axes.containers if c.lines[0].get_markerfacecolor() == "white"]  # type: ignore[attr-defined]
    assert hollow == ["outside the set, fewer epochs"] * 2
    assert "c002 1.20/1.10/1.15 (the paper's)" in [text.get_text() for text in axes.get_yticklabels()]


def test_the_grid_s_colours_are_expected_scores_where_there_are_any() -> None:
    trainings = rows(6)
    told = answer(trainings)
    expected = {one.name: 100 * one.score.value for one in told.standings if one.score}
    for run, values in (
        (record(trainings, told), [expected[one.row.name] for one in summaries(record(trainings, told))]),
        (record(trainings), [100 * one.score for one in record(trainings).rungs if not one.is_baseline]),
    ):
        shown = next(c for c in grid_figure(run).axes[0].collections if c.get_label() == "candidate")
        assert np.asarray(shown.get_array()) == pytest.approx(values)


def summaries(run: Record) -> list[NetworkSummary]:
    return [one for one in run.summaries if not one.is_baseline]


def test_grid_figure_with_equal_scores_still_has_a_scale() -> None:
    figure = grid_figure(record([replace(row, score=0.5) for row in rows(3)]))
    low, high = figure.axes[1].get_ylim()
    assert low < 50 < high


def test_family_accuracies_never_share_an_axis_with_imagenet() -> None:
    figure = family_figure(members(), trained(members(), 5), PUBLISHED, "Flowers $x")
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
    figure = family_figure(members(), (), PUBLISHED, "Flowers")
    right = figure.axes[1]
    assert (right.get_xscale(), right.get_yscale()) == ("log", "log")
    assert right.get_ylabel() == "parameters"
    (mine,) = [line for line in right.lines if line.get_label() == "your family"]
    assert list(np.asarray(mine.get_xdata())) == [one.macs for one in trained(members(), 7)]
    assert len(legend(figure)) == len({*legend(figure)}) == 4


def test_candidates_trained_for_fewer_epochs_have_a_panel_of_their_own_and_no_front() -> None:
    trainings = [replace(row, epochs=1) if row.candidate >= 4 else row for row in rows(8)]
    told = answer(trainings, outside=0)
    out = ("c000", "c007")
    standings = tuple(replace(one, status="outside" if one.name in out else "member") for one in told.standings)
    run = record(trainings, replace(told, standings=standings, recommended="c001"))
    figure = accuracy_figure(run)
    assert [bars(axes) for axes in figure.axes] == [
        {"baseline": 1}, {"outside the set": 1, "in the set": 2, "ahead so far": 1},
        {"outside the set": 1, "in the set": 3},
    ]  # fmt: skip
    assert [axes.get_title() for axes in figure.axes] == ["after 3 epochs", "after 3 epochs", "after 1 epoch"]
    assert figure.axes[1].get_xlabel() == FLOPS_LABEL
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert not any(one.front for one in run.summaries if one.row.epochs == 1)


def test_learning_curves_join_the_rungs_of_each_network() -> None:
    late = [row for row in rows(5) if row.candidate < 2]
    first = early(rows(5), 300)
    told = answer(rows(5), outside=0)
    inside = ("c000", "c001", "c002")
    standings = tuple(replace(one, status="member" if one.name in inside else "outside") for one in told.standings)
    run = record((*first, *late), replace(told, standings=standings, recommended="c001"), complete=True)
    figure = learning_figure(run)
    (axes,) = figure.axes
    assert legend(figure) == {"baseline", "recommended", "in the set", "outside the set"}
    lines = [c.lines[0] for c in axes.containers]  # type: ignore[attr-defined]
    assert sorted(len(line.get_xdata()) for line in lines) == [1, 1, 1, 2, 2, 2]
    (star,) = [c for c in axes.containers if c.get_label() == "recommended"]
    expected = [[row.epochs, row.correct / row.images] for row in (*first, *late) if row.candidate == 1]
    assert star.lines[0].get_xydata().tolist() == expected  # type: ignore[attr-defined]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "3"]
    assert any(len(ones) > 1 for ones in networks(run))


def test_members_learning_curves_are_told_apart_without_colour() -> None:
    curves = [curve(f"b{n}", 0.1 * n, 0.1 * n + 0.05) for n in range(7)]
    (axes,) = members_figure(curves).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [  # type: ignore[union-attr]
        pytest.approx([top1 for _, top1 in points(one)]) for one in curves
    ]
    assert len({(line.get_marker(), line.get_linestyle()) for line in axes.lines}) == 7


def test_the_learning_rate_s_test_names_the_suggestion_on_a_logarithmic_axis() -> None:
    figure = lr_figure([1e-5, 1e-4, 1e-3, 1e-2], [2.0, 1.8, 1.2, 3.0], 1e-4)
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["suggested: 0.0001"]
    assert rendered(figure, "png").startswith(b"\x89PNG")


def test_controls_figure_shows_leads_and_verdicts_the_paper_s_first_and_the_baseline_s_last() -> None:
    told = answer(rows(5))
    won = told.comparisons[0]
    bought = replace(won, control="c000", dimension="depth", verdict="bought", gap=-0.001, low=-0.02, high=0.01)
    paper = replace(won, control="c002", dimension="paper")
    figure = controls_figure(record(rows(5), told), replace(told, comparisons=(won, bought, paper)))
    (axes,) = figure.axes
    assert [c.get_label() for c in axes.containers] == ["won", "bought at a higher cost", "won"]
    assert legend(figure) == {"won", "bought at a higher cost"}
    segment = axes.containers[1].lines[2][0].get_segments()[0]  # type: ignore[attr-defined]
    assert segment[:, 0] == pytest.approx([-2, 1])
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "the paper's coefficients\nc002", "depth alone\nc000", "the baseline",
    ]  # fmt: skip


@pytest.mark.parametrize("look", [FILE, PAGE, PHONE])
def test_no_two_texts_overlap_and_none_is_cut_off(look: Look) -> None:
    trainings = rows(12, failed=(3,))
    told = answer(trainings)
    run = record(trainings, told, complete=True)
    raced = [*early(trainings), *(row for row in trainings if row.candidate not in (5, 11))]
    open_ones = answer(raced)
    drawn = {
        "raced": standings_figure(record(raced, open_ones), replace(open_ones, recommended="c001"), look),
        "accuracy": accuracy_figure(run, look),
        "winners": standings_figure(run, told, look),
        "grid": grid_figure(run, look),
        "controls": controls_figure(run, told, look),
        "curves": learning_figure(record((*early(trainings), *trainings), told), look),
        "members": members_figure([curve(f"b{n}", 0.2, 0.3) for n in range(7)], look),
        "sizes": family_figure(members(), (), PUBLISHED, "Flowers", look),
        "family": family_figure(members(), trained(members(), 3), PUBLISHED, "Flowers", look),
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
    run = record(rows(100, failed=(7,)))
    figure = grid_figure(run)
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    assert min(float(text.get_fontsize()) for text in texts) >= 8
    png = rendered(figure, "png")
    assert len(png) < 150_000
    with Image.open(io.BytesIO(png)) as image:
        assert image.width == 1050
    assert rendered(grid_figure(run), "svg") == rendered(grid_figure(run), "svg")
