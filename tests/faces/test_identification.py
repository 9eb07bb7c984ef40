"""Who is taken for whom: one person a photo, the next one named, rows for tables, whatever the photos are like."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from scalesearch.errors import UserError
from scalesearch.faces.detection import CLOSE, POINTS, Face, aligned
from scalesearch.faces.gallery import Gallery, add, empty_gallery, fitted, person_distances, strangers_as_near
from scalesearch.faces.identification import CHUNK, Sighting, assigned, flat, sightings
from scalesearch.faces.model import FaceModel
from scalesearch.faces.photos import Framing
from tests.faces.conftest import MakePeople, portrait
from tests.faces.toys import CPU, tiny_model

WHOLE = Framing(24)
distances = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.integers(0, 40).map(lambda value: np.float32(value / 10)))
)


def best(given: np.ndarray, limit: float) -> float:
    """The most nearness that any way to name the faces leaves, by trying all of them."""
    faces, people = given.shape
    nobody = [None] * faces
    ways = itertools.permutations([*range(people), *nobody], faces)
    return max(
        sum(limit - float(given[face, person]) for face, person in enumerate(way) if person is not None)
        for way in set(ways)
        if all(person is None or given[face, person] < limit for face, person in enumerate(way))
    )


@settings(deadline=None)  # trying all ways takes its time
@given(distances, st.sampled_from([0.05, 1.0, 2.0, 4.0]))
def test_faces_are_named_in_the_best_way(given: np.ndarray, limit: float) -> None:
    given = given[:4]
    found = assigned(given, limit)
    named = [(face, person) for face, person in enumerate(found) if person is not None]
    assert len(found) == len(given)
    assert len({person for _, person in named}) == len(named)
    assert all(given[face, person] < limit for face, person in named)
    nearness = sum(limit - float(given[face, person]) for face, person in named)
    assert nearness == pytest.approx(best(given, limit), abs=1e-5)


@given(distances, st.floats(0.05, 4))
def test_a_face_alone_is_the_nearest_or_nobody(given: np.ndarray, limit: float) -> None:
    nearest = int(given[0].argmin())
    assert assigned(given[:1], limit) == [nearest if given[0, nearest] < limit else None]


def test_on_the_threshold_is_not_below_it() -> None:
    limit = float(np.float32(0.3))
    alone = np.array([[0.3, 0.5]], np.float32)
    assert assigned(alone, limit) == [None]
    assert assigned(np.concatenate((alone, alone)), limit) == [None, None]


def test_who_is_taken_leaves_the_next_best_to_the_other() -> None:
    """Both faces are nearest to the first person: the nearer is that person, the other the second, or nobody."""
    given = np.array([[0.2, 0.4], [0.1, 0.9]], np.float32)
    assert assigned(given, 1.0) == [1, 0]
    assert assigned(given, 0.3) == [None, 0]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return tiny_model()


@pytest.fixture(scope="module")
def gallery(model: FaceModel) -> Gallery:
    """Persons 0 to 3, three photos each, and a threshold on 60 others' photos."""
    found = empty_gallery(model.digest, model.dimensions, model.card.name)
    for person in range(4):
        photos = np.stack([portrait(person, photo) for photo in range(3)])
        found = add(found, f"person{person:03d}", model.vectors(photos, CPU))
    others = np.stack([portrait(100 + person, 0) for person in range(60)])
    return fitted(found, 0.3, model.vectors(others, CPU), np.arange(60))


def by_hand(model: FaceModel, gallery: Gallery, pixels: np.ndarray) -> tuple[list[str], list[float]]:
    """Names by nearness, and their distances."""
    values = person_distances(gallery, model.vectors(pixels[None], CPU))[0]
    order = np.argsort(values, kind="stable")
    return [gallery.names[place] for place in order], [float(values[place]) for place in order]


