"""A small campaign of files that are well-formed and wrong; the full one is ``make stress``."""

from pathlib import Path

import pytest

from tests.stress import fuzz
from tests.stress.meaning import MEANING

INPUTS = 6  # a target; make stress tries thousands
SAMPLE = ("predict", "evaluate", "resume", "faces identify", "faces list", "family --space")


@pytest.mark.parametrize("name", SAMPLE)
def test_wrong_files_are_refused_or_do_not_matter(name: str, tmp_path: Path) -> None:
    originals, feed, path = fuzz.accepting(MEANING[f"meaning, {name}"], tmp_path)
    refused = 0
    for number in range(INPUTS):
        path.write_bytes(fuzz.content(MEANING, f"meaning, {name}", originals, 0, number))
        kind, message = fuzz.judge(feed, path, 0)
        assert kind != "finding", f"input {number}: {message}"
        refused += kind == "refused"
    assert refused > INPUTS / 2


def test_a_silent_wrong_result_would_be_found(tmp_path: Path) -> None:
    """Another network's weights are right for any reader; the oracle still sees that they come to other numbers."""
    (original,), feed, path = fuzz.accepting(MEANING["meaning, predict"], tmp_path)
    path.write_bytes(original[:-4] + b"\x00\x00\xc8\x42")  # the last number is 100
    kind, message = fuzz.judge(feed, path, 0)
    assert kind == "finding"
    assert "another output than with the right file" in message
