"""A small campaign over every kind of file, and proof that the campaign would notice."""

from pathlib import Path

import pytest

from tests.stress import fuzz
from tests.stress.targets import PLANTED, TARGETS

INPUTS = 6  # a target; make stress tries thousands


@pytest.mark.parametrize("name", TARGETS)
def test_bad_files_end_in_success_or_one_clear_error(name: str, tmp_path: Path) -> None:
    """In this process, without limits: the campaign has them."""
    originals, feed, path = fuzz.accepting(TARGETS[name], tmp_path)
    for number in range(INPUTS):
        path.write_bytes(fuzz.content(TARGETS, name, originals, 0, number))
        assert path.read_bytes() == fuzz.content(TARGETS, name, originals, 0, number)
        kind, message = fuzz.judge(feed, path, 0)
        assert kind != "finding", f"input {number}: {message}"


def test_a_campaign_counts_what_its_children_did(tmp_path: Path) -> None:
    name = "image png, chunks"
    tally = fuzz.campaign(60, 0, {name: TARGETS[name]}, tmp_path)[name]
    assert (tally.inputs, tally.accepted + tally.refused, tally.findings) == (60, 60, [])
    assert min(tally.accepted, tally.refused) > 0


@pytest.mark.parametrize(
    ("name", "says"),
    [("key error", "KeyError: 'planted'"), ("hang", "more than"), ("memory", "MemoryError"), ("crash", "died (-11)")],
)
def test_planted_defects_are_found(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_FUZZ_SECONDS", "0.3")
    tally = fuzz.campaign(1, 7, {name: PLANTED[name]}, tmp_path)[name]
    assert [finding.number for finding in tally.findings] == [0]
    assert says in tally.findings[0].what
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"planted"]


@pytest.mark.slow
def test_a_hang_where_no_alarm_rings_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SILENT_SECONDS", 2.0)
    tally = fuzz.campaign(1, 7, {"hang in C": PLANTED["hang in C"]}, tmp_path)["hang in C"]
    assert "no sign of life" in tally.findings[0].what
