import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.reports.comparison import Run, abroad, named, overlaps, overview, verdict
from scalesearch.reports.comparison_figure import comparison_figure
from scalesearch.reports.comparison_report import write_comparison
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import findings
from tests.reports.pages import read
from tests.reports.synthetic import answer, facts, results, winner


def run(name: str, frame: pd.DataFrame, beaten: int = 2, **changes: object) -> Run:
    known: RunFacts = replace(facts(6, winner(frame)), name=name, winners=answer(frame, beaten))
    known = replace(known, data=replace(known.data, **changes))  # type: ignore[arg-type]
    return Run(name, findings(frame, known), known)


@pytest.fixture
def frame() -> pd.DataFrame:
    return results(6)


def test_other_images_are_never_compared_by_accuracy(frame: pd.DataFrame, tmp_path: Path) -> None:
    runs = [run("one", frame), run("two", frame, digest="ffffffffffff")]
    assert "Different images (their digests differ): accuracies and scores cannot be compared" in verdict(runs)
    written = [path.name for path in write_comparison(tmp_path, runs)]
    assert written == ["comparison.md", "comparison.html"]


def test_what_differs_is_named(frame: pd.DataFrame) -> None:
    one, two = run("one", frame), run("two", frame)
    assert verdict([one, two]).startswith("**The same search, as far as its settings go.**")
    longer = replace(two, facts=replace(two.facts, training=replace(two.facts.training, epochs=30)))
    assert "not the same search (differing: trained)" in verdict([one, longer])
    further = results(6).assign(epochs=9)
    assert "trained for 3, 9 epochs: their accuracies do not compare" in verdict([one, run("two", further)])


def test_overlap_counts_candidates_that_both_have(frame: pd.DataFrame) -> None:
    names = answer(frame, beaten=0).members  # best first
    fewer = frame[frame["name"] != names[0]]
    table = overlaps([run("one", frame, beaten=2), run("two", fewer, beaten=3)])
    # one keeps the best four of six; two, which lacks the best, the best two of five
    assert table.iloc[0, 1:5].tolist() == [5, 2, 1, 0]
    assert table.iloc[0, 5] == "same network"


def test_candidates_of_different_baselines_are_matched_by_their_factors(frame: pd.DataFrame) -> None:
    one, two = run("one", frame), run("two", frame.assign(digest="x"))
    two = replace(two, facts=replace(two.facts, space=replace(two.facts.space, digest="another")))
    table = overlaps([one, two])
    assert table.iloc[0, 1:].tolist() == [6, 4, 0, 0, "same α, β, γ"]


def test_where_each_recommended_one_stands_elsewhere(frame: pd.DataFrame) -> None:
    names = answer(frame, beaten=0).members
    fewer = frame[frame["name"] != names[0]]
    said = abroad([run("one", frame), run("two", fewer, beaten=3)])["it is"].tolist()
    assert said == ["not a candidate, or without a result", f"{names[1]}, in the set"]


def test_runs_of_one_name_are_told_apart(frame: pd.DataFrame) -> None:
    runs = named([run("same", frame), run("same", frame)])
    assert [one.name for one in runs] == ["same (1)", "same (2)"]
    assert list(overview(runs).columns) == ["what", "same (1)", "same (2)"]


def test_overview_says_what_came_out_and_what_is_open(frame: pd.DataFrame) -> None:
    empty = results(6).iloc[:0]
    known = replace(facts(6, None), name="new")
    table = overview([run("one", frame), Run("new", findings(empty, known), known)]).set_index("what")
    assert table.loc["candidates with a result"].tolist() == ["6 of 6", "0 of 6, not finished"]
    assert table.loc["accuracy", "new"] == ""
    best = frame[frame["name"] == answer(frame).recommended].iloc[0]
    assert table.loc["recommended α/β/γ", "one"] == f"{best['alpha']:g}/{best['beta']:g}/{best['gamma']:g}"
    assert re.match(rf"{100 * best['top1']:.1f} % \(.*; 3 epochs, 1 seed\)", table.loc["accuracy", "one"])


def test_files_hold_the_tables_and_names_are_text(frame: pd.DataFrame, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    written = write_comparison(tmp_path, [run(evil, frame), run("two", frame)])
    assert [path.name for path in written] == [
        "accuracies.png", "accuracies.svg", "accuracies.pdf", "comparison.md", "comparison.html",
    ]  # fmt: skip
    tree = read((tmp_path / "comparison.html").read_text())
    assert len(tree.all("script")) == 1
    assert [one.text for one in tree.all("h2")][:2] == ["Side by side", "Winner sets"]
    assert len(tree.all("table")) == 3
    assert "<script" not in (tmp_path / "comparison.md").read_text()


def test_figure_shows_each_run_s_candidate_and_baseline(frame: pd.DataFrame) -> None:
    (axes,) = comparison_figure([run("one", frame), run("two", frame)]).axes
    assert len(axes.containers) == 4
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one\n3 epochs", "two\n3 epochs"]
