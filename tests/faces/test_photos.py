"""Folders of people as they come: copies, broken files, names, photos without faces."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.errors import UserError
from scalesearch.faces.photos import Crowd, Face, aligned, choose, list_people, read_crowd, read_shots
from tests.faces.conftest import MakePeople, portrait

ONE = Face((0, 0, 10, 10), ((8, 10), (16, 10)), 1.0)


def crowd(root: Path, **options: object) -> Crowd:
    return read_crowd(list_people(root, "--data"), 24, None, option="--data", **options)  # type: ignore[arg-type]


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
    root = make_people(people=2, photos=2)
    people = list_people(root, "--data")
    faces = {0: [], 1: [ONE, ONE], 2: [ONE], 3: [ONE]}
    calls = iter(range(4))
    found = read_crowd(people, 24, lambda photo: list(faces[next(calls)]), option="--data")
    assert len(found) == 3
    assert any("without a face" in note and "0.png" in note for note in found.notes)
    assert any("several faces" in note and "1.png" in note for note in found.notes)


def test_no_face_at_all_is_refused(make_people: MakePeople) -> None:
    with pytest.raises(UserError, match="no photo on which a face was found"):
        read_crowd(list_people(make_people(), "--data"), 24, lambda photo: [], option="--data")


def test_every_face_of_a_photo(make_people: MakePeople) -> None:
    root = make_people(people=1, photos=1)
    found = read_shots([str(root / "person000" / "0.png")], 24, lambda photo: [ONE, ONE], every_face=True)
    assert (found.rows.tolist(), found.faces.tolist()) == ([0, 0], [2, 2])


@pytest.mark.parametrize("angle", [0, 25, -40])
@pytest.mark.parametrize("size", [120, 700])
def test_alignment_brings_the_eyes_to_their_place(angle: float, size: int) -> None:
    """Two bright dots for eyes, turned and scaled: after alignment they lie at 0.32 and 0.68 across, 0.43 down."""
    y, x = np.mgrid[:size, :size]
    centre, half = np.array([0.5, 0.45]) * size, 0.12 * size
    turn = np.deg2rad(angle)
    offset = np.array([np.cos(turn), np.sin(turn)]) * half
    eyes = (centre - offset, centre + offset)
    pixels = np.zeros((size, size, 3), np.uint8)
    for number, eye in enumerate(eyes):
        pixels[(x - eye[0]) ** 2 + (y - eye[1]) ** 2 < (0.03 * size) ** 2, number] = 255
    face = Face((0, 0, size, size), (tuple(eyes[0]), tuple(eyes[1])), 1.0)  # type: ignore[arg-type]
    found = aligned(Image.fromarray(pixels), face, 112).astype(float)
    for number, wanted in enumerate(((0.32, 0.43), (0.68, 0.43))):
        weight = found[..., number]
        rows, columns = np.mgrid[:112, :112]
        place = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        assert place == pytest.approx((wanted[0] * 112, wanted[1] * 112), abs=1.2)


def test_links_out_of_the_folder_and_to_themselves_are_passed_over(make_people: MakePeople, tmp_path: Path) -> None:
    root = make_people(people=2, photos=2)
    Image.fromarray(portrait(5, 5)).save(tmp_path / "outside.png")
    (root / "person000" / "outer.png").symlink_to(tmp_path / "outside.png")
    (root / "person000" / "loop.png").symlink_to("loop.png")
    (root / "person000" / "inner.png").symlink_to("0.png")
    (root / "loop.png").symlink_to("loop.png")
    found = list_people(root, "--data")
    assert [Path(file).name for file in found.files if "person000" in file] == ["0.png", "1.png", "inner.png"]
