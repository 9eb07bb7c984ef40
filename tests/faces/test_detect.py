"""The detector that comes in the package, on photos composed of real faces; nothing is downloaded."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.faces.photos import detector, read_shots


@pytest.fixture(scope="module")
def composed(real_data: Path) -> tuple[Image.Image, tuple[tuple[int, int], ...]]:
    """Three faces of one size on a background of leaves, and where their middles are."""
    faces = [min(folder.iterdir()) for folder in sorted((real_data / "lfw_faces" / "train").iterdir())[:40:16]]
    photo = Image.new("RGB", (640, 420), (90, 120, 80))
    corners = ((30, 40), (250, 200), (470, 60))
    for file, corner in zip(faces, corners, strict=True):
        photo.paste(Image.open(file).resize((140, 140)), corner)
    return photo, tuple((x + 70, y + 70) for x, y in corners)


def test_every_face_is_found_where_it_is(
    composed: tuple[Image.Image, tuple[tuple[int, int], ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the detector went to the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    photo, middles = composed
    found = detector()(photo)
    assert len(found) == 3
    for x, y in middles:
        assert any(face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3] for face in found)
    assert [face.area for face in found] == sorted((face.area for face in found), reverse=True)
    assert all(face.eyes[0][0] < face.eyes[1][0] for face in found)


def test_no_face_where_there_is_none(tmp_path: Path) -> None:
    detect = detector()
    assert detect(Image.new("RGB", (200, 200), (120, 90, 60))) == []
    assert detect(Image.new("RGB", (12, 12))) == []
    Image.new("RGB", (200, 200)).save(tmp_path / "black.png")
    found = read_shots([str(tmp_path / "black.png")], 32, detect)
    assert (len(found.pixels), found.faceless) == (0, (str(tmp_path / "black.png"),))


def test_a_turned_face_comes_out_as_the_upright_one(real_data: Path) -> None:
    detect = detector()
    file = min(min((real_data / "lfw_faces" / "train").iterdir()).iterdir())
    canvas = Image.new("RGB", (300, 300), (110, 110, 110))
    canvas.paste(Image.open(file).resize((150, 150)), (75, 75))
    upright = read(canvas, detect)
    turned = read(canvas.rotate(20, Image.Resampling.BICUBIC), detect)
    inside = np.s_[24:88, 24:88]
    assert np.corrcoef(upright[inside].ravel(), turned[inside].ravel())[0, 1] > 0.85


def read(photo: Image.Image, detect: object) -> np.ndarray:
    from scalesearch.faces.photos import aligned

    return aligned(photo, detect(photo)[0], 112)  # type: ignore[operator]
