"""A set of strangers: who is in it, in which order, and crops in which nobody else is found."""

import io
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scalesearch.faces.detection import Detector, Face
from scalesearch.faces.drawing import Box
from scalesearch.faces.identification import Sighting
from scalesearch.faces.stranger_set import SURE, cut_out, grouped, not_members, write_groups

RED, BLUE = (250, 0, 0), (0, 0, 250)
LIMIT = 0.1


def seen(file: str, distance: float, way: int, face: int = 1, box: Box = (0.0, 0.0, 40.0, 40.0)) -> Sighting:
    """A face whose vector points one of eight ways."""
    found = Face(box, ((10, 10), (30, 10)), 1.0)
    vector = np.eye(8, dtype=np.float32)[way]
    return Sighting(file, face, 1, "", "Ann", distance, found=found, vector=vector)


def colours(*wanted: tuple[int, int, int]) -> Detector:
    """A detector of patches of these colours, the largest first."""

    def detect(photo: Image.Image) -> list[Face]:
        pixels = np.asarray(photo).astype(int)
        faces = []
        for colour in wanted:
            rows, columns = np.nonzero(np.abs(pixels - colour).max(2) < 60)
            if len(rows) > 20:
                box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
                faces.append(Face(box, ((box[0], box[1]), (box[2], box[1])), 1.0))
        return sorted(faces, key=lambda face: -face.area)

    return detect


def painted(patches: dict[tuple[int, int, int], Box], size: tuple[int, int] = (400, 300)) -> Image.Image:
    """A photo with patches for faces, black in their middle, so that their mean is another colour."""
    photo = Image.new("RGB", size, (90, 90, 90))
    for colour, (left, top, right, bottom) in patches.items():
        photo.paste(colour, (int(left), int(top), int(right), int(bottom)))
        photo.paste((0, 0, 0), (int(left) + 8, int(top) + 8, int(right) - 8, int(bottom) - 8))
    return photo


def opened(content: bytes | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_only_faces_far_nearer_than_the_limit_are_left_out() -> None:
    faces = [seen("a", SURE * LIMIT - 1e-6, 0), seen("b", SURE * LIMIT, 0), seen("c", 3.0, 0), Sighting("d", error="x")]
    assert [one.file for one in not_members(faces, LIMIT)] == ["b", "c"]


def test_groups_stand_by_their_nearness_to_a_member() -> None:
    faces = [seen("a", 0.5, 0), seen("b", 0.3, 0), seen("c", 0.2, 1), seen("d", 0.09, 2), seen("e", 0.4, 2)]
    found = grouped(faces, LIMIT, alike=0.1)
    assert [(one.folder, one.doubtful, [face.file for face in one.faces]) for one in found] == [
        ("doubt001", True, ["d", "e"]), ("stranger001", False, ["c"]), ("stranger002", False, ["b", "a"]),
    ]  # fmt: skip
    assert found[0].to_dict()["nearest"] == "Ann"
    assert grouped([], LIMIT, 0.1) == []


def test_a_face_is_cut_out_with_its_surroundings_as_far_as_the_photo_goes() -> None:
    cut = opened(cut_out(painted({RED: (180, 120, 220, 180)}), (180, 120, 220, 180), [], colours(RED)))
    assert cut.size == (120, 180)
    cut = opened(cut_out(painted({RED: (0, 0, 40, 40)}), (0, 0, 40, 40), [], colours(RED)))
    assert cut.size == (80, 80)


def test_a_large_face_s_crop_is_reduced() -> None:
    cut = opened(cut_out(painted({RED: (1000, 1000, 2000, 2000)}, (4000, 4000)), (1000, 1000, 2000, 2000), [],
                         colours(RED)))  # fmt: skip
    assert cut.size == (1024, 1024)


@pytest.mark.parametrize("told", [True, False])
def test_others_beside_a_face_are_painted_over_even_where_they_are_larger(told: bool) -> None:
    own, other = (150.0, 100.0, 190.0, 140.0), (200.0, 80.0, 280.0, 180.0)
    detect = colours(RED, BLUE)
    cut = opened(cut_out(painted({RED: own, BLUE: other}), own, [other] if told else [], detect))
    (face,) = detect(cut)
    assert np.asarray(cut)[int(face.box[1]) + 5, int(face.box[0]) + 5].tolist() == pytest.approx(RED, abs=40)


def test_a_face_that_cannot_be_found_again_is_not_cut_out() -> None:
    photo = painted({RED: (100, 100, 140, 140)})
    assert cut_out(photo, (100, 100, 140, 140), [], lambda _: []) is None
    elsewhere = Face((0.0, 0.0, 10.0, 10.0), (), 1.0)
    assert cut_out(photo, (100, 100, 140, 140), [], lambda _: [elsewhere]) is None


def test_a_box_beyond_the_photo_is_cut_to_it() -> None:
    photo = painted({RED: (0, 0, 40, 60), BLUE: (60, 0, 90, 30)})
    cut = opened(cut_out(photo, (-10.0, -10.0, 40.0, 60.0), [(60.0, -20.0, 90.0, 30.0)], colours(RED, BLUE)))
    assert len(colours(RED, BLUE)(cut)) == 1


def test_folders_hold_crops_for_their_owner_alone(tmp_path: Path) -> None:
    boxes: Sequence[Box] = ((20, 20, 60, 60), (200, 100, 260, 160))
    photo = painted({RED: boxes[0], BLUE: boxes[1]})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        photo.save(tmp_path / name / "x.png")
    files = [str(tmp_path / name / "x.png") for name in ("a", "b")]
    faces = [seen(file, 0.5, way, way + 1, boxes[way]) for file in files for way in (0, 1)]
    member = seen(files[0], 0.01, 2, 3, (300, 200, 340, 240))
    found = grouped(faces, LIMIT, 0.1)
    told: list[Any] = []
    written = write_groups(tmp_path / "out", found, [*faces, member], colours(RED, BLUE), lambda *one: told.append(one))
    assert (len(written.groups), written.lost, told) == (2, 0, [(1, 2), (2, 2)])
    crops = sorted((tmp_path / "out").rglob("*.jpg"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in crops] == [
        "stranger001/x (2).jpg", "stranger001/x.jpg", "stranger002/x (2).jpg", "stranger002/x.jpg",
    ]  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in crops} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in crops} == {0o700}
    for path in crops:
        assert len(colours(RED, BLUE)(Image.open(path).convert("RGB"))) == 1


