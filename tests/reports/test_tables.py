import re
import subprocess
import sys

import pytest
from rich.console import Console

from scalesearch.design.candidates import DroppedTriple, enumerate_candidates
from scalesearch.design.cost import part_table
from scalesearch.design.family import family
from scalesearch.design.scaling import PAPER, Coefficients
from scalesearch.design.space import Grid, load_space
from scalesearch.reports import render, tables
from scalesearch.reports.published import derived, released
from scalesearch.table import Table, table
from scalesearch.units import show_percent
from tests.reports.synthetic import answer, compared, early, members, no_answer, record, rows, trained, verification


def column(shown: Table, name: str) -> list[str]:
    place = shown.columns.index(name)
    return [row[place] for row in shown.texts]


def test_markdown_table_is_padded_aligned_and_keeps_its_columns() -> None:
    shown = table("", ("name", "share"), [("a|b", "1.5 %"), ("line\nbreak", "12.5 %")])
    assert render.markdown(shown).splitlines() == [
        "| name       |  share |",
        "| ---------- | -----: |",
        "| a\\|b       |  1.5 % |",
        "| line break | 12.5 % |",
    ]


def test_an_empty_table_is_its_heading() -> None:
    assert len(render.markdown(table("", ("a", "b"), [])).splitlines()) == 2


def test_the_best_ten_and_the_baseline() -> None:
    run = record(rows(25))
    shown = tables.candidates(run, 10)
    best = next(one for one in run.summaries if not one.is_baseline)
    assert len(shown.rows) == 11
    assert column(shown, "candidate")[0] == best.row.name
    assert column(shown, "candidate")[-1] == "baseline"
    assert column(shown, "score")[0] == f"{100 * best.score:.2f}"
    assert column(shown, "accuracy")[0] == show_percent(best.accuracy.value)


def test_further_members_of_the_set_only_where_asked() -> None:
    trainings = rows(25)
    run = record(trainings, answer(trainings, outside=5))
    assert len(tables.candidates(run, 10).rows) == 11
    assert len(tables.candidates(run, 10, members=True).rows) == 21
    assert len(tables.candidates(run).rows) == 26


def test_a_terminal_of_80_characters_shows_whole_columns() -> None:
    trainings = rows(12, failed=(3,))
    run = record((*early(trainings), *trainings), answer(trainings))
    shown = [tables.candidates(run, 12), tables.standings(run), tables.enumeration(run.enumeration)]
    shown.append(tables.verification(verification(compared("c001", "recommended"), compared("c002", "outside"))))
    for one in shown:
        console = Console(width=80, no_color=True)
        with console.capture() as captured:
            console.print(render.terminal(render.fitted(one, 80)[0], 80))
        assert "…" not in captured.get()
    assert "all triples α/β/γ" in render.fitted(shown[0], 300)[0].columns


def wide_tables() -> list[Table]:
    """Tables with more columns than a terminal of 80 characters has room for, or nearly."""
    space = load_space("efficientnet_b0")
    spanned = family(space.baseline, PAPER, "budget")
    listed = enumerate_candidates(load_space("mbconv_small").baseline, Grid(0.1, 0.1), "budget", 0.05)
    return [
        part_table(spanned[6].spec, "b6"), part_table(load_space("resnet50").baseline, "resnet50"),
        tables.family(spanned), tables.released(released()), tables.formula(derived()), tables.enumeration(listed),
    ]  # fmt: skip


def test_no_number_is_cut_at_80_characters() -> None:
    for wide in wide_tables():
        fitted, _ = render.fitted(wide, 80)
        console = Console(width=80, color_system=None)
        with console.capture() as captured:
            console.print(render.terminal(fitted, 80))
        lines = captured.get().splitlines()
        assert max(map(len, lines)) <= 80
        assert "…" not in captured.get().replace("B0…B7", "").replace("0…7", ""), wide.caption
        for place, numeric in enumerate(fitted.numeric):
            for row in fitted.texts if numeric else ():
                assert any(row[place] in line for line in lines), (wide.caption, row[place])


