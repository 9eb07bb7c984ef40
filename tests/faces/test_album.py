"""Copies of photos: marked, sorted, for their owner alone, and never over anything."""

import io
import os
import stat
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image, ImageCms

from scalesearch.errors import UserError
from scalesearch.faces import drawing
from scalesearch.faces.album import (
    NO_FACE_FOLDER,
    NOBODY_KNOWN,
    box_of,
    created,
    folders_of,
    jpeg,
    new_folder,
    places_below,
    unlike,
    write_annotated,
    write_sorted,
)
from scalesearch.faces.detection import Face
from scalesearch.faces.drawing import MEMBER, OTHER, Mark, annotated, font_file
from scalesearch.faces.identification import Sighting
from scalesearch.faces.photos import NO_FACE

GREY = (120, 120, 120)
BOX = (60.0, 80.0, 120.0, 160.0)


def photo(path: Path, size: tuple[int, int] = (300, 240), **settings: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, GREY).save(path, **settings)  # type: ignore[arg-type]
    return str(path)


def seen(file: str, name: str = "", box: tuple[float, float, float, float] = BOX, face: int = 1) -> Sighting:
    return Sighting(file, face, 1, name, name or "Ann", 0.1, found=Face(box, ((70, 90), (100, 90)), 1.0))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def has(image: Image.Image, colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> bool:
    """Whether a part of an image holds a colour, as far as a JPEG keeps it."""
    return bool((np.abs(np.asarray(image.crop(box)).astype(int) - colour).max(2) < 25).any())


def test_members_and_others_are_marked_where_they_are() -> None:
    ground = Image.new("RGB", (300, 240), GREY)
    drawn = annotated(ground, [Mark(BOX, "Ann"), Mark((200, 60, 260, 140))])
    assert ground.getcolors() == [(300 * 240, GREY)]  # the photo itself stays
    for box, (line, letters), other in ((BOX, MEMBER, OTHER), ((200.0, 60.0, 260.0, 140.0), OTHER, MEMBER)):
        left, top, right, bottom = map(int, box)
        around = (left - 4, top - 30, right + 4, bottom + 4)
        assert has(drawn, line, (left - 3, top + 20, left + 3, top + 40))
        assert has(drawn, line, (right - 3, top + 20, right + 3, top + 40))
        assert has(drawn, letters, around)
        assert not has(drawn, other[0], around)
        inside = drawn.crop((left + 8, top + 8, right - 8, bottom - 8))
        assert inside.getcolors() == [(inside.width * inside.height, GREY)]


@pytest.mark.parametrize("size", [(40, 30), (250, 250), (300, 1200), (3000, 2000)])
@pytest.mark.parametrize("name", ["Ann", "", "A_name_" * 30, "Łukasz Żółć", "王小明", "a\nb"])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.8, 0.0), (0.8, 0.8), (-0.2, 0.9), (0.3, 0.4)])
def test_letters_stay_inside_the_photo(
    size: tuple[int, int], name: str, place: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    plates = []
    kept = drawing._plate
    monkeypatch.setattr(drawing, "_plate", lambda *given: plates.append(kept(*given)) or plates[-1])
    left, top = place[0] * size[0], place[1] * size[1]
    box = (left, top, left + 0.3 * size[0], top + 0.3 * size[1])
    annotated(Image.new("RGB", size, GREY), [Mark(box, name)])
    (plate,) = plates
    assert plate[0] >= 0
    assert plate[1] >= 0
    assert plate[2] <= size[0] + 0.5
    assert plate[3] <= size[1] + 0.5


def test_names_of_neighbours_do_not_cover_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    plates = []
    kept = drawing._plate
    monkeypatch.setattr(drawing, "_plate", lambda *given: plates.append(kept(*given)) or plates[-1])
    marks = [Mark((40 + 90 * place, 100, 110 + 90 * place, 190), f"Somebody_{place}") for place in range(6)]
    annotated(Image.new("RGB", (620, 300), GREY), marks)
    assert sum(drawing._shared(one, other) for one in plates for other in plates if one is not other) == 0


def test_letters_grow_with_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    kept = drawing._font
    monkeypatch.setattr(drawing, "_font", lambda file, size: sizes.append(size) or kept(file, size))
    for scale in (1, 10):
        box = (100.0 * scale, 100.0 * scale, 200.0 * scale, 220.0 * scale)
        annotated(Image.new("RGB", (400 * scale, 300 * scale)), [Mark(box, "Ann")])
    assert sizes[1] == pytest.approx(10 * sizes[0], rel=0.1)


def test_a_font_has_the_letters_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    usual = font_manager.findfont("DejaVu Sans")
    assert font_file("Łukasz Ж Ω") == (usual, True)
    other = str(Path(usual).with_name("STIXGeneral.ttf"))
    lacking = next(chr(one) for one in sorted(drawing._letters(other)) if one not in drawing._letters(usual))
    try:
        for found, expected in (([other, str(tmp_path / "gone.ttf")], (other, True)), ([], (usual, False))):
            drawing._system_fonts.cache_clear()
            font_file.cache_clear()
            monkeypatch.setattr(font_manager, "findSystemFonts", lambda found=found: found)
            assert font_file(f"A {lacking}") == expected
    finally:
        drawing._system_fonts.cache_clear()
        font_file.cache_clear()


def test_copies_keep_their_place_and_replace_nothing(tmp_path: Path) -> None:
    trip = tmp_path / "trip"
    files = [photo(trip / "day1" / "x.jpg"), photo(trip / "day2" / "x.jpg"), photo(tmp_path / "x.jpg"),
             photo(tmp_path / "other" / "x.jpg")]  # fmt: skip
    before = {file: Path(file).read_bytes() for file in files}
    places = places_below(files, [trip, files[2], files[3]])
    assert [place.as_posix() for place in places.values()] == ["day1/x.jpg", "day2/x.jpg", "x.jpg", "x.jpg"]
    out = new_folder("--annotate", tmp_path / "out", [trip])
    assert write_annotated(out, [seen(file, "Ann") for file in files], places) == 4
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    assert written == ["day1/x.jpg", "day2/x.jpg", "x (2).jpg", "x.jpg"]
    assert {file: Path(file).read_bytes() for file in files} == before
    assert {mode(path) for path in out.rglob("*.jpg")} == {0o600}
    assert {mode(path) for path in (out, out / "day1")} == {0o700}


def test_kinds_that_lose_colours_become_png(tmp_path: Path) -> None:
    files = [photo(tmp_path / "in" / name) for name in ("a.gif", "a.png", "a.tif", "b.webp")]
    out = new_folder("--annotate", tmp_path / "out", [])
    write_annotated(out, [seen(file) for file in files], places_below(files, [tmp_path / "in"]))
    assert sorted(path.name for path in out.iterdir()) == ["a (2).png", "a (3).png", "a.png", "b.webp"]
    for path in out.iterdir():
        with Image.open(path) as image:
            assert has(image.convert("RGB"), OTHER[0], (55, 75, 65, 165))


def test_a_photo_is_marked_upright_and_without_what_the_camera_noted(tmp_path: Path) -> None:
    notes = Image.Exif()
    notes[0x0112] = 6  # stored on its side
    notes[0x010F] = "A camera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = photo(tmp_path / "in" / "x.jpg", (240, 300), exif=notes, icc_profile=profile)
    out = new_folder("--annotate", tmp_path / "out", [])
    write_annotated(out, [seen(file, "Ann", (200, 80, 260, 160))], {file: PurePath("x.jpg")})
    with Image.open(out / "x.jpg") as image:
        assert image.size == (300, 240)
        assert not dict(image.getexif())
        assert image.info["icc_profile"] == profile
        assert has(image, MEMBER[0], (195, 100, 205, 140))


def test_photos_without_a_face_are_copied_and_those_that_cannot_be_read_are_not(tmp_path: Path) -> None:
    files = [photo(tmp_path / "empty.png"), str(tmp_path / "broken.png")]
    Path(files[1]).write_bytes(b"no image")
    out = new_folder("--annotate", tmp_path / "out", [])
    sightings = [Sighting(files[0], error=NO_FACE), Sighting(files[1], error="not an image")]
    assert write_annotated(out, sightings, places_below(files, files)) == 1
    with Image.open(out / "empty.png") as image:
        assert image.getcolors() == [(300 * 240, GREY)]


def test_without_a_detector_the_centred_square_is_the_face() -> None:
    assert box_of(Sighting("x"), (300, 240)) == (30, 0, 270, 240)
    assert box_of(seen("x"), (300, 240)) == BOX


def test_photos_are_sorted_by_who_is_on_them(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    files = {name: photo(photos / name) for name in ("both.jpg", "sub/both.jpg", "none.jpg", "empty.jpg", "bad.jpg")}
    Path(files["bad.jpg"]).write_bytes(b"no image")
    for number, file in enumerate(files.values()):
        os.utime(file, (1e9 + number, 1e9 + 100 * number))
    sightings = [
        seen(files["both.jpg"], "Ann"), seen(files["both.jpg"], "Bo", face=2), seen(files["both.jpg"], face=3),
        seen(files["sub/both.jpg"], "Bo"), seen(files["none.jpg"]), Sighting(files["empty.jpg"], error=NO_FACE),
        Sighting(files["bad.jpg"], error="not an image"),
    ]  # fmt: skip
    out = new_folder("--sort-into", tmp_path / "sorted", [photos])
    counts = write_sorted(out, sightings)
    assert counts == {"Ann": 1, "Bo": 2, NO_FACE_FOLDER: 2, NOBODY_KNOWN: 1}
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    assert written == [
        "Ann/both.jpg", "Bo/both (2).jpg", "Bo/both.jpg", "_no face/bad.jpg", "_no face/empty.jpg",
        "_nobody known/none.jpg",
    ]  # fmt: skip
    copy, original = out / "Bo" / "both (2).jpg", Path(files["sub/both.jpg"])
    assert copy.read_bytes() == original.read_bytes()
    assert copy.stat().st_mtime_ns == original.stat().st_mtime_ns
    assert {mode(path) for path in out.rglob("*.jpg")} == {0o600}
    assert {mode(path) for path in out.iterdir()} == {0o700}


def test_a_member_s_folder_is_not_the_one_for_nobody() -> None:
    found = folders_of([seen("a", "_NO FACE"), Sighting("b", error=NO_FACE), seen("c")])
    assert found == {"a": ("_NO FACE",), "b": ("_no face (2)",), "c": (NOBODY_KNOWN,)}


def test_a_folder_must_be_new_or_empty_and_outside_of_the_photos(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photo(photos / "x.jpg")
    (tmp_path / "empty").mkdir()
    assert new_folder("--out", tmp_path / "empty", [photos]) == tmp_path / "empty"
    assert mode(new_folder("--out", tmp_path / "a" / "new", [photos])) == 0o700
    for folder, problem in (
        (photos / "new", "it lies in"), (photos, "it lies in"), (tmp_path / "a", "something in it already"),
        (photos / "x.jpg", "it lies in"), (tmp_path / "empty" / ".." / "photos" / "y", "it lies in"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=problem):
            new_folder("--out", folder, [photos, tmp_path / "gone.jpg"])
    with pytest.raises(UserError, match="cannot be made"):
        new_folder("--out", photos / "x.jpg", [])
    (tmp_path / "link").symlink_to(photos)
    with pytest.raises(UserError, match="it lies in"):
        new_folder("--out", tmp_path / "link" / "new", [photos])


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("kept")
    with pytest.raises(UserError, match="cannot be written"), created(tmp_path / "x") as file:
        file.write(b"lost")
    assert (tmp_path / "x").read_text() == "kept"


def test_numbers_tell_names_apart_whatever_their_case() -> None:
    taken: set[str] = set()
    names = ["a.jpg", "A.JPG", "a.jpg", "a (2).jpg", "b/a.jpg"]
    assert [unlike(PurePath(name), taken).as_posix() for name in names] == [
        "a.jpg", "A (2).JPG", "a (3).jpg", "a (2) (2).jpg", "b/a.jpg",
    ]  # fmt: skip


def test_a_crop_for_a_page_is_a_small_jpeg() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(jpeg(pixels))) as image:
        assert (image.format, image.size) == ("JPEG", (128, 128))
