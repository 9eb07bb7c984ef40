from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.reports.comparison import abroad, named, overlaps, overview, verdict, write_comparison
from scalesearch.reports.figures.accuracy import runs_figure
from scalesearch.study.plan import SearchPlan
from scalesearch.study.record import Record
from scalesearch.study.row import Row
from scalesearch.table import Table
from scalesearch.units import show_percent
from tests.reports.pages import read
from tests.reports.synthetic import PLAN, answer, record, rows

ROWS = rows(6)


def run(trainings: Sequence[Row] = ROWS, outside: int = 2, plan: SearchPlan = PLAN, name: str = "one") -> Record:
    return record(
        trainings, answer(trainings, outside), complete=True, count=6, plan=plan, folder=Path("/runs") / name
    )  # fmt: skip


def without_best() -> list[Row]:
    best = answer(ROWS).recommended
    return [row for row in ROWS if row.name != best]


def cells(table: Table, row: str) -> list[str]:
    (texts_of_row,) = [texts[1:] for texts in table.texts if texts[0] == row]
    return texts_of_row


def test_other_images_are_never_compared_by_accuracy(tmp_path: Path) -> None:
    records = [run(), run(plan=replace(PLAN, data_digest="ffffffffffff"))]
    assert "Different images (their digests differ): accuracies and scores cannot be compared" in verdict(
        named(records)
    )
    written = [path.name for path in write_comparison(tmp_path, records)]
    assert written == ["comparison.md", "comparison.html"]


def test_what_differs_is_named() -> None:
    assert verdict({"one": run(), "two": run()}).startswith("**The same search, as far as its settings go.**")
    again = run()
    again = replace(again, plan=replace(again.plan, train=replace(again.plan.train, seed=1)))
    assert verdict({"one": run(), "two": again}).startswith("**The same search, repeated with another seed.**")
    longer = run(plan=replace(PLAN, proxy=replace(PLAN.proxy, epochs=30)))
    assert "not the same search (differing: trained)" in verdict({"one": run(), "longer": longer})
    further = run([replace(row, epochs=9, full_epochs=9) for row in ROWS])
    assert "trained for 3, 9 epochs: their accuracies do not compare" in verdict({"one": run(), "two": further})


def test_overlap_counts_candidates_that_both_have() -> None:
    table = overlaps({"one": run(outside=2), "two": run(without_best(), outside=3)})
    # one keeps the best four of six; two, which lacks the best, the best two of five
    assert table.texts[0][1:] == ["5", "2", "1", "0", "same network"]


def test_candidates_of_different_baselines_are_matched_by_their_triples() -> None:
    other = replace(PLAN, baseline=replace(PLAN.baseline, classes=7))
    table = overlaps({"one": run(), "two": run([replace(row, digest="x") for row in ROWS], plan=other)})
    assert table.texts[0][1:] == ["6", "4", "0", "0", "same triple α/β/γ"]


def test_where_each_recommended_one_stands_elsewhere() -> None:
    names = [standing.name for standing in answer(ROWS, outside=0).standings]  # best first
    said = [row[-1] for row in abroad({"one": run(), "two": run(without_best(), outside=3)}).texts]
    assert said == ["not a candidate, or without a result", f"{names[1]}, in the set"]


def test_runs_of_one_name_are_told_apart() -> None:
    runs = named([run(name="same"), run(name="same")])
    assert list(runs) == ["same (1)", "same (2)"]
    assert overview(runs).columns == ("what", "same (1)", "same (2)")


def test_overview_says_what_came_out_and_what_is_open() -> None:
    table = overview({"one": run(), "new": record([], count=6)})
    assert cells(table, "candidates with a result") == [
        "6 of 6 candidates have a result", "0 of 6 candidates have a result; not finished",
    ]  # fmt: skip
    accuracies = cells(table, "accuracy")
    best = next(row for row in ROWS if row.name == answer(ROWS).recommended)
    told = cells(table, "answer")
    assert told[0].startswith(f"Use depth × {best.depth_ratio:.2f}, width × {best.width_ratio:.2f}, resolution × ")
    assert "likely the best of 6; expected loss 0.3 points, at most 0.9 (90 %)." in told[0]
    assert told[1] == ""
    assert best.top1 is not None
    assert accuracies[0].startswith(f"{show_percent(best.top1)} top-1 (")
    assert accuracies[0].endswith("3 epochs, 1 seed)")
    assert accuracies[1] == ""


def test_files_hold_the_tables_and_names_are_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)<x>"
    written = write_comparison(tmp_path, [run(name=evil), run(name="two")])
    assert [path.name for path in written] == [
        "accuracies.png", "accuracies.svg", "accuracies.pdf", "comparison.md", "comparison.html",
    ]  # fmt: skip
    tree = read((tmp_path / "comparison.html").read_text())
    assert len(tree.all("script")) == 1
    assert [one.text for one in tree.all("h2")][:2] == ["Side by side", "Sets that hold the best"]
    assert len(tree.all("table")) == 3
    assert "<script" not in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("count", [1, 2])
def test_figure_shows_each_run_s_candidate_and_baseline(count: int) -> None:
    (axes,) = runs_figure({"one": run(), "two": run()} if count == 2 else {"one": run()}).axes
    assert len(axes.containers) == 2 * count
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one\n3 epochs", "two\n3 epochs"][:count]
