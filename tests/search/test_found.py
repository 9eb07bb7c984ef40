from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalesearch.design.scaling import PAPER
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.search.found import FILE, Found, best_rows, read_found, write_found

BASELINE = load_space("mbconv_small").baseline
FOUND = Found(PAPER, "budget", BASELINE, "mbconv_small", "glyphs", 3e6, "c004", 0.71, 0.74, 20, 21)


def row(candidate: int, score: float, seed: int = 0, macs: int = 10, **more: Any) -> dict[str, Any]:
    base = {"candidate": candidate, "score": score, "seed": seed, "macs": macs, "role": "candidate", "status": "done"}
    return base | more


def winner(rows: list[dict[str, Any]]) -> int | None:
    best = best_rows(rows)
    return best[0]["candidate"] if best else None


def test_highest_mean_score_wins() -> None:
    assert winner([row(0, 0.5), row(1, 0.6), row(2, 0.55)]) == 1
    assert winner([row(0, 0.5), row(0, 0.7, 1), row(1, 0.65), row(1, 0.5, 1)]) == 0


def test_baseline_and_failed_trials_cannot_win() -> None:
    assert winner([row(-1, 0.9, role="baseline"), row(0, 0.9, status="failed"), row(1, 0.2)]) == 1
    assert winner([row(-1, 0.9, role="baseline")]) is None
    assert winner([]) is None


def test_ties_go_to_the_cheaper_then_the_earlier() -> None:
    assert winner([row(0, 0.5, macs=12), row(1, 0.5, macs=11)]) == 1
    assert winner([row(3, 0.5), row(2, 0.5)]) == 2


def test_only_seeds_that_all_have_finished_count() -> None:
    assert winner([row(0, 0.1), row(0, 0.1, 1), row(1, 0.9)]) == 1
    assert winner([row(0, 0.6), row(0, 0.1, 1), row(1, 0.5)]) == 0
    assert winner([row(0, 0.6), row(1, 0.7, 1)]) == 1  # none shared: each by its own


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
