"""Folders of people as they come: copies, broken files, names, photos without faces."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.errors import UserError
from scalesearch.faces.detection import CLOSE, Detector, Face, aligned
from scalesearch.faces.photos import (
    Crowd,
    Framing,
    choose,
    largest,
    list_people,
    most_alike,
    read_crowd,
    read_shots,
)
from tests.faces.conftest import MakePeople, portrait

ONE = Face((0, 0, 10, 10), ((8, 10), (16, 10)), 1.0)
OTHER = Face((9, 9, 14, 14), ((10, 11), (13, 11)), 1.0)


def crowd(root: Path, detect: Detector | None = None, **options: object) -> Crowd:
    people = list_people(root, "--data")
    return read_crowd(people, Framing(24, detect, CLOSE), option="--data", **options)  # type: ignore[arg-type]


def by_file(faces: dict[str, list[Face]]) -> Detector:
    """A detector that knows what is on the photos of ``portrait``: "person/photo" → faces; else the one face."""
    known = {portrait(*map(int, name.split("/"))).tobytes(): found for name, found in faces.items()}
    return lambda photo: known.get(photo.tobytes(), [ONE])


def test_people_are_folders(make_people: MakePeople) -> None:
    root = make_people(people=3, photos=2)
    (root / ".hidden").mkdir()
    (root / "empty").mkdir()
    Image.fromarray(portrait(0, 99)).save(root / "loose.png")
    found = list_people(root, "--data")
    assert found.names == ("person000", "person001", "person002")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert any("empty" in note for note in found.notes)
    assert any("loose.png" in note for note in found.notes)


def test_pixels_are_those_of_the_photos(make_people: MakePeople) -> None:
    found = crowd(make_people(people=2, photos=2))
    assert np.array_equal(found.pixels[3], portrait(1, 1))
    assert found.files == ("person000/0.png", "person000/1.png", "person001/0.png", "person001/1.png")


def test_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        list_people(tmp_path / "none", "--data")
    with pytest.raises(UserError, match="no person with a photo"):
        list_people(tmp_path, "--data")
    Image.fromarray(portrait(0, 0)).save(tmp_path / "loose.png")
    with pytest.raises(UserError, match="no folder of a person"):
        list_people(tmp_path, "--data")


def test_names_that_differ_by_case_alone_are_refused(make_people: MakePeople) -> None:
    root = make_people(people=1)
    (root / "PERSON000").mkdir()
    if len(list(root.iterdir())) == 1:
        pytest.skip("this disk does not tell case apart")
    with pytest.raises(UserError, match="differ by case"):
        list_people(root, "--data")


def test_a_photo_that_two_people_share_is_named(make_people: MakePeople) -> None:
    root = make_people(people=3)
    Image.fromarray(portrait(0, 1)).save(root / "person002" / "renamed.bmp")
    with pytest.raises(UserError, match=r"person000 and person002"):
        crowd(root)


def test_a_copy_of_one_s_own_photo_counts_once(make_people: MakePeople) -> None:
    root = make_people(people=2, photos=3)
    Image.fromarray(portrait(0, 1)).save(root / "person000" / "copy.png")
    found = crowd(root)
    assert len(found) == 6
    assert any("copies" in note for note in found.notes)


def test_broken_files_are_refused_or_left_out(make_people: MakePeople) -> None:
    root = make_people(people=2, photos=2)
    (root / "person000" / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"bad\.jpg"):
        crowd(root)
    found = crowd(root, skip_broken=True)
    assert len(found) == 4
    assert any("bad.jpg" in note for note in found.notes)


def test_a_person_without_a_usable_photo_is_left_out(make_people: MakePeople) -> None:
    root = make_people(people=3, photos=2)
    for file in (root / "person001").iterdir():
        file.write_bytes(b"no image")
    found = crowd(root, skip_broken=True)
    assert found.names == ("person000", "person002")
    assert any("person001" in note for note in found.notes)


def test_choosing_renumbers_people(make_people: MakePeople) -> None:
    found = choose(crowd(make_people(people=3, photos=2)), np.array([0, 4, 5]))
    assert found.names == ("person000", "person002")
    assert found.labels.tolist() == [0, 1, 1]


def test_none_and_several_faces_are_reported(make_people: MakePeople) -> None:
    found = crowd(make_people(people=2, photos=2), by_file({"0/0": [], "0/1": [ONE, OTHER]}))
    assert found.files == ("person000/1.png", "person001/0.png", "person001/1.png")
    assert any("without a face" in note and "person000/0.png" in note for note in found.notes)
    assert any("several faces, the largest taken" in note and "person000/1.png" in note for note in found.notes)
    assert np.array_equal(found.pixels[0], aligned(Image.fromarray(portrait(0, 1)), ONE, 24, CLOSE))


def test_no_face_at_all_is_refused(make_people: MakePeople) -> None:
    with pytest.raises(UserError, match="no photo on which a face was found"):
        crowd(make_people(), lambda photo: [])


def test_every_face_of_a_photo_is_read(make_people: MakePeople) -> None:
    root = make_people(people=1, photos=3)
    (root / "person000" / "bad.png").write_bytes(b"no image")
    files = [str(root / "person000" / name) for name in ("bad.png", "0.png", "1.png", "2.png")]
    found = read_shots(files, Framing(24, by_file({"0/0": [ONE, OTHER], "0/1": []}), CLOSE))
    assert (found.rows.tolist(), found.counts.tolist(), found.faces) == ([1, 1, 3], [2, 2, 1], (ONE, OTHER, ONE))
    assert found.faceless == (files[2],)
    assert found.unreadable == ((files[0], "not an image"),)
    assert not np.array_equal(found.pixels[0], found.pixels[1])
    told: list[tuple[int, int]] = []
    nobody = Framing(24, lambda photo: [], CLOSE)
    nothing = read_shots(files[:1], nobody, lambda done, total: told.append((done, total)))
    assert nothing.pixels.shape == (0, 24, 24, 3)
    assert told == [(1, 1)]


def test_without_a_detector_the_centred_square_is_the_face(make_people: MakePeople) -> None:
    root = make_people(people=1, photos=1)
    found = read_shots([str(root / "person000" / "0.png")], Framing(24))
    assert (found.faces, found.counts.tolist()) == ((None,), [1])
    assert np.array_equal(found.pixels[0], portrait(0, 0))


def test_the_chooser_s_faces_are_taken(make_people: MakePeople) -> None:
    """The second face of a photo, where the chooser says so; the notes say how they were chosen."""
    root = make_people(people=2, photos=2)

    def second(pixels: np.ndarray, labels: np.ndarray, photos: np.ndarray) -> np.ndarray:
        assert (labels.tolist(), photos.tolist()) == ([0, 0, 0, 1, 1], [0, 1, 1, 2, 3])
        return np.array([0, 2, 3, 4])

    found = crowd(root, by_file({"0/1": [ONE, OTHER]}), chooser=second)
    assert np.array_equal(found.pixels[1], aligned(Image.fromarray(portrait(0, 1)), OTHER, 24, CLOSE))
    assert any("the one most like the person's other photos taken: " in note for note in found.notes)


def units(*places: tuple[float, ...]) -> np.ndarray:
    found = np.array(places, np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


ANN, BO, CY = (1.0, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, 0.1), (0.0, 0.0, 1.0, 0.1)


def test_the_person_is_taken_and_not_the_neighbour() -> None:
    """Ann on three photos, behind somebody else on two of them, who are larger; one photo has her alone."""
    vectors = units(BO, ANN, ANN, CY, (0.9, 0.1, 0.0, 0.3))
    photos = np.array([4, 4, 7, 9, 9])
    assert most_alike(vectors, np.zeros(5, np.int64), photos).tolist() == [1, 2, 4]
    assert largest(vectors, np.zeros(5, np.int64), photos).tolist() == [0, 2, 3]


def test_each_folder_has_its_own_person() -> None:
    vectors = units(BO, ANN, ANN, BO, CY, BO)
    photos, labels = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 0, 0, 1, 1, 1])
    assert most_alike(vectors, labels, photos).tolist() == [1, 2, 3, 5]


def test_one_photo_gives_its_largest_face() -> None:
    assert most_alike(units(BO, ANN, CY), np.zeros(3, np.int64), np.zeros(3, np.int64)).tolist() == [0]
    alike = units(BO, ANN, BO, ANN)  # a tie, too: neither is more like the other photo
    assert most_alike(alike, np.zeros(4, np.int64), np.array([0, 0, 1, 1])).tolist() == [0, 2]


def test_of_two_who_are_on_every_photo_one_is_taken_throughout() -> None:
    """A couple: whoever is taken, it is the same person on all photos."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        both = np.array([ANN, BO] * 6) + 0.25 * rng.normal(size=(12, 4))
        chosen = most_alike(units(*map(tuple, both)), np.zeros(12, np.int64), np.repeat(np.arange(6), 2))
        assert len(set((chosen % 2).tolist())) == 1


