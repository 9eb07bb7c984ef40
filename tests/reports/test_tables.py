import pandas as pd
import pytest

from scalesearch.design.candidates import DroppedTriple
from scalesearch.design.scaling import Coefficients
from scalesearch.reports.statistics import summarise
from scalesearch.reports.tables import (
    count_text,
    drop_reasons,
    failures,
    family_table,
    markdown_table,
    percent,
    top_candidates,
)
from tests.reports.synthetic import family, results


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (385_814_752, "386 M"), (1_827_141_392, "1.83 G"), (37_745_884_192, "37.7 G"), (5_288_548, "5.29 M"),
        (999_499_999, "999 M"), (999_600_000, "1.00 G"), (9_999_000, "10.0 M"), (950, "950"), (0, "0"),
    ],
)  # fmt: skip
def test_counts_have_three_digits(number: int, text: str) -> None:
    assert count_text(number) == text


def test_percent_rounds_as_people_do() -> None:
    assert percent(1259 / 2000) == "63.0 %"
    assert percent(0.00704, 2) == "0.70 %"


def test_markdown_table_is_padded_aligned_and_keeps_its_columns() -> None:
    frame = pd.DataFrame({"name": ["a|b", "line\nbreak"], "share": ["1.5 %", "12.5 %"]})
    lines = markdown_table(frame).splitlines()
    assert lines == [
        "| name       |  share |",
        "| ---------- | -----: |",
        "| a\\|b       |  1.5 % |",
        "| line break | 12.5 % |",
    ]


def test_an_empty_table_is_its_heading() -> None:
    assert len(markdown_table(pd.DataFrame(columns=["a", "b"])).splitlines()) == 2


def test_top_candidates_are_the_best_ten_and_the_baseline() -> None:
    summary = summarise(results(25))
    table = top_candidates(summary)
    assert list(table["#"]) == [*map(str, range(1, 11)), "base"]
    best = summary[summary["role"] == "candidate"].iloc[0]
    assert table["candidate"].iloc[0] == best["name"]
    assert table["score"].iloc[0] == f"{best['score']:.4f}"
    assert table["accuracy"].iloc[0] == f"{100 * best['correct'] / best['images']:.1f} %"


def test_family_shows_accuracy_only_where_somebody_measured_it() -> None:
    assert "test accuracy" not in family_table(family())
    table = family_table(family(tested=3))
    assert list(table["test accuracy"]) == ["88.0 %", "89.1 %", "90.0 %", "", "", "", ""]
    assert table["FLOPs"].iloc[0] == "386 M"


def test_drop_reasons_are_counted_most_first() -> None:
    c = Coefficients(1.0, 1.0, 1.4)
    table = drop_reasons([DroppedTriple(c, 1.0, "b"), DroppedTriple(c, 2.5, "a"), DroppedTriple(c, 2.75, "a")])
    assert table.to_numpy().tolist() == [["a", 2, "2.50–2.75"], ["b", 1, "1.00"]]


def test_failures_name_candidate_seed_and_reason() -> None:
    table = failures(results(3, seeds=2, failed=(1,)))
    assert table.to_numpy().tolist() == [
        ["c001", "candidate", 0, "loss is not finite | epoch 2"],
        ["c001", "candidate", 1, "loss is not finite | epoch 2"],
    ]