def test_faces_that_are_lost_and_photos_that_are_gone_are_counted(tmp_path: Path) -> None:
    painted({RED: (20, 20, 60, 60)}).save(tmp_path / "x.png")
    faces = [seen(str(tmp_path / "x.png"), 0.5, 0, box=(20, 20, 60, 60)), seen(str(tmp_path / "gone.png"), 0.5, 1)]
    written = write_groups(tmp_path / "out", grouped(faces, LIMIT, 0.1), faces, colours(RED))
    assert ([one.folder for one in written.groups], written.lost) == (["stranger001"], 1)


def test_without_a_detector_the_photo_is_kept_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    face = Sighting(str(tmp_path / "x.png"), 1, 1, "", "Ann", 0.5, vector=np.eye(8, dtype=np.float32)[0])
    write_groups(tmp_path / "out", grouped([face], LIMIT, 0.1), [face], None)
    with Image.open(tmp_path / "out" / "stranger001" / "x.png") as kept:
        assert np.array_equal(np.asarray(kept), pixels)


def test_real_faces_are_found_again_beside_others(real_data: Path) -> None:
    from scalesearch.faces.bodies import face_body
    from scalesearch.faces.detection import aligned, detector

    folders = sorted((real_data / "lfw_photos" / "test").iterdir())[:3]
    photo = Image.new("RGB", (560, 250))
    for place, folder in enumerate(folders):
        photo.paste(Image.open(min(folder.iterdir())).crop((40, 0, 220, 250)), (190 * place, 0))
    detect, model = detector(), face_body()
    faces = detect(photo)
    assert len(faces) == 3

    def vector(image: Image.Image, face: Face) -> np.ndarray:
        import torch

        crop = aligned(image, face, model.card.size_px, model.card.template)
        return model.vectors(np.stack([crop]), torch.device("cpu"))[0]

    for face in faces:
        cut = opened(cut_out(photo, face.box, [one.box for one in faces if one is not face], detect))
        (again,) = detect(cut)
        assert 2 - 2 * float(vector(photo, face) @ vector(cut, again)) < 0.03
