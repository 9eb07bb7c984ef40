"""Logs of real TensorBoard, MLflow and Weights & Biases, written locally and read back with their own readers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.reports.figures.mistakes import SHOWN, wrong
from scalesearch.reports.tracking import Destination, LoggedRun, Pixels, Tracking, destinations
from tests.logs import read_mlflow, read_tensorboard, read_wandb

RUN = LoggedRun("c004-seed0", {"depth_ratio": 1.2, "control": "", "wide": True, "seed": 0}, {"data": "cats | dogs"})
PICTURE = np.zeros((8, 12, 3), np.uint8)
PICTURE[2:5, :, 0] = 200
# of SQLAlchemy, by MLflow
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning", "ignore::DeprecationWarning")


def never(text: str) -> None:
    raise AssertionError(text)


def drawn() -> Pixels:
    return PICTURE


def write(tracking: Tracking, until: int, summary: Mapping[str, float] | None) -> None:
    log = tracking.begin(RUN)
    for step in range(1, until + 1):
        log.scalars(step, {"loss/train": 1 / step, "score": step / 10})
    log.image("mistakes", drawn)
    log.end(summary)


Read = Callable[[Path], dict[str, dict[str, Any]]]
KINDS: list[tuple[str, Read]] = [
    ("tensorboard", read_tensorboard), ("mlflow", read_mlflow), ("wandb", read_wandb)
]  # fmt: skip


@pytest.mark.parametrize(("kind", "read"), KINDS, ids=[kind for kind, _ in KINDS])
def test_a_run_is_read_back_and_begun_again_no_point_stands_twice(kind: str, read: Read, tmp_path: Path) -> None:
    pytest.importorskip(kind, reason=f"no {kind} (the extra [{kind}])")
    job = tmp_path / "job"
    write(Tracking([Destination(kind)], job, never), 2, {"top1": 0.5})
    write(Tracking([Destination(kind)], job, never), 3, {"top1": 0.75})
    runs = read(job)
    assert list(runs) == [RUN.name]
    run = runs[RUN.name]
    assert run["points"]["loss/train"] == [(1, 1.0), (2, pytest.approx(0.5)), (3, pytest.approx(1 / 3))]
    assert run["points"]["score"] == [(step, pytest.approx(step / 10)) for step in (1, 2, 3)]
    assert run["final"] == {"top1": pytest.approx(0.75)}
    texts = {name: str(value) for name, value in RUN.parameters.items()}
    expected = texts if kind == "mlflow" else RUN.parameters  # which keeps texts alone
    assert run["parameters"] == expected
    assert np.array_equal(run["image"], PICTURE)


@pytest.mark.parametrize(("kind", "read"), KINDS, ids=[kind for kind, _ in KINDS])
def test_jobs_share_a_place_and_their_runs_stay_apart(kind: str, read: Read, tmp_path: Path) -> None:
    pytest.importorskip(kind, reason=f"no {kind} (the extra [{kind}])")
    for job in ("one/b1-cats", "two/b1-cats"):
        write(Tracking([Destination(kind, str(tmp_path / "logs"))], tmp_path / job, never), 1, None)
    shown = read(tmp_path / "logs" if kind != "mlflow" else tmp_path)
    assert len(shown) == 2 if kind != "mlflow" else len(shown[RUN.name]["ids"]) == 2
    assert all(not run["final"] for run in shown.values())


def test_a_log_that_fails_is_noted_once_and_the_others_go_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard (the extra [tensorboard])")
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []
    broken, whole = Destination("tensorboard", str(tmp_path / "file")), Destination("tensorboard")
    tracking = Tracking([broken, whole], tmp_path, said.append)
    write(tracking, 3, {"top1": 0.5})
    write(tracking, 3, {"top1": 0.5})
    assert len(said) == 1
    assert "tensorboard log is written no further" in said[0]
    assert read_tensorboard(tmp_path)[RUN.name]["final"] == {"top1": 0.5}
    assert tracking


def test_a_picture_that_cannot_be_drawn_ends_the_log_alone(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard (the extra [tensorboard])")
    said: list[str] = []
    tracking = Tracking([Destination("tensorboard")], tmp_path, said.append)
    log = tracking.begin(RUN)
    log.image("mistakes", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    log.end({"top1": 0.5})
    assert len(said) == 1
    assert "division by zero" in said[0]
    assert not tracking


def test_a_disk_that_is_full_ends_the_log_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard (the extra [tensorboard])")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    said: list[str] = []
    tracking = Tracking([Destination("tensorboard")], tmp_path, said.append)
    opened = Path.open

    def full(path: Path, *args: Any) -> Any:
        return opened(Path("/dev/full") if path.suffix == ".scalesearch" else path, *args)

    monkeypatch.setattr(Path, "open", full)
    log = tracking.begin(RUN)
    log.scalars(1, {"loss/train": 1.0})
    log.end({"top1": 0.5})
    assert len(said) == 1
    assert "No space left" in said[0]


def test_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard (the extra [tensorboard])")
    assert destinations(None) == destinations([]) == ()
    assert destinations("tensorboard") == (Destination("tensorboard"),)
    both = (Destination("tensorboard", "a:b"), Destination("tensorboard", "c"))
    assert destinations(["tensorboard:a:b", "tensorboard:c"]) == both
    with pytest.raises(UserError, match=r"no kind of log.*tensorboard, mlflow, wandb"):
        destinations("tensorbord")
    with pytest.raises(UserError, match="named twice"):
        destinations(["tensorboard", "tensorboard"])
    # a folder that a log was written to is no package
    monkeypatch.setattr("scalesearch.reports.tracking.PACKAGES", {"wandb": "wandb_elsewhere", "mlflow": "nothing_such"})
    (tmp_path / "wandb_elsewhere").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("wandb", "mlflow"):
        with pytest.raises(UserError, match=rf"pip install 'scalesearch\[{kind}\]'"):
            destinations(kind)


def test_wrong_answers_are_spread_over_all() -> None:
    labels = np.zeros(1000, np.int64)
    guesses = np.ones(1000, np.int64)
    places = wrong(labels, guesses)
    assert len(places) == SHOWN
    assert (places[0], places[-1], sorted(set(places))) == (0, 999, places)
    assert wrong(labels, labels) == []
