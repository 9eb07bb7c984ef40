from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.design.scaling import PAPER
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.study.found import FILE, Found, read_found, write_found

BASELINE = load_space("mbconv_small").baseline
FOUND = Found(PAPER, "budget", BASELINE, "mbconv_small", "glyphs", 3e6, "c004", 0.71, 0.74, 20, 21)


def test_round_trip(tmp_path: Path) -> None:
    write_found(tmp_path, FOUND)
    assert read_found(tmp_path) == FOUND
    assert not FOUND.complete
    assert replace(FOUND, done=21).complete


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1}', '{"format": 1, "coefficients": {"x": 1}}']
)
def test_damaged_files(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UserError, match=FILE):
        read_found(tmp_path)


def test_no_search_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scalesearch grid"):
        read_found(tmp_path)
