"""Faces found whichever way up, mapped back onto the photo, and cut out as a template has them."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scalesearch.faces.detection import (
    ARCFACE,
    BOX,
    CLOSE,
    DLIB,
    LARGEST_SIDE,
    TEMPLATES,
    Detector,
    Face,
    Point,
    Template,
    aligned,
    detector,
    moved,
    similarity,
    to_photo,
)
from scalesearch.faces.photos import Framing, read_shots

SIZE = 112
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))  # of eyes, nose, corners of the mouth
complexes = st.complex_numbers(max_magnitude=1e3, allow_nan=False, allow_infinity=False)


def as_complex(points: Any) -> np.ndarray:
    values = np.asarray(points, dtype=float)
    return values[:, 0] + 1j * values[:, 1]


def placed(template: Template, turn: complex, shift: complex) -> tuple[Point, ...]:
    """The template's points turned, scaled and moved."""
    return tuple((float(z.real), float(z.imag)) for z in turn * as_complex(template.points) + shift)


def face_at(points: tuple[Point, ...], box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Face:
    return Face(box, points, 1.0)


def on_crop(face: Face, template: Template, size_px: int = SIZE) -> np.ndarray:
    """Where the face's points lie on the crop, as shares of its side: complex."""
    matrix = to_photo(face, size_px, template)
    back = np.linalg.inv(matrix[:, :2])
    return as_complex((back @ (np.array(face.points).T - matrix[:, 2:])).T) / size_px


turns = st.builds(lambda size, angle: size * np.exp(1j * angle), st.floats(3.0, 3000.0), st.floats(-np.pi, np.pi))


@given(st.lists(complexes, min_size=2, max_size=7), turns, complexes)
def test_a_known_similarity_is_recovered(points: list[complex], turn: complex, shift: complex) -> None:
    given = np.array(points)
    spread = np.abs(given - given.mean()).max()
    if spread < 1e-3:
        given = given + np.arange(len(given))
    found, moved_by = similarity(given, turn * given + shift)
    assert found == pytest.approx(turn, rel=1e-6)
    assert found * given + moved_by == pytest.approx(turn * given + shift, abs=1e-4 * abs(turn))


@given(turns, complexes, st.sampled_from([ARCFACE, DLIB, CLOSE]))
def test_the_five_points_land_on_the_template(turn: complex, shift: complex, template: Template) -> None:
    face = face_at(placed(ARCFACE, turn, shift))
    nearest = on_crop(face, ARCFACE)
    assert nearest == pytest.approx(as_complex(ARCFACE.points), abs=1e-6)
    own = face_at(placed(template, turn, shift))
    assert on_crop(own, template) == pytest.approx(as_complex(template.points), abs=1e-6)


@given(
    st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)), min_size=5, max_size=5), turns,
    st.sampled_from([ARCFACE, DLIB, CLOSE]),
)  # fmt: skip
def test_no_other_cut_brings_the_template_nearer_to_the_points(
    noise: list[Point], turn: complex, template: Template
) -> None:
    """Least squares on the photo, as NumPy solves them for (a, b, c, d) of x' = ax − by + c, y' = bx + ay + d."""
    points = np.array(ARCFACE.points) + np.array(noise)
    face = face_at(placed(Template(tuple((x, y) for x, y in points)), turn, 0))
    x, y = SIZE * np.array(template.points).T
    ones, zeros = np.ones(5), np.zeros(5)
    equations = np.concatenate((np.stack([x, -y, ones, zeros], axis=1), np.stack([y, x, zeros, ones], axis=1)))
    (a, b, c, d), *_ = np.linalg.lstsq(equations, np.array(face.points).T.ravel())
    expected = np.array([[a, -b, c], [b, a, d]])
    assert to_photo(face, SIZE, template) == pytest.approx(expected, abs=1e-6 * abs(turn))


@given(turns, complexes, st.sampled_from([ARCFACE, DLIB, CLOSE]))
def test_two_eyes_are_the_fallback(turn: complex, shift: complex, template: Template) -> None:
    """A face of two points, or a template of two: the eyes land where they should, whatever else there is."""
    eyes, points = Template(template.points[:2]), placed(template, turn, shift)
    bent = (*points[:2], *((x + 50, y - 9) for x, y in points[2:]))
    for face, wanted in ((face_at(points[:2]), template), (face_at(bent), eyes), (face_at(points[:2]), eyes)):
        assert on_crop(face, wanted)[:2] == pytest.approx(as_complex(eyes.points), abs=1e-6)


