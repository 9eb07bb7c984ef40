from pathlib import Path

import pytest

from scalesearch.running.optuna_view import Window, open_study
from scalesearch.running.storage import Storage, storage_url
from scalesearch.study.row import Row
from tests.rows import make_row
from tests.running.conftest import OpenStorage


def line(candidate: int, score: float | None = 0.5) -> Row:
    if score is None:
        return make_row(candidate, reason="no luck", seconds=60.0)
    return make_row(candidate, score=score, seconds=60.0)


def never(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_each_training_is_shown_once(open_storage: OpenStorage, request: pytest.FixtureRequest) -> None:
    name, rows = request.node.name, [line(2, 0.7), line(-1, 0.6), line(0, None)]
    Window(open_storage(), name, never).show(rows[:2])
    window = Window(open_storage(), name, never)  # another coordinator
    window.show(rows)
    window.show(rows)
    study = open_study(open_storage(), name)
    assert [trial.user_attrs["row"] for trial in study.trials] == [row.to_dict() for row in rows]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert study.best_value == 0.7
    assert study.best_trial.params == {
        "candidate": 2, "seed": 0, "epochs": 2, "depth_ratio": 1.2, "width_ratio": 1.1, "resolution_ratio": 1.15
    }  # fmt: skip
    assert study.best_trial.duration is not None
    assert study.best_trial.duration.total_seconds() == pytest.approx(60, abs=5)


def test_a_study_that_cannot_be_written_is_noted_once(tmp_path: Path) -> None:
    storage, said = Storage(storage_url(tmp_path / "gone", None)), list[str]()
    window = Window(storage, "x", said.append)
    window.show([line(0)])
    window.show([line(0)])
    assert len(said) == 1
    assert "the results are kept" in said[0]