def test_a_person_s_one_photo_of_two_is_enrolled_by_the_larger_face(make_people: MakePeople) -> None:
    root = make_people(people=1, photos=1)
    vectors = {"large": ANN, "small": BO}

    def chooser(pixels: np.ndarray, labels: np.ndarray, photos: np.ndarray) -> np.ndarray:
        return most_alike(units(*vectors.values()), labels, photos)

    found = crowd(root, lambda photo: [ONE, OTHER], chooser=chooser)
    assert np.array_equal(found.pixels[0], aligned(Image.fromarray(portrait(0, 0)), ONE, 24, CLOSE))


def test_two_people_on_one_photo_may_both_have_it(make_people: MakePeople) -> None:
    """The same photo in two folders, of which each keeps another face."""
    root = make_people(people=2, photos=1)
    (root / "person001" / "0.png").write_bytes((root / "person000" / "0.png").read_bytes())
    found = crowd(root, lambda photo: [ONE, OTHER], chooser=lambda *_: np.array([0, 3]))
    assert len(found) == 2
    with pytest.raises(UserError, match="in the folders of two people"):
        crowd(root, lambda photo: [ONE, OTHER])


def test_links_out_of_the_folder_and_to_themselves_are_passed_over(make_people: MakePeople, tmp_path: Path) -> None:
    root = make_people(people=2, photos=2)
    Image.fromarray(portrait(5, 5)).save(tmp_path / "outside.png")
    (root / "person000" / "outer.png").symlink_to(tmp_path / "outside.png")
    (root / "person000" / "loop.png").symlink_to("loop.png")
    (root / "person000" / "inner.png").symlink_to("0.png")
    (root / "loop.png").symlink_to("loop.png")
    found = list_people(root, "--data")
    assert [Path(file).name for file in found.files if "person000" in file] == ["0.png", "1.png", "inner.png"]