@given(st.tuples(st.floats(-1, 2), st.floats(-1, 2)), st.floats(0.05, 1), st.floats(-1.5, 1.5))
def test_a_template_moved_has_its_eyes_there(left: Point, distance: float, angle: float) -> None:
    right = (left[0] + distance * np.cos(angle), left[1] + distance * np.sin(angle))
    found = moved(ARCFACE, (left, right))
    assert np.array(found.points[:2]) == pytest.approx(np.array([left, right]), abs=2e-6)
    turn, shift = similarity(as_complex(ARCFACE.points), as_complex(found.points))
    assert turn * as_complex(ARCFACE.points) + shift == pytest.approx(as_complex(found.points), abs=5e-6)


def test_templates_stand_upright() -> None:
    for name, template in TEMPLATES.items():
        if name != "box":
            left, right, nose, left_mouth, right_mouth = template.points
            assert left[0] < nose[0] < right[0]
            assert left[1] < nose[1] < left_mouth[1]
            assert left_mouth[0] < right_mouth[0]
    assert (BOX.points, DLIB.points[:2], CLOSE.points[:2]) == (
        (), ((0.318, 0.314), (0.668, 0.314)), ((0.32, 0.43), (0.68, 0.43))
    )  # fmt: skip
    assert 112 * np.array(ARCFACE.points[0]) == pytest.approx([38.2946, 51.6963])  # insightface's arcface_dst


def test_points_at_one_place_give_a_crop_around_them() -> None:
    photo = Image.new("RGB", (60, 60), (9, 9, 9))
    for points in (((30.0, 30.0),) * 5, ((30.0, 30.0),) * 2):
        cut = aligned(photo, face_at(points), 24, ARCFACE)
        assert cut.shape == (24, 24, 3)
        assert (cut == 9).all()


def dotted(points: tuple[Point, ...], size: tuple[int, int], radius: float) -> Image.Image:
    """A black photo with a disc of its own colour at each point."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for (across, down), colour in zip(points, COLOURS, strict=False):
        pixels[(x - across) ** 2 + (y - down) ** 2 < radius**2] = colour
    return Image.fromarray(pixels)


def discs(pixels: np.ndarray) -> tuple[Point, ...]:
    """The middle of what has each of the colours."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    found = []
    for colour in COLOURS:
        weight = (np.abs(pixels.astype(int) - colour).sum(2) < 200).astype(float)
        if weight.any():
            found.append((float((weight * columns).sum() / weight.sum()), float((weight * rows).sum() / weight.sum())))
    return tuple(found)


@pytest.mark.parametrize("angle", [0, 25, -40, 90, 180])
@pytest.mark.parametrize("scale", [60, 700])
@pytest.mark.parametrize("template", ["arcface", "dlib", "close"])
def test_what_is_seen_lies_where_the_template_says(angle: float, scale: int, template: str) -> None:
    """Discs for eyes, nose and mouth on a photo, turned and scaled: on the crop they lie at the template's places."""
    wanted = TEMPLATES[template]
    turn = scale * np.exp(1j * np.deg2rad(angle))
    middle = turn * as_complex(wanted.points).mean()
    points = placed(wanted, turn, complex(scale, scale) - middle)
    photo = dotted(points, (2 * scale, 2 * scale), 0.05 * scale)
    found = discs(aligned(photo, face_at(points), SIZE, wanted))
    assert np.array(found) == pytest.approx(SIZE * np.array(wanted.points), abs=1.0)


def test_without_a_template_the_box_is_stretched() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    face = face_at(((60, 40), (100, 40)), (40, 20, 120, 60))
    cut = aligned(Image.fromarray(ramp), face, 80, BOX)
    assert cut[0, :, 0] == pytest.approx(np.arange(40, 120), abs=1)
    beyond = aligned(Image.fromarray(ramp), face_at(((60, 40), (100, 40)), (-40, -20, 40, 20)), 80, BOX)
    assert (beyond[:38] == 0).all()
    assert (beyond[:, :38] == 0).all()
    assert beyond[41:, 60].min() > 0


def turned_point(point: Point, size: tuple[int, int], quarters: int) -> Point:
    """Where a point comes to lie when Pillow turns its photo of ``size`` so many quarters against the clock."""
    for _ in range(quarters):
        point, size = (point[1], size[0] - point[0]), (size[1], size[0])
    return point


def turned_face(face: Face, size: tuple[int, int], quarters: int) -> Face:
    corners = [turned_point(corner, size, quarters) for corner in (face.box[:2], face.box[2:])]
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    points = tuple(turned_point(point, size, quarters) for point in face.points)
    return replace(face, box=(left, top, right, bottom), points=points)


