"""The record of a run, read from the run that version 0.1.0 left, as it is and with one value changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import UserError
from scalesearch.study.record import read_record

GOLDEN = Path(__file__).parents[1] / "golden" / "run-0.1.0"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN, tmp_path / "run")
    return tmp_path / "run"


def changed(folder: Path, name: str, change: Change) -> None:
    values = json.loads((folder / name).read_text())
    change(values)
    (folder / name).write_text(json.dumps(values))


def test_a_run_of_an_earlier_version_is_read_whole() -> None:
    record = read_record(GOLDEN)
    assert len(record.rows) == len(record.results) == 12
    assert record.complete
    assert record.leader is not None
    assert record.answer is not None
    assert record.leader.row.name == record.answer.recommended == "c002"
    assert [one.row.name for one in record.summaries] == ["baseline", "c002", "c000", "c001"]
    assert len(record.rungs) == 8
    assert record.commands[0].startswith("scalesearch grid")


def recommend(values: dict[str, Any], name: str) -> None:
    values["recommended"] = name


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("rows.json", lambda v: v["rows"][0].update(status="finished"), r"rows\.json"),
        ("rows.json", lambda v: v["rows"][0].update(correct=24), r"rows\.json.*predictions"),
        ("rows.json", lambda v: v["rows"][0].update(candidate=7), r"rows\.json"),
        ("rows.json", lambda v: v["rows"].append(v["rows"][0]), "twice"),
        ("winners.json", lambda v: recommend(v, "c009"), r"winners\.json: recommended"),
        ("winners.json", lambda v: v["standings"][1].update(name="c009"), r"winners\.json: standings"),
        ("winners.json", lambda v: v["standings"][0].update(score=0.02), r"winners\.json: c002"),
        ("winners.json", lambda v: v["comparisons"][0].update(control="c001"), r"winners\.json: comparisons"),
        ("winners.json", lambda v: v["standings"][0].update(status="inside"), r"winners\.json"),
        ("coefficients.json", lambda v: v["coefficients"].update(alpha=3), r"coefficients\.json: coefficients"),
        ("coefficients.json", lambda v: v.update(winner="c000"), r"coefficients\.json: winner"),
        ("run.json", lambda v: v.update(plan_digest="0"), r"run\.json: plan_digest"),
        ("run.json", lambda v: v.update(format=99), "Update scalesearch"),
    ],
)
def test_files_that_contradict_one_another_are_refused(folder: Path, name: str, change: Change, told: str) -> None:
    changed(folder, name, change)
    with pytest.raises(UserError, match=told):
        read_record(folder)


def test_predictions_that_are_gone_are_named(folder: Path) -> None:
    (folder / "predictions" / "c000-seed0-e1.npz").unlink()
    with pytest.raises(UserError, match="c000-seed0-e1"):
        read_record(folder)
