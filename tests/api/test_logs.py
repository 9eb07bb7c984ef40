"""Searches and fine-tunings that write logs: what stands in them, and once, also after interruptions."""

from pathlib import Path

import pytest
import torch

import scalesearch
from scalesearch.api import finetune, search
from scalesearch.api.options import FinetuneOptions, SearchOptions
from scalesearch.study.outcomes import losses, probabilities
from scalesearch.study.record import read_record
from scalesearch.study.row import TrialResult
from scalesearch.training import checkpoint
from scalesearch.training.history import EpochRecord, Watcher
from tests.conftest import MakeFolder
from tests.logs import read_mlflow, read_tensorboard, read_wandb

READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}
# of SQLAlchemy, by MLflow
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning", "ignore::DeprecationWarning")


@pytest.fixture
def kinds() -> list[str]:
    for kind in READERS:
        pytest.importorskip(kind, reason=f"no {kind} (the extra [{kind}])")
    return list(READERS)


def test_a_search_in_two_calls_has_every_training_once(
    kinds: list[str], image_folder: MakeFolder, tmp_path: Path
) -> None:
    folder, heard = tmp_path / "run", list[str]()
    asked = {
        "data": image_folder(images=60, parts=("train", "test")), "space": "mbconv_small", "target_flops": "1.5M",
        "step": 0.5, "tolerance": 0.3, "epochs": 4, "batch_size": 8, "lr": 0.01, "jobs": 1, "run": folder,
        "further": 0, "tell": heard.append, "log": kinds,
    }  # fmt: skip
    scalesearch.grid(**asked, trials=2)  # type: ignore[arg-type]
    result = scalesearch.grid(**asked)  # type: ignore[arg-type]
    assert not [line for line in heard if "WARNING" in line]
    trainings = {f"{row.name}-seed{row.seed}": row for row in result.rows if row.epochs == row.full_epochs}
    for kind, read in READERS.items():
        runs = read(folder)
        assert trainings.keys() | {"search"} == runs.keys(), kind
        for name, row in trainings.items():
            points = runs[name]["points"]
            assert [step for step, _ in points["loss/train"]] == [1, 2, 3, 4]
            assert points["loss/train"][-1][1] == pytest.approx(row.train_loss)
            assert dict(points["score"])[4] == pytest.approx(row.score)
            assert runs[name]["final"]["top1"] == pytest.approx(row.top1)
            assert float(runs[name]["parameters"]["depth_ratio"]) == pytest.approx(row.depth_ratio)
        assert runs["search"]["final"]["alpha"] == pytest.approx(result.coefficients.alpha)
        assert runs["search"]["final"]["trainings"] == result.recommendation.done
        assert runs["search"]["image"].ndim == 3
    row = result.rows[0]  # the curve is a part of the run's own record
    content = (folder / "predictions" / f"{row.file}.npz").read_bytes()
    assert losses(TrialResult(row, content))[-1] == row.train_loss
    stated = probabilities(TrialResult(row, content))
    assert stated is not None
    assert len(stated) == row.images
    assert (stated >= 1 / result.record.provenance.classes - 1e-3).all()  # of the likeliest class
    assert read_record(folder).rows == tuple(result.rows)


def test_a_log_changes_no_number_of_a_search(image_folder: MakeFolder, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard (the extra [tensorboard])")
    images = image_folder()
    plans = [
        search.prepare(SearchOptions(data=images, space="mbconv_small", target_flops="1.5M", log=log)).plan
        for log in (None, "tensorboard")
    ]
    assert plans[0] == plans[1]


def test_a_finetuning_that_goes_on_has_every_epoch_once(
    kinds: list[str], image_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "FIRST_SECONDS", 0.0)  # of epochs that are over, some stand in the checkpoint
    asked = FinetuneOptions(
        "mbconv_small", image_folder(parts=("train", "test")), resolution=16, epochs=4, batch_size=8, device="cpu",
        out=tmp_path / "b0", log=kinds,
    )  # fmt: skip
    said: list[str] = []

    def stop(record: EpochRecord) -> None:
        if record.epoch == 1:
            raise KeyboardInterrupt

    def run(watcher: Watcher) -> finetune.FinetuneResult:
        return finetune.run(finetune.prepare(asked), torch.device("cpu"), watcher)

    with pytest.raises(KeyboardInterrupt):
        run(Watcher(epoch=stop, note=said.append))
    for kind, read in READERS.items():
        left = read(asked.out)["b0"]  # type: ignore[arg-type]
        assert ([step for step, _ in left["points"]["loss/train"]], left["final"]) == ([1, 2], {}), kind
    result = run(Watcher(note=said.append))
    assert any("Continues from the checkpoint" in line for line in said)
    assert not any("WARNING: the" in line for line in said)
    history, test = result.metrics["history"], result.metrics["test"]
    for kind, read in READERS.items():
        runs = read(asked.out)  # type: ignore[arg-type]
        assert list(runs) == ["b0"], kind
        points = runs["b0"]["points"]
        names = {"loss/train": "train_loss", "learning_rate": "lr"}
        for name, field in names.items():
            assert points[name] == [(one["epoch"] + 1, pytest.approx(one[field])) for one in history], kind
        judged = [(one["epoch"] + 1, pytest.approx(one["metrics"]["top1"])) for one in history]
        assert points["accuracy/validation"] == judged
        assert runs["b0"]["final"]["test_top1"] == pytest.approx(test["top1"])
        assert str(runs["b0"]["parameters"]["batch_size"]).startswith("8")
        assert runs["b0"]["image"].ndim == 3
    assert read_mlflow(tmp_path)["b0"]["status"] == "FINISHED"


def test_a_log_that_cannot_be_written_ends_nothing(image_folder: MakeFolder, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="no tensorboard (the extra [tensorboard])")
    (tmp_path / "file").write_text("no folder")
    heard: list[str] = []
    model = scalesearch.finetune(
        "mbconv_small", image_folder(parts=("train", "test")), resolution=16, epochs=2, batch_size=8, device="cpu",
        out=tmp_path / "b0", log=f"tensorboard:{tmp_path / 'file'}", tell=heard.append,
    )  # fmt: skip
    assert model.file.exists()
    assert len([line for line in heard if "log is written no further" in line]) == 1


def test_logs_are_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    for work in (scalesearch.grid, scalesearch.finetune):
        with pytest.raises(scalesearch.UserError, match="no kind of log"):
            work(data=tmp_path / "nowhere", log="tensorbord")  # type: ignore[operator]
