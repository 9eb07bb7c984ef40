import csv
import io
import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from rich.cells import cell_len

from scalesearch.design.cost import cost
from scalesearch.design.measure import Measure
from scalesearch.reports import family_words as told
from scalesearch.reports.families import (
    families_html,
    family_csv,
    family_json,
    lineup,
    sections,
    terminal_tables,
    write_families,
)
from scalesearch.reports.families import lines as terminal_lines
from scalesearch.reports.figures import canvas
from scalesearch.reports.figures.canvas import FILE, PAGE, PHONE, Look
from scalesearch.reports.figures.families import costs_figure, families_figure
from scalesearch.reports.render import fitted, markdown
from scalesearch.study.family_answer import FamilyAnswer, Lead, compare
from scalesearch.study.family_record import FamilyRecord
from scalesearch.study.statistics import Interval
from scalesearch.units import show_percent
from tests.family_runs import plan_of, written
from tests.reports.pages import read

FIGURES = [f"{name}.{kind}" for name in ("families", "families_costs") for kind in ("png", "svg", "pdf")]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[FamilyRecord, FamilyAnswer]:
    return known(written(tmp_path_factory.mktemp("full"), plan_of(images=1000)))


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> tuple[FamilyRecord, FamilyAnswer]:
    plan = plan_of(("found", "paper"), 1, ("resnet18",))
    return known(written(tmp_path_factory.mktemp("partial"), plan, most=12))


def known(record: FamilyRecord) -> tuple[FamilyRecord, FamilyAnswer]:
    answer = compare(record)
    assert answer is not None
    return record, answer


def shown_texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() and text.get_visible()]


def names_on(figure: Figure) -> list[Annotation]:
    return [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_families_of_another_cost_are_told_in_it(tmp_path: Path) -> None:
    measure = Measure("params")
    record, answer = known(written(tmp_path, replace(plan_of(images=1000), measure=measure)))
    contenders = record.plan.contenders
    assert [one.cost for one in answer.points] == [measure.of(contenders[one.number].spec) for one in answer.points]
    text = "\n".join([told.verdict(record, answer), *told.notes(record, answer), told.what_leads_are(record.plan)])
    assert "equal parameters" in text
    assert "At equal FLOPs" not in text
    assert "Families are compared at equal parameters." in text
    assert told.leads(record, answer).columns[4] == "parameters ratio"
    assert families_figure(record.plan, answer).axes[0].get_xlabel() == "parameters"
    assert next(sections(record, answer)).heading == "Accuracy against parameters"


def test_the_figure_has_a_line_a_family_and_a_name_for_each_published_network(
    full: tuple[FamilyRecord, FamilyAnswer],
) -> None:
    record, answer = full
    figure = families_figure(record.plan, answer)
    (axes,) = figure.axes
    assert legend(figure) == ["found", "the paper's", "depth alone", "width alone", "resolution alone"]
    assert sorted(text.get_text() for text in names_on(figure)) == ["googlenet", "mobilenet_v2", "resnet18"]
    lines = [line for line in axes.lines if line.get_label() in legend(figure)]
    assert len(lines) == 5
    assert len({(line.get_marker(), str(line.get_linestyle())) for line in lines}) >= 4  # without colours, too
    assert len({line.get_marker() for line in lines}) == 5
    found = answer.curve("found")
    assert list(lines[0].get_xdata()) == [one.macs for one in found]  # type: ignore[arg-type]
    assert list(lines[0].get_ydata()) == [one.accuracy.value for one in found]  # type: ignore[arg-type]
    assert axes.get_xscale() == "log"
    for word in ("multiply-adds", "convolution and linear", "fvcore"):
        assert word in axes.get_xlabel()


@pytest.mark.parametrize("look", [FILE, PAGE, PHONE, canvas.PAPER])
@pytest.mark.parametrize("which", ["full", "partial"])
def test_nothing_is_too_small_or_hidden_at_any_width(look: Look, which: str, request: pytest.FixtureRequest) -> None:
    record, answer = request.getfixturevalue(which)
    for draw in (families_figure, costs_figure):
        figure = draw(record.plan, answer, look)
        figure.draw_without_rendering()
        assert min(text.get_fontsize() for text in shown_texts(figure)) >= 7
        assert figure.get_figwidth() == look.width_inches
        for axes in figure.axes:
            boxes = [text for text in axes.texts if isinstance(text, Annotation)]
            extents = [Text.get_window_extent(text) for text in boxes]
            assert not any(one.overlaps(other) for one, other in combinations(extents, 2))
            assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in extents)
        for text in shown_texts(figure):
            box = text.get_window_extent()
            assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
            assert box.x0 >= -1, text.get_text()