def smooth(width: int = 160, height: int = 120) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_on_its_side_gives_the_same_crop(name: str, quarters: int) -> None:
    photo = smooth()
    face = Face((40, 20, 110, 100), placed(ARCFACE, 60 * np.exp(0.2j), 40 + 25j), 1.0)
    upright = aligned(photo, face, 48, TEMPLATES[name])
    turned = aligned(
        photo.rotate(90 * quarters, expand=True), turned_face(face, photo.size, quarters), 48, TEMPLATES[name]
    )
    assert np.abs(upright.astype(int) - turned).max() <= 3
    assert upright.std() > 20


class Finder:
    """Stands in for MTCNN: sees ``dotted``'s discs as a face, but only where its eyes are level and left of right."""

    sure = 0.9999
    looked: int

    def __init__(self, **settings: Any) -> None:
        Finder.looked = 0

    def detect(self, photo: Image.Image, landmarks: bool) -> tuple[Any, Any, Any]:
        Finder.looked += 1
        points = discs(np.asarray(photo))
        if len(points) < 5 or points[1][0] - points[0][0] < abs(points[1][1] - points[0][1]):
            return None, [None], None
        across, down = zip(*points, strict=True)
        box = (min(across), min(down), max(across), max(down))
        return np.array([box]), np.array([self.sure]), np.array([points])


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> type[Finder]:
    facenet = pytest.importorskip("facenet_pytorch")
    monkeypatch.setattr(facenet, "MTCNN", Finder)
    return Finder


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (2400, 1800)])
def test_points_and_boxes_are_mapped_back(finder: type[Finder], size: tuple[int, int], quarters: int) -> None:
    side = 0.5 * min(size)
    points = placed(ARCFACE, side, complex(0.1 * size[0], 0.3 * size[1]))
    photo = dotted(points, size, 0.04 * side).rotate(90 * quarters, expand=True)
    (found,) = detector()(photo)
    expected = tuple(turned_point(point, size, quarters) for point in points)
    slack = 1.5 * max(1.0, max(size) / LARGEST_SIDE)
    assert np.array(found.points) == pytest.approx(np.array(expected), abs=slack)
    across, down = zip(*expected, strict=True)
    assert np.array(found.box) == pytest.approx(np.array([min(across), min(down), max(across), max(down)]), abs=slack)
    assert finder.looked == 1 + (-quarters % 4)  # it is turned on until it is the right way up


