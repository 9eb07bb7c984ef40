"""One listing for data folders, predictions and people: what is used, and what is said about the rest."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import features

from scalesearch.data.folder import folder_source
from scalesearch.data.formats import ENDINGS, format_of, readable_endings
from scalesearch.data.listing import SYSTEM_NAMES, Folder, LeftOut, Reason, listed, notes, root_of
from scalesearch.errors import UserError
from scalesearch.faces.photos import list_people
from scalesearch.training.evaluation import image_files
from tests.data.pictures import noise, save, tree

FOREIGN = (
    "__MACOSX/0.png", "@eaDir/0.png", ".ipynb_checkpoints/0.png", ".thumbnails/0.png", "._0.png", "#recycle/0.png",
    "$RECYCLE.BIN/0.png", "lost+found/0.png", "Thumbs.db", "desktop.ini",
)  # fmt: skip


def below(folder: Folder) -> list[str]:
    return [one.path for one in folder.images()]


def left(folder: Folder) -> dict[str, Reason]:
    return {one.path: one.reason for one in folder.everything_left_out()}


def scatter(folder: Path) -> None:
    """What other programs leave, a picture in each."""
    for name in FOREIGN:
        save(folder / Path(name).with_suffix(".png"), noise(1)).rename(folder / name)


def test_foreign_entries_are_used_by_none_and_said_by_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path / "set", {"a": 2, "b": 2})
    scatter(root)
    scatter(root / "a")
    source, people = folder_source(root), list_people(root, "--data")
    with caplog.at_level(logging.WARNING, "scalesearch"):
        files = image_files([str(root)])
    assert len(source) == len(people.files) == len(files) == 4
    assert people.names == source.classes == ("a", "b")
    said = (
        "left out as what other programs left: 14 (#recycle, $RECYCLE.BIN, @eaDir and 11 more)",
        "left out as hidden: 6 (._0.png, .ipynb_checkpoints, .thumbnails and 3 more)",
    )
    assert source.notes == people.notes == said
    assert [record.getMessage() for record in caplog.records] == [f"Note: {line}" for line in said]


def test_a_hidden_folder_that_is_named_is_used(tmp_path: Path) -> None:
    root = tree(tmp_path / ".cache" / "@eaDir", {"a": 1, "b": 1})
    assert len(folder_source(root)) == len(image_files([str(root)])) == 2
    assert image_files([str(save(tmp_path / ".hidden.png", noise(0)))]) == [str(tmp_path / ".hidden.png")]


@pytest.mark.parametrize("ending", sorted(set(ENDINGS) - {".heic", ".heif", ".hif"}))
def test_every_ending_is_listed_and_read(tmp_path: Path, ending: str) -> None:
    kind = ENDINGS[ending]
    if ending not in readable_endings():
        pytest.skip(f"Pillow here cannot read {kind}")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        noise(0).save(tmp_path / name / f"X{ending.upper()}", kind)
        noise(0).save(tmp_path / name / "without", "BMP" if kind == "DIB" else kind)  # a DIB begins like nothing else
    source = folder_source(tmp_path)
    assert len(source) == 4
    assert all(source.read(i).size == (20, 16) for i in range(4))
    assert source.notes == ()


def test_pillow_here_reads_what_people_have() -> None:
    assert {".jpg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".gif", ".bmp"} <= readable_endings()
    assert (".avif" in readable_endings()) == features.check("avif")


def test_pictures_that_are_not_read_are_counted_by_ending(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 2, "b": 1})
    for name in ("IMG_1.CR2", "IMG_2.cr2", "film.mp4"):
        (root / "a" / name).write_bytes(b"?")
    (root / "a" / "list.txt").write_text("?")
    (root / "a" / "README").write_text("no image")
    (root / "b" / "deep").mkdir()
    save(root / "loose.png", noise(0))
    source = folder_source(root)
    assert len(source) == 3
    assert source.notes == (
        "3 pictures of kinds not read here left out (.cr2 2, .mp4 1): a/IMG_1.CR2, a/IMG_2.cr2, a/film.mp4",
        "1 image in no class folder left out: loose.png",
        "2 files with other endings left out (without an ending 1, .txt 1): a/README, a/list.txt",
        "1 folder without images left out: b/deep",
    )


def test_heic_is_read_or_says_how(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 1, "b": 1})
    start = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
    for name in ("IMG.HEIC", "IMG"):
        (root / "a" / name).write_bytes(start)
    if ".heic" in readable_endings():
        assert len(folder_source(root)) == 4
    else:
        (note,) = folder_source(root).notes
        assert note.startswith("2 pictures of kinds not read here")
        assert "pip install 'scalesearch[heic]'" in note


def test_a_class_without_images_says_what_it_holds(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": 1, "b": 1, "elsewhere/c": 3})
    outside = tree(tmp_path / "out", {"": 2})
    (root / "linked").mkdir()
    for name in ("0.png", "1.png"):
        (root / "linked" / name).symlink_to(outside / name)
    with pytest.raises(UserError, match=r"linked: .*2 links that are not followed \(linked/0.png, linked/1.png"):
        folder_source(root)
    assert len(folder_source(root, tmp_path / "out")) == 7


@pytest.mark.parametrize("name", ["test", "Training", "train", "val_images"])
@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "set/a"])
def test_a_linked_part_is_refused(tmp_path: Path, name: str, target: str) -> None:
    root = tree(tmp_path / "set", {"a": 3, "b": 3})
    tree(tmp_path / "elsewhere", {"a": 1, "b": 1})
    (root / name).symlink_to(tmp_path / target)
    with pytest.raises(UserError, match=f"{name} is a link that is not followed, so the .* part would be missing"):
        folder_source(root)


def test_a_linked_part_is_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"train/a": 3, "train/b": 3})
    tree(tmp_path / "elsewhere", {"a": 1, "b": 2})
    (root / "test").symlink_to(tmp_path / "elsewhere")
    source = folder_source(root, tmp_path)
    assert source.parts == ("train",) * 6 + ("test",) * 3
    assert source.describe(6) == str(root / "test" / "a" / "0.png")
    assert source.notes == ()
    with pytest.raises(UserError, match="is a link that is not followed"):
        folder_source(root, tmp_path / "set")
    with pytest.raises(UserError, match="no folder"):
        folder_source(root, tmp_path / "nowhere")


def test_people_are_listed_by_the_same_rules(tmp_path: Path) -> None:
    root = tree(tmp_path / "people", {"ann": 2, "bob": 2, "@eaDir/ann": 1})
    (root / "nobody" / "deep").mkdir(parents=True)
    noise(0).save(root / "ann" / "a.jfif", "JPEG")
    noise(0).save(root / "ann" / "without", "PNG")
    (root / "ann" / "b.cr2").write_bytes(b"?")
    tree(tmp_path / "elsewhere", {"cid": 2})
    (root / "cid").symlink_to(tmp_path / "elsewhere" / "cid")
    found = list_people(root, "--data")
    assert [found.below(file) for file in found.files[:4]] == ["ann/0.png", "ann/1.png", "ann/a.jfif", "ann/without"]
    assert found.names == ("ann", "bob")
    assert found.notes == (
        "1 folder without photos: nobody",
        f"1 link to folders or out of {root} not followed: cid",
        "1 picture of kinds not read here left out (.cr2 1): ann/b.cr2",
        "1 folder without images left out: nobody/deep",
        "left out as what other programs left: 1 (@eaDir)",
    )
    assert list_people(root, "--data", tmp_path).names == ("ann", "bob", "cid")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": 1, "b": 1})
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to("self")
    (root / "b" / "across").symlink_to(root / "a")
    found = listed(root_of(root, tmp_path))
    assert below(found) == ["a/0.png", "b/0.png", "b/across/0.png"]
    assert left(found) == {
        "a/self": Reason.LINK, "a/up": Reason.LINK, "b/across/self": Reason.LINK, "b/across/up": Reason.LINK,
    }  # fmt: skip


def test_a_folder_beside_the_root_is_not_inside_it(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", {"a": 1})
    tree(tmp_path / "set2", {"b": 1})
    (root / "b.png").symlink_to(tmp_path / "set2" / "b" / "0.png")
    assert left(listed(root_of(root))) == {"b.png": Reason.LINK}


def test_notes_name_few_and_count_all() -> None:
    paths = [LeftOut(f"{i:02d}.txt", Reason.ENDING) for i in range(30)]
    (note,) = notes(paths, "root")
    assert note == "30 files with other endings left out (.txt 30): 00.txt, 01.txt, 02.txt and 27 more"


@pytest.mark.parametrize("name", sorted(SYSTEM_NAMES))
def test_names_of_systems_are_known_in_any_case(tmp_path: Path, name: str) -> None:
    tree(tmp_path / name.upper(), {"": 1})
    assert left(listed(root_of(tmp_path))) == {name.upper(): Reason.SYSTEM}


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_first_bytes_never_fail(start: bytes) -> None:
    assert format_of(start) in ("", *ENDINGS.values())


@pytest.mark.parametrize("text", ["BMW is a brand of cars", "P5: see below", "RIFF", "P7 x", "ftyp", "II* notes"])
def test_texts_are_no_images(text: str) -> None:
    assert format_of(text.encode()) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a.png", ".h.png", "x.txt", "n", "Thumbs.db", "d/a.png", ".d/a.png", "d/e/b.JPG"])))
def test_each_entry_is_used_or_left_out_once(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("any")
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
    found = listed(root_of(root))
    tops = {name.split("/")[0] if name.startswith(".") else name for name in names}
    assert sorted(
        [*below(found), *(path for path in left(found) if not (root / path).is_dir() or path == ".d")]
    ) == sorted(tops)


def test_an_image_is_named_by_the_link_and_known_by_its_target(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 1})
    (root / "a" / "other.png").symlink_to("0.png")
    first, other = listed(root_of(root)).images()
    assert first.identity == other.identity
    assert first.identity[0] == os.stat(root / "a" / "0.png").st_size
    assert other.path == "a/other.png"
