"""Files of face models: what comes back, what is refused, and files of the first version."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from scalesearch.errors import UserError
from scalesearch.faces.bodies import DLIB_CARD
from scalesearch.faces.detection import CLOSE, CLOSE_EYES, Template
from scalesearch.faces.model import Card, FaceModel, embed, embedder, load_model, model_digest, save_model
from scalesearch.nets.face_resnet import FaceResNet
from scalesearch.nets.weights import digest
from tests.faces.conftest import portrait
from tests.faces.toys import CARD, CPU, DIMENSIONS, STATISTICS, tiny_embedder, tiny_spec

PHOTOS = np.stack([portrait(person, 0) for person in range(6)])


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def rewritten(path: Path, **changes: str) -> FaceModel:
    state, metadata = contents(path)
    safetensors.torch.save_file(state, path.with_name("other.safetensors"), {**metadata, **changes})
    return load_model(path.with_name("other.safetensors"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tmp_path / "m.safetensors", tiny_embedder(), CARD, crop=False, trained_on=(), facts={})
    return tmp_path / "m.safetensors"


def test_a_model_comes_back_with_the_same_embeddings(tmp_path: Path) -> None:
    network, card = tiny_embedder(), replace(CARD, licence="ours", source="a test", same_person=0.5)
    own = save_model(tmp_path / "m.safetensors", network, card, crop=True, trained_on=("ab",), facts={"a": 1})
    model = load_model(tmp_path / "m.safetensors")
    assert (model.digest, model.crop, model.trained_on, model.facts) == (own, True, frozenset({"ab"}), {"a": 1})
    assert (model.card, model.dimensions) == (card, DIMENSIONS)
    first = embed(network, PHOTOS, STATISTICS, CPU)
    assert np.array_equal(first, model.vectors(PHOTOS, CPU))
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.ones(len(PHOTOS)), abs=1e-5)


def test_the_face_body_comes_back_with_the_same_embeddings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = embedder(FaceResNet(7)).eval()
    own = save_model(tmp_path / "m.safetensors", network, DLIB_CARD, crop=True, trained_on=(), facts={})
    model = load_model(tmp_path / "m.safetensors")
    assert (model.digest, model.dimensions, model.card) == (own, 7, DLIB_CARD)
    faces = np.random.default_rng(0).integers(0, 256, (2, 150, 150, 3), dtype=np.uint8)
    assert np.array_equal(embed(network, faces, DLIB_CARD.statistics, CPU), model.vectors(faces, CPU))


def test_nobody_s_embeddings_are_none() -> None:
    model = FaceModel(tiny_embedder(), CARD, DIMENSIONS, "abc")
    assert model.vectors(PHOTOS[:0], CPU).shape == (0, DIMENSIONS)


def test_a_face_on_which_nothing_comes_out_is_an_error() -> None:
    network = tiny_embedder()
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.zero_()
    with pytest.raises(UserError, match="gives no finite numbers other than 0 for 6 of 6 faces"):
        FaceModel(network, CARD, DIMENSIONS, "abc").vectors(PHOTOS, CPU)


def test_the_digest_is_of_weights_and_of_what_they_are_given() -> None:
    others = (
        replace(CARD, size_px=32), replace(CARD, template=CLOSE_EYES),
        replace(CARD, statistics=replace(STATISTICS, mean=(0.5, 0.5, 0.5))),
    )  # fmt: skip
    assert len({model_digest(weights, card) for weights in ("a", "b") for card in (CARD, *others)}) == 8
    alike = replace(CARD, name="other", licence="x", source="y", same_person=1.0)
    assert model_digest("a", alike) == model_digest("a", CARD)


def test_foreign_damaged_and_newer_models_are_refused(saved: Path) -> None:
    with pytest.raises(UserError, match="faces fit"):
        load_model(saved.with_name("none.safetensors"))
    with pytest.raises(UserError, match="is no face model"):
        rewritten(saved, format="scalesearch-network")
    with pytest.raises(UserError, match="Update scalesearch"):
        rewritten(saved, format_version="99")
    with pytest.raises(UserError, match="its spec cannot be built"):
        rewritten(saved, spec="{")
    with pytest.raises(UserError, match="metadata are damaged"):
        rewritten(saved, facts="{")
    with pytest.raises(UserError, match="its tensors do not fit"):
        rewritten(saved, spec=json.dumps(tiny_spec(DIMENSIONS + 1).to_dict()))
    with pytest.raises(UserError, match="its tensors do not fit the face body"):
        rewritten(saved, spec="null")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_px": 8}, "8 px is not between"), ({"size_px": 10**400}, "digits px is not between"),
        ({"statistics": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "deviations above 0"),
        ({"statistics": {"mean": [0, 0, 1e9], "std": [1, 1, 1]}}, "no finite numbers"),
        ({"statistics": {"mean": [0, 0], "std": [1, 1, 1]}}, "list of 3"),
        ({"template": {"points": [[0.3, 0.3]]}}, "template has 1 points"),
        ({"template": {"points": [[38.3, 51.7], [73.5, 51.5]]}}, "shares of the side"),
        ({"template": {"points": [[0.7, 0.3], [0.3, 0.3]]}}, "first eye is not left"),
        ({"template": {"points": [[0.5, 0.3], [0.5, 0.3]]}}, "first eye is not left"),
        ({"same_person": 4.5}, "same_person is 4.5, not a squared distance"),
        ({"same_person": 10**400}, "same_person is a number of more than"),
        ({"same_person": -0.1}, "not a squared distance"),
    ],
)  # fmt: skip
def test_cards_that_cannot_be_are_refused(saved: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rewritten(saved, card=json.dumps({**asdict(CARD), **changes}))


@pytest.mark.parametrize("card", ["", "[", "null", "{}", '{"size_px": NaN}', "[" * 50_000])
def test_damaged_cards_are_one_error(saved: Path, card: str) -> None:
    with pytest.raises(UserError, match="metadata are damaged"):
        rewritten(saved, card=card)


@pytest.fixture
def first_version(saved: Path) -> Path:
    """A file as version 1 wrote it: no card, statistics as classifiers have them."""
    state, metadata = contents(saved)
    old = {key: metadata[key] for key in ("format", "scalesearch_version", "spec", "crop", "trained_on", "facts")}
    old |= {"format_version": "1", "pixel_statistics": json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]})}
    safetensors.torch.save_file(state, saved.with_name("v1.safetensors"), old)
    return saved.with_name("v1.safetensors")


def test_a_file_of_the_first_version_opens_as_it_did(first_version: Path) -> None:
    model = load_model(first_version)
    assert model.digest == digest(contents(first_version)[0])  # which galleries of that time note
    assert (model.card.template, model.card.size_px, model.card.name) == (CLOSE_EYES, 24, tiny_spec().name)
    assert model.card.template.points == CLOSE.points[:2]  # it was trained on faces cut by the eyes alone
    assert (model.card.statistics.mean, model.card.statistics.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert np.array_equal(model.vectors(PHOTOS, CPU), embed(tiny_embedder(), PHOTOS, model.card.statistics, CPU))


def test_a_file_of_the_first_version_without_a_spec_is_refused(first_version: Path) -> None:
    with pytest.raises(UserError, match="its spec cannot be built"):
        rewritten(first_version, spec="null")


def test_a_card_needs_no_template() -> None:
    assert Card("a", 24, STATISTICS, Template()).template.points == ()


def test_pixels_may_be_turned_and_read_only() -> None:
    turned = np.broadcast_to(PHOTOS[0, :, ::-1], (2, 24, 24, 3))
    model = FaceModel(tiny_embedder(), CARD, DIMENSIONS, "abc")
    assert not turned.flags.writeable
    expected = model.vectors(PHOTOS[:1], CPU)[0]  # a mirror image counts as much as the photo
    assert model.vectors(turned, CPU) == pytest.approx(np.stack([expected, expected]), abs=1e-5)