def test_a_face_that_is_doubted_is_looked_for_the_other_ways_up_and_kept(
    finder: type[Finder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Finder, "sure", 0.97)
    points = placed(ARCFACE, 100, 50 + 50j)
    found = detector()(dotted(points, (220, 200), 5))
    assert finder.looked == 4
    assert np.array(found[0].points) == pytest.approx(np.array(points), abs=1.5)


def test_a_find_that_is_not_sure_does_not_count(finder: type[Finder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Finder, "sure", 0.94)
    assert detector()(dotted(placed(ARCFACE, 100, 50 + 50j), (220, 200), 5)) == []


@pytest.fixture(scope="module")
def detect() -> Detector:
    pytest.importorskip("facenet_pytorch")
    return detector()


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("the detector went to the network")


@pytest.mark.parametrize(
    "size", [(1, 1), (31, 31), (31, 400), (400, 31), (32, 32), (40, 4000), (4000, 33), (33, 1500), (3000, 2000)]
)
def test_photos_of_any_size_are_looked_at(
    detect: Detector, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for photo in (Image.new("RGB", size, (120, 90, 60)), Image.fromarray(noise)):
        assert detect(photo) == []


def test_no_face_where_there_is_none(detect: Detector, tmp_path: Path) -> None:
    Image.new("RGB", (200, 200)).save(tmp_path / "black.png")
    found = read_shots([str(tmp_path / "black.png")], Framing(32, detect, DLIB))
    assert (len(found.pixels), found.faceless) == (0, (str(tmp_path / "black.png"),))


def lfw(real_data: Path, number: int) -> Image.Image:
    """The first photo of one of the people, whole: 250 px, the face in the middle, nobody else on it."""
    folder = real_data / "lfw_photos" / "test"
    if not folder.is_dir():
        pytest.skip(f"no photos at {folder}")
    return Image.open(min(sorted(folder.iterdir())[ALONE[number]].iterdir())).convert("RGB")


ALONE = (0, 10, 25, 40, 60, 75)  # people on whose first photo nobody else is to be seen


Collage = tuple[Image.Image, tuple[Point, ...]]


@pytest.fixture(scope="module")
def collage(real_data: Path) -> Collage:
    """Six photos in two rows, and where their middles are."""
    photo = Image.new("RGB", (750, 500))
    corners = [(250 * (number % 3), 250 * (number // 3)) for number in range(6)]
    for number, corner in enumerate(corners):
        photo.paste(lfw(real_data, number), corner)
    return photo, tuple((x + 125.0, y + 125.0) for x, y in corners)


@pytest.fixture(scope="module")
def upright_crops(collage: Collage, detect: Detector) -> dict[Point, np.ndarray]:
    photo, middles = collage
    return {middle: aligned(photo, at(detect(photo), middle), 96, ARCFACE) for middle in middles}


def at(faces: list[Face], point: Point) -> Face:
    """The face that holds a point."""
    (found,) = (one for one in faces if one.box[0] < point[0] < one.box[2] and one.box[1] < point[1] < one.box[3])
    return found


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_collage_of_six_is_found_whichever_way_up(
    collage: Collage, upright_crops: dict[Point, np.ndarray], detect: Detector, quarters: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(socket, "create_connection", refuse)
    photo, middles = collage
    turned = photo.rotate(90 * quarters, expand=True)
    found = detect(turned)
    assert len(found) == 6
    assert [face.area for face in found] == sorted((face.area for face in found), reverse=True)
    for middle in middles:
        face = at(found, turned_point(middle, photo.size, quarters))
        crop = aligned(turned, face, 96, ARCFACE)
        assert np.corrcoef(crop.ravel(), upright_crops[middle].ravel())[0, 1] > 0.98
        eyes = [turned_point(point, turned.size, -quarters % 4) for point in face.points[:2]]
        assert eyes[0][0] < eyes[1][0]  # left on the upright photo


def test_a_face_that_leans_comes_out_as_the_upright_one(real_data: Path, detect: Detector) -> None:
    photo = lfw(real_data, 0)
    upright, leaning = (
        aligned(one, at(detect(one), (125, 125)), 112, ARCFACE)
        for one in (photo, photo.rotate(20, Image.Resampling.BICUBIC))
    )
    inside = np.s_[24:96, 24:88]
    assert np.corrcoef(upright[inside].ravel(), leaning[inside].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("side", range(4))
def test_a_face_at_the_border_is_found(real_data: Path, detect: Detector, side: int) -> None:
    """The photo cut so that the face touches the border: its points are where they were."""
    photo = lfw(real_data, 3)
    whole = at(detect(photo), (125, 125))
    edges = [0.0, 0.0, 250.0, 250.0]
    edges[side] = whole.box[side]
    left, top, right, bottom = (round(edge) for edge in edges)
    (found,) = detect(photo.crop((left, top, right, bottom)))
    assert np.array(found.points) + np.array([left, top]) == pytest.approx(np.array(whole.points), abs=6)


GREY: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey.png": lambda photo: photo.convert("L"),
    "deep.png": lambda photo: Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257),
    "clear.png": lambda photo: photo.convert("RGBA"),
    "palette.png": lambda photo: photo.convert("P"),
    "cmyk.jpg": lambda photo: photo.convert("CMYK"),
    "turned.jpg": lambda photo: photo.rotate(90, expand=True),
}


@pytest.mark.parametrize("name", GREY)
def test_photos_of_any_kind_are_read(real_data: Path, detect: Detector, tmp_path: Path, name: str) -> None:
    """Grey, 16 bits, transparent, of a palette, for print; and turned by what the camera noted."""
    photo = lfw(real_data, 4)
    exif = Image.Exif()
    exif[0x0112] = 6 if name == "turned.jpg" else 1  # to be turned a quarter with the clock
    GREY[name](photo).save(tmp_path / name, exif=exif)
    found = read_shots([str(tmp_path / name)], Framing(64, detect, ARCFACE))
    assert not found.unreadable
    assert found.pixels.dtype == np.uint8
    (face,) = found.faces
    assert face is not None
    assert np.array(face.points) == pytest.approx(np.array(at(detect(photo), (125, 125)).points), abs=4)


def test_a_huge_photo_is_found_in_its_own_pixels(real_data: Path, detect: Detector) -> None:
    photo = lfw(real_data, 4)
    small = at(detect(photo), (125, 125))
    (found,) = detect(photo.resize((4000, 4000), Image.Resampling.BICUBIC))
    assert np.array(found.points) / 16 == pytest.approx(np.array(small.points), abs=6)
    large, own = (aligned(one, face, 112, DLIB) for one, face in ((photo.resize((4000, 4000)), found), (photo, small)))
    assert np.corrcoef(large.ravel(), own.ravel())[0, 1] > 0.9