def test_rows_say_who_and_who_else(model: FaceModel, gallery: Gallery, make_people: MakePeople) -> None:
    root = make_people(people=6, photos=4)
    files = sorted(map(str, root.rglob("*.png")))
    told: list[tuple[int, int]] = []
    found = list(sightings(model, gallery, files, WHOLE, CPU, lambda done, total: told.append((done, total))))
    assert [one.file for one in found] == files
    assert told[-1] == (24, 24)
    assert gallery.threshold is not None
    for number, one in enumerate(found):
        names, near = by_hand(model, gallery, portrait(number // 4, number % 4))
        assert (one.nearest, one.runner_up) == (names[0], names[1])
        assert one.distance == pytest.approx(near[0], abs=1e-5)
        assert one.runner_up_distance == pytest.approx(near[1], abs=1e-5)
        assert one.distance is not None
        assert one.member == (one.distance < gallery.threshold.distance) == (one.name == one.nearest)
        assert one.strangers_as_near == strangers_as_near(gallery, np.array([one.distance], np.float32))[0]
        assert (one.face, one.faces, one.found, one.error) == (1, 1, None, "")
        assert np.array_equal(one.pixels, portrait(number // 4, number % 4))
        assert one.vector is not None
        assert one.vector.shape == (model.dimensions,)
    members = [one.member for one in found]
    assert any(members)
    assert not all(members)


def test_chunks_make_no_difference(model: FaceModel, gallery: Gallery, make_people: MakePeople) -> None:
    """More photos than are in memory at a time: rows as of one photo after the other, in order, progress to the end."""
    root = make_people(people=CHUNK // 4 + 2, photos=4, first=2)
    files = sorted(map(str, root.rglob("*.png")))
    assert CHUNK < len(files) < 2 * CHUNK
    told: list[tuple[int, int]] = []
    found = list(sightings(model, gallery, files, WHOLE, CPU, lambda done, total: told.append((done, total))))
    assert [one.file for one in found] == files
    assert (told[-1], sorted(told)) == ((len(files), len(files)), told)
    alone = [one for file in files for one in sightings(model, gallery, [file], WHOLE, CPU)]
    assert [(one.name, one.nearest, one.runner_up) for one in found] == [
        (one.name, one.nearest, one.runner_up) for one in alone
    ]


FACES = {
    (0, 0): [Face((4, 2, 20, 22), ((8, 10), (16, 10)), 1.0), Face((0, 0, 9, 9), ((2, 3), (6, 3)), 1.0)],
    (1, 0): [],
    (1, 1): [Face((1.25, 2.04, 20, 22), ((8, 10), (16, 10), (12, 14), (9, 18), (15, 18)), 1.0)],
}


def detect(photo: Image.Image) -> list[Face]:
    return next(found for who, found in FACES.items() if photo.tobytes() == portrait(*who).tobytes())


@pytest.fixture
def mixed(make_people: MakePeople) -> list[str]:
    """Two faces, none, what is no image, one face with five points."""
    root = make_people(people=2, photos=2)
    (root / "person001" / "bad.png").write_bytes(b"no image")
    names = ("person000/0.png", "person001/0.png", "person001/bad.png", "person001/1.png")
    return [str(root / name) for name in names]


def test_photos_with_many_faces_none_and_no_image(model: FaceModel, gallery: Gallery, mixed: list[str]) -> None:
    found = list(sightings(model, gallery, mixed, Framing(24, detect, CLOSE), CPU))
    assert [(Path(one.file).name, one.face, one.faces, one.error) for one in found] == [
        ("0.png", 1, 2, ""), ("0.png", 2, 2, ""), ("0.png", 0, 0, "no face found"), ("bad.png", 0, 0, "not an image"),
        ("1.png", 1, 1, ""),
    ]  # fmt: skip
    assert [one.found for one in found] == [*FACES[0, 0], None, None, *FACES[1, 1]]
    expected = aligned(Image.fromarray(portrait(0, 0)), FACES[0, 0][1], 24, CLOSE)
    assert np.array_equal(found[1].pixels, expected)
    assert not found[2].member


def test_nothing_but_bad_photos_are_rows_all_the_same(model: FaceModel, gallery: Gallery, mixed: list[str]) -> None:
    found = list(sightings(model, gallery, mixed[1:3], Framing(24, detect, CLOSE), CPU))
    assert [one.error for one in found] == ["no face found", "not an image"]
    assert list(sightings(model, gallery, [], WHOLE, CPU)) == []


@pytest.mark.parametrize("second", ["Bo", ""])
def test_a_person_is_named_once_a_photo(model: FaceModel, make_people: MakePeople, second: str) -> None:
    """One face, found in two places, both nearest to Ann: one is Ann, the other Bo, who is near, too, or nobody."""
    (vector,) = model.vectors(portrait(0, 0)[None], CPU)
    beside = np.random.default_rng(0).normal(size=vector.shape).astype(np.float32)
    bo = vector + 0.1 * beside if second else -vector
    known = empty_gallery("", model.dimensions)
    for name, own in (("Ann", vector), ("Bo", bo / np.linalg.norm(bo))):
        known = add(known, name, own[None])
    face = Face((0, 0, 24, 24), ((7.68, 10.32), (16.32, 10.32)), 1.0)  # where the template has its eyes: cut as it is
    file = str(make_people(people=1, photos=1) / "person000/0.png")
    both = list(sightings(model, known, [file], Framing(24, lambda _: [face, face], CLOSE), CPU, limit=0.5))
    assert [one.nearest for one in both] == ["Ann", "Ann"]
    assert sorted(one.name for one in both) == sorted(["Ann", second])
    (alone,) = sightings(model, known, [file], Framing(24, lambda _: [face], CLOSE), CPU, limit=0.5)
    assert alone.name == "Ann"


def test_a_gallery_of_one_has_no_runner_up(model: FaceModel, gallery: Gallery, make_people: MakePeople) -> None:
    one = add(empty_gallery("", model.dimensions), "person000", gallery.embeddings[gallery.labels == 0])
    known = fitted(one, 0.3, gallery.embeddings[gallery.labels > 0], np.arange(9))
    file = str(make_people(people=1, photos=1) / "person000/0.png")
    (found,) = sightings(model, known, [file], WHOLE, CPU)
    assert (found.nearest, found.runner_up, found.runner_up_distance) == ("person000", "", None)


def test_without_a_threshold_or_anybody_it_is_refused(model: FaceModel, gallery: Gallery) -> None:
    with pytest.raises(UserError, match="no threshold yet"):
        list(sightings(model, replace(gallery, threshold=None), ["a.png"], WHOLE, CPU))
    with pytest.raises(UserError, match="gallery: "):
        list(sightings(model, empty_gallery("", model.dimensions), ["a.png"], WHOLE, CPU))


COLUMNS = [
    "file", "face", "faces", "name", "member", "nearest", "distance", "runner_up", "runner_up_distance",
    "strangers_as_near", "note", "left", "top", "right", "bottom", "left_eye_x", "left_eye_y", "right_eye_x",
    "right_eye_y", "nose_x", "nose_y", "left_mouth_x", "left_mouth_y", "right_mouth_x", "right_mouth_y", "error",
]  # fmt: skip


def test_rows_are_plain_and_tables_have_the_same_columns_throughout(
    model: FaceModel, gallery: Gallery, mixed: list[str]
) -> None:
    rows = [one.to_dict() for one in sightings(model, gallery, mixed, Framing(24, detect, CLOSE), CPU)]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[4]["box"] == {"left": 1.2, "top": 2.0, "right": 20.0, "bottom": 22.0}
    assert list(rows[4]["points"]) == list(POINTS)
    assert rows[4]["points"]["nose"] == [12.0, 14.0]
    assert rows[0]["points"] == {"left_eye": [8.0, 10.0], "right_eye": [16.0, 10.0]}
    assert (rows[2]["box"], rows[2]["points"], rows[2]["distance"], rows[2]["member"]) == (None, None, None, False)
    tables = [flat(row) for row in rows]
    assert all(list(table) == COLUMNS for table in tables)
    assert (tables[4]["left"], tables[4]["nose_y"], tables[0]["nose_y"], tables[2]["left"]) == (1.2, 14.0, None, None)
    assert tables[2]["error"] == "no face found"


def test_a_photo_without_anything_is_a_row_of_nothing() -> None:
    row = Sighting("a.png").to_dict()
    assert {key for key, value in row.items() if value} == {"file"}
    assert list(flat(row)) == COLUMNS