def test_markup_in_a_cell_is_text_in_a_terminal() -> None:
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(render.terminal(table("t", ("a",), [("[red]x[/]",)]), 80))
    assert "[red]x[/]" in captured.get()


def test_a_notebook_shows_the_standings_with_notes() -> None:
    trainings = rows(4)
    html = render.notebook(tables.standings(record(trainings, answer(trainings))), ["**Bought:** <b>"])
    assert html.count("<tr>") == 5
    assert "<p>Bought: &lt;b&gt;</p>" in html
    assert re.search(r"\d\d\.\d\d–\d\d\.\d\d", html)


def test_a_standing_has_what_was_trained_and_what_that_comes_to() -> None:
    trainings = rows(5, seeds=2)
    run = record(trainings, answer(trainings))
    assert run.answer is not None
    first, shown = run.answer.standings[0], tables.standings(run)
    row = next(row for row in trainings if row.name == first.name)
    assert first.score is not None
    texts = dict(zip(shown.columns, shown.texts[0], strict=True))
    assert texts == {
        "name": row.name, "control": row.control, "depth ×": f"{row.depth_ratio:.2f}",
        "width ×": f"{row.width_ratio:.2f}", "px": str(row.proxy_resolution), "cost ×": f"{row.proxy_ratio:.3f}",
        "epochs": "3", "seeds": "2", "accuracy": show_percent(run.summaries[0].accuracy.value),
        "expected": f"{100 * first.score.value:.2f}",
        "95 %": f"{100 * first.score.low:.2f}–{100 * first.score.high:.2f}", "best": "50 %", "set": "in", "test": "in",
    }  # fmt: skip
    assert column(shown, "set") == ["in", "in", "in", "out", "out"]
    assert len(tables.standings(run, 2).rows) == 2
    undecided = tables.standings(record(trainings, no_answer(trainings, "why")))
    assert set(column(undecided, "expected") + column(undecided, "best") + column(undecided, "set")) == {"–"}


def test_family_shows_accuracy_only_where_somebody_measured_it() -> None:
    family = members()
    assert "test accuracy" not in tables.family(family).columns
    shown = tables.family(family, trained(family, 3))
    assert column(shown, "test accuracy") == ["88.0 %", "89.1 %", "90.0 %", "", "", "", ""]
    assert column(shown, "FLOPs")[0] == "386M"
    other_size = tables.family(family[:1], trained(family[1:], 1))
    assert "test accuracy" not in other_size.columns


def test_drop_reasons_are_counted_most_first() -> None:
    c = Coefficients(1.0, 1.0, 1.4)
    shown = tables.dropped([DroppedTriple(c, 1.0, "b"), DroppedTriple(c, 2.5, "a"), DroppedTriple(c, 2.75, "a")])
    assert shown.texts == [["a", "2", "2.50–2.75"], ["b", "1", "1.00"]]


def test_failures_name_candidate_seed_and_reason() -> None:
    assert tables.failures(rows(3, seeds=2, failed=(1,))).texts == [
        ["c001", "candidate", "0", "loss is not finite | epoch 2"],
        ["c001", "candidate", "1", "loss is not finite | epoch 2"],
    ]


def test_the_public_table_has_a_row_a_network() -> None:
    trainings = rows(5, seeds=2)
    run = record(trainings, answer(trainings))
    frame = tables.summary_frame(run)
    assert list(frame["name"]) == [one.row.name for one in run.summaries]
    assert set(frame.loc[frame["member"], "name"]) == {standing.name for standing in run.answer.members}  # type: ignore[union-attr]
    assert {"accuracy", "low", "high", "seed_spread", "score", "pareto", "proxy_ratio", "expected", "best"} <= set(
        frame.columns
    )
    assert (frame["low"] < frame["accuracy"]).all()
    assert frame["best"].sum() == pytest.approx(1)
    assert list(frame.loc[frame["expected"].isna(), "name"]) == ["baseline"]


def test_tables_and_words_are_at_hand_without_heavy_libraries() -> None:
    heavy = ("torch", "torchvision", "pandas", "matplotlib", "rich", "jinja2")
    code = "import sys; from scalesearch.reports import render, tables, words; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(heavy) & set(loaded)
