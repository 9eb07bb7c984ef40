"""Training on synthetic people: learns, continues bit for bit, keeps what only training needs out of the file."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from scalesearch.errors import RunInterruptedError, UserError
from scalesearch.faces.gallery import add, empty_gallery, search
from scalesearch.faces.model import embed, load_model
from scalesearch.faces.objective import ObjectiveSettings
from scalesearch.faces.photos import Crowd, Framing, choose, list_people, read_crowd
from scalesearch.faces.protocols import all_pairs, auc
from scalesearch.faces.train import (
    FROZEN_FILE,
    TRAINED_FILE,
    FaceRecipe,
    Keep,
    begin,
    body_base,
    divide,
    network_base,
    train,
)
from scalesearch.study.config import TrainConfig
from scalesearch.training.history import SILENT, EpochRecord, Watcher, nothing
from scalesearch.training.job import MODEL_FILE
from scalesearch.training.loop import NonFiniteLoss
from tests.faces.conftest import MakePeople, write_people
from tests.faces.toys import CPU, DIMENSIONS, STATISTICS, tiny_embedder, tiny_spec

TINY = network_base(tiny_spec(), None)


def recipe(epochs: int = 3, loss: str = "triplet", mining: str = "all", **settings: object) -> FaceRecipe:
    config = TrainConfig(epochs=epochs, batch_size=18, lr=3e-3, label_smoothing=0.0, warmup_epochs=0.5, **settings)  # type: ignore[arg-type]
    objective = ObjectiveSettings(loss=loss, mining=mining)  # type: ignore[arg-type]
    return FaceRecipe(config, objective, people=6, photos=3, dimensions=DIMENSIONS)


def run(
    crowd: Crowd, folder: Path, given: FaceRecipe, on_epoch: Callable[[EpochRecord], None] = nothing,
    strangers: Crowd | None = None, keep: Keep = "better",
) -> dict[str, Any]:  # fmt: skip
    parts = divide(crowd, 0.0, strangers=strangers)
    start = begin(TINY, parts, given, folder, CPU, crop=False)
    watcher = Watcher(epoch=on_epoch)
    return train(start, parts, given, folder, CPU, watcher, keep=keep, provenance={})


def read(folder: Path) -> Crowd:
    return read_crowd(list_people(folder, "--data"), Framing(24), option="--data")


@pytest.fixture
def crowd(make_people: MakePeople) -> Crowd:
    return read(make_people(people=8, photos=6))


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_training_brings_people_apart_whom_it_never_saw(make_people: MakePeople, tmp_path: Path) -> None:
    known, new = read(make_people("known", people=30)), read(make_people("others", people=8, photos=5, first=100))
    before = auc(all_pairs(embed(tiny_embedder(), new.pixels, STATISTICS, CPU), new.labels))
    run(known, tmp_path / "m", recipe(epochs=15))
    model = load_model(tmp_path / "m" / TRAINED_FILE)
    after = auc(all_pairs(model.vectors(new.pixels, CPU), new.labels))
    assert before < 0.8
    assert after > 0.85


@pytest.mark.parametrize("loss", ["triplet", "arcface"])
def test_an_interrupted_training_continues_bit_for_bit(crowd: Crowd, tmp_path: Path, loss: str) -> None:
    given = recipe(loss=loss, mining="batch-hard")
    run(crowd, tmp_path / "whole", given)

    def stop(record: EpochRecord) -> None:
        if record.epoch == 0:
            raise RunInterruptedError

    with pytest.raises(RunInterruptedError):
        run(crowd, tmp_path / "parts", given, stop)
    run(crowd, tmp_path / "parts", given)
    whole, parts = (tensors(tmp_path / name / TRAINED_FILE) for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_the_objective_s_weights_are_trained_but_not_kept(crowd: Crowd, tmp_path: Path) -> None:
    given = recipe(loss="arcface")
    parts = divide(crowd, 0.0)
    start = begin(TINY, parts, given, tmp_path, CPU, crop=False)
    weight = start.network.classifier.objective.loss.W.detach().clone()  # type: ignore[union-attr]
    train(start, parts, given, tmp_path, CPU, SILENT, provenance={})
    assert not torch.equal(weight, start.network.classifier.objective.loss.W)  # type: ignore[union-attr]
    assert not [name for name in tensors(tmp_path / TRAINED_FILE) if "objective" in name or "loss" in name]
    assert b"person00" not in (tmp_path / TRAINED_FILE).read_bytes()


def test_a_folder_with_another_training_is_refused(crowd: Crowd, tmp_path: Path) -> None:
    run(crowd, tmp_path, recipe(epochs=1))
    with pytest.raises(UserError, match="another training"):
        run(crowd, tmp_path, replace(recipe(epochs=1), dimensions=4))


def test_people_with_one_photo_are_left_out_by_name(crowd: Crowd) -> None:
    few = choose(crowd, np.array([0, 1, 2, 6, 12, 13]))
    parts = divide(few, None)
    assert parts.single == ("person001",)
    assert parts.train.names == ("person000", "person002")


def test_one_person_is_refused(crowd: Crowd) -> None:
    with pytest.raises(UserError, match="1 person"):
        divide(choose(crowd, np.arange(6)), None)


def test_patience_without_anybody_held_out_is_refused(crowd: Crowd, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--held-out"):
        run(crowd, tmp_path, recipe(patience=2))


def test_held_out_people_are_no_training_people(crowd: Crowd) -> None:
    parts = divide(crowd, 0.25)
    assert parts.held is not None
    assert not set(parts.held.names) & set(parts.train.names)
    assert len(parts.held.names) == 2


def test_a_loss_that_is_not_finite_ends_the_training(crowd: Crowd, tmp_path: Path) -> None:
    parts, given = divide(crowd, 0.0), recipe()
    start = begin(TINY, parts, given, tmp_path, CPU, crop=False)
    with torch.no_grad():
        next(start.network.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss):
        train(start, parts, given, tmp_path, CPU, SILENT, provenance={})


def test_a_collapse_in_training_is_told_and_mining_changes(crowd: Crowd, tmp_path: Path) -> None:
    """Every picture the same: nothing can bring the people apart, the loss stays at the margin."""
    alike = Crowd(crowd.names, np.full_like(crowd.pixels, 128), crowd.labels, crowd.digests, crowd.files)
    given = replace(recipe(epochs=25, mining="batch-hard"), colour=0.0, grey=0.0)
    parts = divide(alike, 0.0)
    start = begin(TINY, parts, given, tmp_path, CPU, crop=False)
    told: list[str] = []
    found = train(start, parts, given, tmp_path, CPU, Watcher(note=told.append), provenance={})
    assert "collapse" in told[0]
    assert "mining is now semi-hard" in told[0]
    assert found["mining_at_the_end"] != "batch-hard"


def test_photos_to_judge_by_are_not_trained_on(crowd: Crowd) -> None:
    parts = divide(crowd, 0.0)
    assert parts.shown is not None
    assert np.bincount(parts.shown.labels).tolist() == [1] * 8
    assert not set(parts.shown.digests) & set(parts.train.digests)
    assert len(parts.shown) + len(parts.train) == len(crowd)
    assert divide(choose(crowd, np.flatnonzero(np.arange(48) % 6 < 3)), 0.0).shown is None


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Crowd, Crowd, Path]:
    """People, strangers, and a folder with a training on the people: run again, it ends at once."""
    root = tmp_path_factory.mktemp("helped")
    known, others = read(write_people(root / "known", 20, 6, 0)), read(write_people(root / "others", 40, 2, 100))
    run(known, root / "m", recipe(epochs=15), strangers=others, keep="trained")
    return known, others, root / "m"


@pytest.mark.parametrize("keep", ["better", "trained", "frozen"])
def test_the_trained_one_is_kept_where_it_is_better(
    helped: tuple[Crowd, Crowd, Path], tmp_path: Path, keep: Keep
) -> None:
    """From random weights: training helps, beyond doubt, on photos and strangers that it did not see."""
    known, others, made = helped
    shutil.copytree(made, tmp_path / "m")
    (tmp_path / "m" / MODEL_FILE).unlink()
    found = run(known, tmp_path / "m", recipe(epochs=15), strangers=others, keep=keep)
    judgement = found["judgement"]
    assert judgement["better"]
    assert judgement["gain"]["difference"]["low"] > 0
    assert (judgement["photos"], judgement["people"], judgement["strangers"]) == (20, 20, 40)
    assert found["kept"] == ("frozen" if keep == "frozen" else "trained")
    kept = load_model(tmp_path / "m" / MODEL_FILE)
    assert kept.digest == found["digest"] == load_model(tmp_path / "m" / f"{found['kept']}.safetensors").digest


def test_a_training_that_spoils_is_not_kept(make_people: MakePeople, tmp_path: Path) -> None:
    """Nothing but noise is learnt at this rate: the start stays the model."""
    known, others = read(make_people("known", 12, 6)), read(make_people("others", 30, 2, 100))
    given = recipe(epochs=2)
    given = replace(given, config=replace(given.config, lr=1e-9))
    found = run(known, tmp_path / "m", given, strangers=others)
    assert not found["judgement"]["better"]
    assert found["kept"] == "frozen"


def test_without_strangers_the_nearest_member_counts(crowd: Crowd, tmp_path: Path) -> None:
    found = run(crowd, tmp_path / "m", recipe(epochs=1))
    parts, model = divide(crowd, 0.0), load_model(tmp_path / "m" / FROZEN_FILE)
    assert parts.shown is not None
    gallery = empty_gallery("", DIMENSIONS)
    for label, name in enumerate(parts.train.names):
        own = parts.train.pixels[parts.train.labels == label]
        gallery = add(gallery, name, model.vectors(own, CPU))
    nearest = search(gallery, model.vectors(parts.shown.pixels, CPU)).people
    assert found["judgement"]["strangers"] == 0
    assert found["judgement"]["gain"]["first"]["value"] == (nearest == parts.shown.labels).mean()


def test_the_face_body_is_trained_and_keeps_its_frozen_self(crowd: Crowd, tmp_path: Path) -> None:
    from scalesearch.faces.bodies import face_body

    pytest.importorskip("face_recognition_models")
    model = face_body()
    grown = np.stack([np.asarray(Image.fromarray(one).resize((150, 150))) for one in crowd.pixels])
    people = replace(crowd, pixels=grown)
    given = replace(recipe(epochs=1, strategy="head"), dimensions=128)
    parts = divide(people, 0.0)
    start = begin(body_base(model, CPU), parts, given, tmp_path, CPU, crop=True)
    before = embed(model.network, grown[:4], model.card.statistics, CPU)
    found = train(start, parts, given, tmp_path, CPU, SILENT, provenance={})
    assert load_model(tmp_path / FROZEN_FILE).digest == model.digest
    assert np.array_equal(before, model.vectors(grown[:4], CPU))  # the body itself is as it was
    trained = load_model(tmp_path / TRAINED_FILE)
    features = [name for name in tensors(tmp_path / TRAINED_FILE) if name.startswith("features")]
    frozen = tensors(tmp_path / FROZEN_FILE)
    assert all(torch.equal(tensors(tmp_path / TRAINED_FILE)[name], frozen[name]) for name in features)
    assert not np.array_equal(trained.vectors(grown[:4], CPU), before)
    assert found["kept"] in ("frozen", "trained")


def test_few_strangers_decide_nothing(crowd: Crowd, tmp_path: Path, make_people: MakePeople) -> None:
    found = run(crowd, tmp_path / "m", recipe(epochs=1), strangers=read(make_people("others", 3, 5, 100)))
    judgement = found["judgement"]
    assert (judgement["enough"], judgement["better"], judgement["fpir"]) == (False, False, 0.1)
