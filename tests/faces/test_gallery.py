"""Adding, removing, finding; files that are refused; another model's gallery."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from torch import nn

from scalesearch.data.batches import IMAGENET_STATISTICS
from scalesearch.errors import UserError
from scalesearch.faces.detection import CLOSE
from scalesearch.faces.gallery import (
    Gallery,
    add,
    empty_gallery,
    fitted,
    load_gallery,
    others,
    remove,
    require_model,
    save_gallery,
    search,
    strangers_as_near,
)
from scalesearch.faces.model import Card, FaceModel


def units(seed: int, count: int, dimensions: int = 6) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def gallery() -> Gallery:
    found = empty_gallery("abc", 6)
    for seed, (name, count) in enumerate((("Ann", 3), ("Bo", 1), ("Çelik", 4))):
        found = add(found, name, units(seed, count))
    return found


def test_search_is_the_formula(gallery: Gallery) -> None:
    probes = units(50, 7)
    found = search(gallery, probes)
    for row, probe in enumerate(probes):
        distances = []
        for label in range(3):
            own = gallery.embeddings[gallery.labels == label]
            mean = own.mean(0) / np.linalg.norm(own.mean(0))
            nearest = min(((probe - one) ** 2).sum() for one in own)
            distances.append((nearest + ((probe - mean) ** 2).sum()) / 2)
        assert found.people[row] == int(np.argmin(distances))
        assert found.distances[row] == pytest.approx(min(distances), abs=1e-5)


def test_a_member_taken_for_a_stranger_does_not_meet_themself(gallery: Gallery) -> None:
    found = others(gallery)
    for row, label in enumerate(gallery.labels):
        without = remove(gallery, gallery.names[label])
        assert found[row] == pytest.approx(
            float(search(without, gallery.embeddings[row : row + 1]).distances[0]), abs=1e-5
        )


def test_removing_leaves_nothing_of_a_person(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "gallery.safetensors"
    gone = gallery.embeddings[gallery.labels == 0]
    save_gallery(path, fitted(gallery, 0.1))
    save_gallery(path, remove(gallery, "Ann"))
    back = load_gallery(path)
    assert back.names == ("Bo", "Çelik")
    assert np.bincount(back.labels).tolist() == [1, 4]
    content = path.read_bytes()
    assert b"Ann" not in content
    assert all(row.tobytes() not in content for row in gone)
    assert back.threshold is None


def test_a_gallery_comes_back_whole(gallery: Gallery, tmp_path: Path) -> None:
    kept = fitted(gallery, 0.2)
    save_gallery(tmp_path / "g.safetensors", kept)
    back = load_gallery(tmp_path / "g.safetensors")
    assert (back.names, back.model, back.threshold) == (kept.names, kept.model, kept.threshold)
    assert np.array_equal(back.embeddings, kept.embeddings)
    assert np.array_equal(back.strangers, kept.strangers)


def test_enrolling_again_replaces(gallery: Gallery) -> None:
    again = add(gallery, "Ann", units(9, 2))
    assert sorted(again.names) == ["Ann", "Bo", "Çelik"]
    assert int((again.labels == again.names.index("Ann")).sum()) == 2


def test_strangers_as_near_are_counted(gallery: Gallery) -> None:
    strangers, people = units(77, 200), np.repeat(np.arange(100), 2)
    known = fitted(gallery, 0.1, strangers, people)
    assert known.threshold is not None
    assert known.threshold.basis == "strangers"
    found = search(known, strangers).distances
    inside = found < known.threshold.distance
    assert inside.sum() <= 20
    counts = strangers_as_near(known, found)
    assert counts.tolist() == [int((found <= one).sum()) for one in found]
    assert counts[inside].max() < counts[~inside].min()  # the threshold parts those who are counted few and many
    assert strangers_as_near(known, np.array([0.0, 4.0], np.float32)).tolist() == [0, 200]


def face_model(digest: str = "abc", dimensions: int = 6, name: str = "ours") -> FaceModel:
    card = Card(name, 24, IMAGENET_STATISTICS, CLOSE)
    return FaceModel(nn.Identity(), card, dimensions, digest)


def test_another_body_s_gallery_is_refused_with_what_to_do(gallery: Gallery) -> None:
    require_model(gallery, face_model(), "g")
    with pytest.raises(UserError, match=r"by the body abc, not by this one, ours \(def\)\. Give the body.*--body"):
        require_model(gallery, face_model("def"), "g")
    with pytest.raises(UserError, match=r"by the body theirs \(abc\), not by this one"):
        require_model(replace(gallery, body="theirs"), face_model("def"), "g")


def test_embeddings_of_another_width_are_refused(gallery: Gallery) -> None:
    with pytest.raises(UserError, match=r"have 6 numbers, and those of its body 8\. The gallery is damaged"):
        require_model(gallery, face_model(dimensions=8), "g")


def test_nobody_is_found_in_an_empty_gallery() -> None:
    with pytest.raises(UserError, match="nobody in it"):
        search(empty_gallery("abc", 6), units(0, 1))


def test_removing_a_stranger_names_who_was_meant(gallery: Gallery) -> None:
    with pytest.raises(UserError, match='Did you mean "Bo"'):
        remove(gallery, "bo")


def test_foreign_damaged_and_newer_files_are_refused(gallery: Gallery, tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    with pytest.raises(UserError, match="no such file"):
        load_gallery(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(UserError, match="no safetensors file that can be read"):
        load_gallery(path)
    header = {
        "format": "scalesearch-gallery", "format_version": "1", "model": "abc", "names": json.dumps(["A", "B"]),
        "threshold": "null",
    }  # fmt: skip
    tensors = {"embeddings": units(0, 2), "labels": np.array([0, 0]), "strangers": np.zeros(0, np.float32)}
    path.write_bytes(safetensors.numpy.save(tensors, {**header, "format": "other"}))
    with pytest.raises(UserError, match="is no gallery"):
        load_gallery(path)
    path.write_bytes(safetensors.numpy.save(tensors, {**header, "format_version": "2"}))
    with pytest.raises(UserError, match="Update scalesearch"):
        load_gallery(path)
    path.write_bytes(safetensors.numpy.save(tensors, header))
    with pytest.raises(UserError, match="do not belong together"):
        load_gallery(path)


def test_a_threshold_fitted_on_strangers_outlives_a_member_who_leaves(gallery: Gallery) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((60, gallery.embeddings.shape[1])).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = fitted(gallery, 0.1, vectors, np.arange(60))
    smaller = remove(known, gallery.names[0])
    assert smaller.threshold == known.threshold
    assert (search(smaller, vectors).distances >= search(known, vectors).distances - 1e-6).all()
    assert add(smaller, "new", vectors[:2]).threshold is None
    assert remove(fitted(gallery, 0.1), gallery.names[0]).threshold is None


@pytest.mark.parametrize("key", ["names", "threshold"])
@pytest.mark.parametrize("value", ["[" * 50_000, "9" * 5000, "3", '"x"', '{"a": 1}', "[[1]]"])
def test_damaged_metadata_are_one_error(gallery: Gallery, tmp_path: Path, key: str, value: str) -> None:
    header = {
        "format": "scalesearch-gallery", "format_version": "1", "model": "abc", "names": '["A"]', "threshold": "null",
    }  # fmt: skip
    tensors = {"embeddings": units(0, 2), "labels": np.array([0, 0]), "strangers": np.zeros(0, np.float32)}
    (tmp_path / "g").write_bytes(safetensors.numpy.save(tensors, {**header, key: value}))
    with pytest.raises(UserError, match="the gallery is damaged"):
        load_gallery(tmp_path / "g")
