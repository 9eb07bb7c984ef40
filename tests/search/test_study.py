from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import UserError
from scalesearch.search.study import claim, key, open_study, record, release, release_unfinished, rows


def line(candidate: int, seed: int = 0, score: float | None = 0.5) -> dict[str, Any]:
    return {
        "candidate": candidate,
        "seed": seed,
        "epochs": 2,
        "score": score,
        "status": "failed" if score is None else "done",
    }


def test_claim_record_and_read_back(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for candidate, score in ((2, 0.7), (-1, 0.6), (0, None)):
        record(study, claim(study, (candidate, 0, 2), 1.2, 1.1, 1.15), line(candidate, 0, score))
    again = open_study(tmp_path)  # another process would read the same
    assert [row["candidate"] for row in rows(again)] == [-1, 0, 2]
    assert {key(row) for row in rows(again)} == {(-1, 0, 2), (0, 0, 2), (2, 0, 2)}
    assert again.best_value == 0.7
    assert {trial.state.name for trial in again.trials} == {"COMPLETE", "FAIL"}


def test_the_queue_never_invents_a_point(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    trial = claim(study, (4, 3, 2), 1.3, 1.1, 1.0)
    assert trial.params == {"candidate": 4, "seed": 3, "epochs": 2, "alpha": 1.3, "beta": 1.1, "gamma": 1.0}


def test_interrupted_trials_are_run_again(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    claim(study, (0, 0, 2), 1.0, 1.0, 1.4)
    kept = claim(study, (1, 0, 2), 1.0, 1.4, 1.0)
    record(study, kept, line(1))
    killed = open_study(tmp_path)
    assert release_unfinished(killed) == 1
    assert [key(row) for row in rows(killed)] == [(1, 0, 2)]
    release(killed, [claim(killed, (0, 0, 2), 1.0, 1.0, 1.4)])
    assert [key(row) for row in rows(killed)] == [(1, 0, 2)]


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database, just some bytes that stand here instead of one" * 20)
    with pytest.raises(UserError, match=r"study\.db"):
        open_study(tmp_path)


def test_odd_folder_names_stay_folders(tmp_path: Path) -> None:
    for name in ("what?", "a%41b", "ümlaut & space#"):
        (tmp_path / name).mkdir()
        open_study(tmp_path / name)
        assert (tmp_path / name / "study.db").is_file()