def test_costs_stand_over_latency_where_it_was_measured(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    assert [axes.get_xlabel() for axes in costs_figure(record.plan, answer).axes] == [
        "measured latency of one image, ms", "parameters"
    ]  # fmt: skip
    unmeasured = replace(answer, points=tuple(replace(one, latency_ms=None) for one in answer.points))
    assert [axes.get_xlabel() for axes in costs_figure(record.plan, unmeasured).axes] == ["parameters"]


def test_guessing_is_drawn_where_it_is_near(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    assert "guessing" not in legend(families_figure(record.plan, answer))
    near = replace(record.plan, majority=0.5)
    assert "guessing" in legend(families_figure(near, answer))


def test_a_report_holds_the_same_values_everywhere(full: tuple[FamilyRecord, FamilyAnswer], tmp_path: Path) -> None:
    record, answer = full
    written_files = write_families(tmp_path, record)
    assert [path.name for path in written_files] == [
        "families.csv", "answer.json", *FIGURES, "families_paper.pdf", "families.md", "families.html"
    ]  # fmt: skip
    text = (tmp_path / "families.md").read_text()
    page = read((tmp_path / "families.html").read_text())
    notebook = families_html(record)
    lines = {line["network"]: line for line in csv.DictReader(io.StringIO((tmp_path / "families.csv").read_text()))}
    values = json.loads((tmp_path / "answer.json").read_text())
    assert len(lines) == len(record.plan.contenders)
    for one, kept in zip(answer.points, values["points"], strict=True):
        assert float(lines[one.name]["top1"]) == one.accuracy.value == kept["accuracy"]["value"]
        assert int(lines[one.name]["macs"]) == one.macs == kept["macs"]
        for place in (text, page.whole_text(), notebook):
            assert show_percent(one.accuracy.value) in place
    verdict = told.verdict(record, answer).strip("*")
    assert verdict in text
    assert verdict in page.whole_text().replace("\n", " ")
    again = {path.name: path.read_bytes() for path in written_files}
    assert again == {path.name: path.read_bytes() for path in write_families(tmp_path / "again", record)}


def test_nothing_yet_is_said_and_has_no_figure(tmp_path: Path) -> None:
    plan = plan_of(("found", "depth"), 1, ())
    record = written(tmp_path / "run", plan, most=1, failed=("b0",))
    names = [path.name for path in write_families(tmp_path / "report", record)]
    assert names == ["families.csv", "answer.json", "families.md", "families.html"]
    text = (tmp_path / "report" / "families.md").read_text()
    assert "Without an answer: no network has a result on the test images yet." in text
    assert "1 training failed." in text
    assert "loss is not finite" in text
    assert (tmp_path / "report" / "answer.json").read_text() == "null\n"
    assert "Still to be trained" not in text or "b0" in text


def test_partial_results_say_what_is_left(partial: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = partial
    assert told.verdict(record, answer) == "**Nothing can be compared with the found family yet.**"
    assert told.state(record)[0].startswith(f"Not finished: {len(record.left)} trainings left.")
    assert sum(int(row[1]) for row in told.left(record).texts) == len(record.left)


def test_guessing_supports_no_verdict(tmp_path: Path) -> None:
    plan = plan_of(("found", "depth"), 1, (), rates=(1e-3,))
    record, answer = known(written(tmp_path, plan, level=lambda one, plan: 0.25))
    assert "no network is clearly better than guessing the most frequent class (25.0 %)" in told.verdict(record, answer)
    assert "leads" not in {one.key for one in sections(record, answer)}


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ({"depth": (0.01, 0.03)}, "At equal FLOPs the found family is more accurate than depth alone."),
        ({"depth": (-0.03, -0.01)}, "At equal FLOPs the found family is less accurate than depth alone."),
        ({"depth": (-0.01, 0.03)}, "At equal FLOPs a difference from depth alone is not shown."),
        ({"paper": (-0.01, 0.03), "depth": (0.01, 0.02), "width": (0.02, 0.04)},
         "At equal FLOPs the found family is more accurate than depth alone and width alone. A difference from the "
         "paper's is not shown."),
    ],
)  # fmt: skip
def test_the_verdict_says_only_what_intervals_show(
    full: tuple[FamilyRecord, FamilyAnswer], intervals: dict[str, tuple[float, float]], expected: str
) -> None:
    record, answer = full
    leads = tuple(
        Lead(over, (1.0,), 1.0, Interval((low + high) / 2, low, high)) for over, (low, high) in intervals.items()
    )
    assert told.verdict(record, replace(answer, leads=leads)) == f"**{expected}**"


def test_the_same_networks_are_said_to_be_the_same(tmp_path: Path) -> None:
    plan = plan_of(("found", "paper"), 2, (), same={"paper": "found"}, rates=(1e-3,))
    record, answer = known(written(tmp_path, plan))
    assert told.verdict(record, answer) == (
        "**The found coefficients are the paper's, as far as networks go: both families are the same networks.**"
    )
    by_hand = replace(record, plan=replace(plan, searched=False))
    assert told.verdict(by_hand, answer).startswith("**Your coefficients are the paper's")


def test_one_seed_is_said(tmp_path: Path) -> None:
    plan = plan_of(("found", "width"), 1, (), rates=(1e-3,))
    record, answer = known(written(tmp_path, plan, 1))
    assert any("one seed" in note for note in told.notes(record, answer))
    assert "no other was tried" in told.recipe(record)


def test_the_recipe_tells_which_rate_was_chosen_and_whether_at_the_edge(tmp_path: Path) -> None:
    plan = plan_of(("found", "width"), 1, (), rates=(1e-3, 2e-3, 4e-3))
    record = written(tmp_path, plan, level=lambda one, plan: 0.9 if one.rate == 1 + one.contender // 2 else 0.5)
    lines = {row[0]: row[1:] for row in told.rates(record).texts}
    assert lines["found"][2:] == ["0.002", ""]
    assert lines["width alone"][2:] == ["0.004", "yes"]
    assert lines["width alone"][0] == "width-b1"
    assert "0.002: " in lines["found"][1]


def test_what_a_member_costs_with_those_that_it_goes_back_to(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    plan = full[0].plan
    line = plan.lineage(plan.curve("depth")[2])
    assert [one.name for one in line] == ["depth-b2", "depth-b1", "b0"]
    macs = [cost(one.spec).macs for one in line]
    share = (6 * macs[0] + 6 * macs[1] + 12 * macs[2]) / (12 * macs[0])
    said = re.search(r"cost together ([\d.]+)(?: to ([\d.]+))? times what 12 epochs", told.recipe(full[0]))
    assert said is not None
    assert float(said[1]) - 0.05 <= share <= float(said[2] or said[1]) + 0.05
    assert len(plan_of(inherits=False).lineage(3)) == 1


def test_tables_fit_a_terminal(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, _ = full
    for table in (*terminal_tables(record), lineup(record.plan)):
        shown, _ = fitted(table, 80)
        widths = [max(cell_len(text) for text in column) for column in zip(shown.columns, *shown.texts, strict=True)]
        assert sum(widths) + 2 * (len(widths) - 1) <= 80
        assert {"network", "over", "family"} & set(shown.columns)


def test_foreign_names_stay_text(tmp_path: Path) -> None:
    plan = replace(plan_of(("found", "width"), 1, (), rates=(1e-3,)), data="<b>*x*</b>", origin="=<script>")
    record = written(tmp_path / "run", plan)
    write_families(tmp_path / "report", record)
    page = read((tmp_path / "report" / "families.html").read_text())
    assert page.all("h1")[0].whole_text() == "Families trained side by side on <b>*x*</b>"
    assert len(page.all("script")) == 1
    assert not page.all("b")
    assert "<script" not in families_html(record)
    assert "<b>" not in markdown(told.rates(record))


def test_values_without_an_answer(partial: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, _ = partial
    assert family_json(None) == "null\n"
    lines = list(csv.DictReader(io.StringIO(family_csv(record, None))))
    assert [line["network"] for line in lines] == [one.name for one in record.plan.contenders]
    assert {line["top1"] for line in lines} == {""}


def test_a_terminal_is_told_without_markup(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    shown = terminal_lines(record)
    assert shown[0] == told.verdict(record, answer).strip("*")
    assert len(shown) == 1 + len(told.notes(record, answer))
    assert not [line for line in shown if "*" in line or "`" in line]


def test_the_lineup_names_every_network_and_what_it_starts_from(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    plan = full[0].plan
    started = {row[0]: row[5] for row in lineup(plan).texts}
    assert list(started) == [one.name for one in plan.contenders]
    assert (started["b0"], started["b2"], started["paper-b1"], started["resnet18"]) == (
        "scratch",
        "b1",
        "b0",
        "scratch",
    )
