"""Training on synthetic people: learns, continues bit for bit, keeps what only training needs out of the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from scalesearch.data.batches import normalised
from scalesearch.errors import RunInterruptedError, UserError
from scalesearch.faces.model import FaceModel, discriminants, embed, load_model, pooled, save_model, set_embedding
from scalesearch.faces.objective import ObjectiveSettings
from scalesearch.faces.photos import Crowd, choose, list_people, read_crowd
from scalesearch.faces.protocols import all_pairs, auc
from scalesearch.faces.train import FaceRecipe, begin, divide, notes, train
from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training.history import SILENT, EpochRecord, Watcher, nothing
from scalesearch.training.job import MODEL_FILE
from scalesearch.training.loop import NonFiniteLoss
from tests.faces.conftest import MakePeople
from tests.faces.toys import CPU, DIMENSIONS, STATISTICS, tiny_embedder, tiny_spec


def recipe(epochs: int = 3, loss: str = "triplet", mining: str = "all", **settings: object) -> FaceRecipe:
    config = TrainConfig(epochs=epochs, batch_size=18, lr=3e-3, label_smoothing=0.0, warmup_epochs=0.5, **settings)  # type: ignore[arg-type]
    objective = ObjectiveSettings(loss=loss, mining=mining)  # type: ignore[arg-type]
    return FaceRecipe(config, objective, people=6, photos=3, dimensions=DIMENSIONS)


def run(
    crowd: Crowd, folder: Path, given: FaceRecipe, on_epoch: Callable[[EpochRecord], None] = nothing
) -> dict[str, object]:
    parts = divide(crowd, 0.0)
    start = begin(tiny_spec(), parts, given, folder, None, CPU)
    watcher = Watcher(epoch=on_epoch)
    return train(start, parts, given, folder, CPU, watcher, crop=False, provenance={})


@pytest.fixture
def crowd(make_people: MakePeople) -> Crowd:
    return read_crowd(list_people(make_people(people=8, photos=6), "--data"), 24, None, option="--data")


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_training_brings_people_apart_whom_it_never_saw(make_people: MakePeople, tmp_path: Path) -> None:
    known = read_crowd(list_people(make_people("known", people=30), "--data"), 24, None, option="--data")
    strangers = make_people("others", people=8, photos=5, first=100)
    new = read_crowd(list_people(strangers, "--data"), 24, None, option="--data")
    before = auc(all_pairs(embed(tiny_embedder(), new.pixels, STATISTICS, CPU), new.labels))
    run(known, tmp_path / "m", recipe(epochs=15))
    model = load_model(tmp_path / "m" / MODEL_FILE)
    after = auc(all_pairs(embed(model.network, new.pixels, model.statistics, CPU), new.labels))
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
    whole, parts = (tensors(tmp_path / name / MODEL_FILE) for name in ("whole", "parts"))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_the_objective_s_weights_are_trained_but_not_kept(crowd: Crowd, tmp_path: Path) -> None:
    given = recipe(loss="arcface")
    parts = divide(crowd, 0.0)
    start = begin(tiny_spec(), parts, given, tmp_path, None, CPU)
    weight = start.network.classifier.objective.loss.W.detach().clone()  # type: ignore[union-attr]
    train(start, parts, given, tmp_path, CPU, SILENT, crop=False, provenance={})
    assert not torch.equal(weight, start.network.classifier.objective.loss.W)  # type: ignore[union-attr]
    assert not [name for name in tensors(tmp_path / MODEL_FILE) if "objective" in name or "loss" in name]
    assert b"person00" not in (tmp_path / MODEL_FILE).read_bytes()


def test_a_folder_with_another_training_is_refused(crowd: Crowd, tmp_path: Path) -> None:
    run(crowd, tmp_path, recipe(epochs=1))
    with pytest.raises(UserError, match="another training"):
        run(crowd, tmp_path, replace(recipe(epochs=1), dimensions=4))


def test_people_with_one_photo_are_left_out_by_name(crowd: Crowd) -> None:
    few = choose(crowd, np.array([0, 1, 2, 6, 12, 13]))
    parts = divide(few, None)
    assert parts.single == ("person001",)
    assert parts.train.names == ("person000", "person002")
    assert any("person001" in note for note in notes(parts))


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
    start = begin(tiny_spec(), parts, given, tmp_path, None, CPU)
    with torch.no_grad():
        next(start.network.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss):
        train(start, parts, given, tmp_path, CPU, SILENT, crop=False, provenance={})


def test_a_collapse_in_training_is_told_and_mining_changes(crowd: Crowd, tmp_path: Path) -> None:
    """Every picture the same: nothing can bring the people apart, the loss stays at the margin."""
    alike = Crowd(crowd.names, np.full_like(crowd.pixels, 128), crowd.labels, crowd.digests, crowd.files)
    given = replace(recipe(epochs=25, mining="batch-hard"), colour=0.0, grey=0.0)
    parts = divide(alike, 0.0)
    start = begin(tiny_spec(), parts, given, tmp_path, None, CPU)
    told: list[str] = []
    found = train(start, parts, given, tmp_path, CPU, Watcher(note=told.append), crop=False,
                  provenance={})  # fmt: skip
    assert "collapse" in told[0]
    assert "mining is now semi-hard" in told[0]
    assert found["mining_at_the_end"] != "batch-hard"


def test_a_model_comes_back_with_the_same_embeddings(crowd: Crowd, tmp_path: Path) -> None:
    network = tiny_embedder()
    digest = save_model(tmp_path / "m.safetensors", network, STATISTICS, crop=True, trained_on=("ab",), facts={"a": 1})
    model = load_model(tmp_path / "m.safetensors")
    assert (model.digest, model.crop, model.trained_on, model.facts) == (digest, True, frozenset({"ab"}), {"a": 1})
    first, second = (embed(one, crowd.pixels, STATISTICS, CPU) for one in (network, model.network))
    assert np.array_equal(first, second)
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(len(crowd)), abs=1e-5)


def rewritten(path: Path, **changes: str) -> FaceModel:
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **changes}
    save_file(tensors(path), path.with_name("other.safetensors"), metadata)
    return load_model(path.with_name("other.safetensors"))


def test_foreign_damaged_and_newer_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(UserError, match="faces fit"):
        load_model(path)
    save_model(path, tiny_embedder(), STATISTICS, crop=False, trained_on=(), facts={})
    with pytest.raises(UserError, match="is no face model"):
        rewritten(path, format="scalesearch-network")
    with pytest.raises(UserError, match="Update scalesearch"):
        rewritten(path, format_version="99")
    with pytest.raises(UserError, match="its spec cannot be built"):
        rewritten(path, spec="{")
    with pytest.raises(UserError, match="metadata are damaged"):
        rewritten(path, facts="{")
    with pytest.raises(UserError, match="its tensors do not fit"):
        rewritten(path, spec=json.dumps(tiny_spec(DIMENSIONS + 1).to_dict()))


def test_the_start_sees_what_the_last_layer_sees(crowd: Crowd) -> None:
    network = build(tiny_spec(), seed=0)
    found = pooled(network, crowd.pixels, STATISTICS, CPU)
    assert network.training
    images = normalised(torch.from_numpy(crowd.pixels).permute(0, 3, 1, 2), STATISTICS)
    with torch.no_grad():
        expected = network.eval().forward_features(images).numpy()
    assert found == pytest.approx(expected, abs=1e-5)
    weights, bias = discriminants(found, crowd.labels, DIMENSIONS)
    set_embedding(network, weights, bias)
    with torch.no_grad():
        assert network(images).numpy() == pytest.approx(found @ weights.T + bias, abs=1e-3)


def test_discriminants_tell_people_apart_and_are_centred() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 20)
    own = rng.normal(size=(6, 3)) @ rng.normal(size=(3, 10))
    features = own[labels] + rng.normal(size=(120, 10)) * np.linspace(0.1, 3, 10) + 5
    weights, bias = discriminants(features, labels, 8)
    found = features @ weights.T + bias
    assert weights.shape == (8, 10)
    assert found.mean(0) == pytest.approx(np.zeros(8), abs=1e-6)
    assert found.var(0).sum() == pytest.approx(1, abs=1e-6)

    def ratio(x: np.ndarray) -> float:
        means = np.stack([x[labels == label].mean(0) for label in range(6)])
        return float(means.var(0).sum() / (x - means[labels]).var(0).sum())

    assert ratio(found[:, :5]) > 2 * ratio(features)
