"""Tables in a terminal: columns are left out and named where there is no room, numbers are never cut."""

import pytest
from rich.cells import cell_len
from rich.console import Console

from scalesearch.api.result import SearchResult
from scalesearch.cli import shell
from scalesearch.design.cost import part_table
from scalesearch.reports import tables
from scalesearch.reports.published import derived, released
from scalesearch.reports.render import fitted, terminal
from scalesearch.study.record import read_record
from scalesearch.table import Table, table
from tests.study.runs import golden

NARROW = table(
    "People", ("photo", "name", "distance", "share", "next"),
    [("a folder/with one.jpg", "名前 and words", "0.1234", "61.2 %", "1,234,567"), ("b.jpg", "x", "–", "3 %", "9")],
    optional=("next",),
)  # fmt: skip


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    """The tables that commands print of a search, and of the published family."""
    record = read_record(golden(tmp_path_factory.mktemp("run") / "run"))
    members = SearchResult(record).family().members
    return [
        NARROW, tables.standings(record), tables.candidates(record), tables.enumeration(record.enumeration),
        tables.verification(record.verifications[0]), tables.family(members), tables.family(members, record.trainings),
        tables.released(released()), tables.formula(derived()), part_table(members[1].spec, "b1"),
    ]  # fmt: skip


def lines(shown: Table, width: int) -> list[str]:
    screen = Console(width=width, color_system=None, highlight=False)
    with screen.capture() as capture:
        screen.print(terminal(shown, width))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [160, 100, 80, 60, 40, 24])
def test_numbers_are_whole_and_columns_in_order(printed: list[Table], width: int) -> None:
    for whole in printed:
        shown, left_out = fitted(whole, width)
        said = lines(shown, width)
        assert max(map(cell_len, said)) <= width
        assert "".join(said).count("…") == whole.caption.count("…")
        assert set(shown.columns) | set(left_out) == set(whole.columns)
        assert shown.columns == tuple(column for column in whole.columns if column in shown.columns)
        assert shown.columns[0] == whole.columns[0]
        pieces = [set(line.split()) for line in said]
        for row in shown.texts:
            numbers = {
                word for text, numeric in zip(row, shown.numeric, strict=True) if numeric for word in text.split()
            }
            assert any(numbers <= found for found in pieces), (width, row, said)


def test_a_wide_terminal_shows_every_column(printed: list[Table]) -> None:
    assert all(fitted(whole, 400) == (whole, ()) for whole in printed)


def test_optional_columns_go_first_and_the_last_before_the_others() -> None:
    assert fitted(NARROW, 60)[1] == ("next",)
    assert fitted(NARROW, 35)[1] == ("next", "share")
    assert fitted(NARROW, 3)[0].columns == ("photo",)


def test_what_is_left_out_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Piped, a table is as wide as COLUMNS says, and else 80 characters."""
    wide = table("Wide", ("name", "one", "two"), [("x" * 20, "a" * 24, "1" * 60)], optional=("one",))
    monkeypatch.setenv("COLUMNS", "120")
    shell.show(wide)
    assert "No room" not in capsys.readouterr().out
    monkeypatch.delenv("COLUMNS")
    shell.show(wide)
    assert "No room at 80 characters, shown with a larger COLUMNS: one, two" in capsys.readouterr().out
