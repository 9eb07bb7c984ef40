"""Runs that released versions wrote are read, continued and reported by this one, or refused with what to do."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from scalesearch.api.report import RELOAD_SECONDS
from scalesearch.reports.edition import Edition
from scalesearch.study.answer import read_answer, read_recommendation
from scalesearch.study.record import FORMAT, Record
from tests.cli.conftest import Cli
from tests.golden.make_run import SEARCH

RUNS = sorted(path for path in (Path(__file__).parents[1] / "golden").glob("run-*"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def near(value: Any) -> Any:
    """Intervals are sums of many floats, whose last digits depend on how this processor's NumPy adds them up."""
    if isinstance(value, dict):
        return {name: near(one) for name, one in value.items()}
    if isinstance(value, list):
        return [near(one) for one in value]
    return pytest.approx(value, rel=1e-6, abs=1e-9) if isinstance(value, float) else value


@pytest.mark.parametrize("kept", RUNS, ids=lambda path: path.name)
def test_a_run_of_a_released_version(cli: Cli, tmp_path: Path, kept: Path) -> None:
    shutil.copytree(kept, tmp_path / "run")
    values = read(kept / "run.json")
    if values["format"] != FORMAT:
        refused = cli("report", "run")
        assert refused.code == 2
        assert "Read it with scalesearch" in refused.err
        return
    again = cli(*SEARCH, "--run", "run", "--json")
    assert again.code == 0, again.err
    before = read(kept / "rows.json")["rows"]
    assert json.loads(again.out)["rows"] == before  # nothing is trained again, no number changed
    ours = read(tmp_path / "run" / "run.json")
    assert len(ours["continued"]) == 1
    assert (ours["plan_digest"], ours["plan"]) == (values["plan_digest"], values["plan"])
    for reader in (read_answer, read_recommendation):  # files may have fields that younger versions added
        found = (asdict(reader(folder)) for folder in (tmp_path / "run", kept))  # type: ignore[arg-type]
        now, then = (json.loads(json.dumps(values)) for values in found)
        assert now == near(then)
    assert cli("report", "run").code == 0
    assert cli("family", "--run", "run").code == 0
    other = cli(*SEARCH, "--images", "150", "--run", "run")
    assert other.code == 2
    assert "another search" in other.err


def test_there_is_one_of_this_version() -> None:
    assert any(read(path / "run.json")["format"] == FORMAT for path in RUNS)


def test_a_watched_report_ends_with_a_page_that_stays(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editions = list[Edition]()

    def wrote(folder: Path, record: Record, edition: Edition) -> tuple[Path, ...]:
        editions.append(edition)
        return (folder / "report.html",)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    shutil.copytree(RUNS[0], tmp_path / "run")
    monkeypatch.setattr("scalesearch.reports.artefacts.write_report", wrote)
    monkeypatch.setattr("scalesearch.api.report.time.sleep", interrupted)
    ended = cli("report", "run", "--watch")
    assert ended.code == 0, ended.err
    assert "Open run/report/report.html; Ctrl-C ends" in ended.out
    assert "Read run/report/report.html" in ended.out
    assert [edition.reload_seconds for edition in editions] == [RELOAD_SECONDS, None]
