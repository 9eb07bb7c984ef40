"""Folders of images: layouts, order, and each mistake."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.data.cache import cached
from scalesearch.data.folder import folder_source
from scalesearch.errors import UserError
from tests.data.pictures import noise, save, tree


def test_class_folders_without_parts(tmp_path: Path) -> None:
    tree(tmp_path, {"cat": 3, "ant": 2, "cat/young": 1})
    (tmp_path / ".hidden").mkdir()
    save(tmp_path / "cat" / ".hidden.png", noise(0))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    save(tmp_path / "ant" / "LOUD.PNG", noise(1))
    source = folder_source(tmp_path)
    assert source.classes == ("ant", "cat")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert set(source.parts) == {""}
    assert [source.describe(i) for i in (2, 6)] == [
        str(tmp_path / "ant" / "LOUD.PNG"),
        str(tmp_path / "cat" / "young" / "0.png"),
    ]
    assert source.native_px == 16
    assert source.notes == (
        "1 file with other endings left out (.txt 1): cat/notes.txt",
        "left out as hidden: 2 (.hidden, cat/.hidden.png)",
    )


def test_official_parts(tmp_path: Path) -> None:
    tree(tmp_path, {"train/a": 2, "train/b": 2, "Valid/a": 1, "test/b": 1, "spare/c": 1})
    source = folder_source(tmp_path)
    assert source.parts == ("train",) * 4 + ("val", "test")
    assert source.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert source.notes == ("folders beside train/ were ignored: spare",)


def test_digest_follows_names_sizes_and_labels(tmp_path: Path) -> None:
    tree(tmp_path / "one", {"a": 2, "b": 2})
    tree(tmp_path / "two", {"a": 2, "b": 2})
    first = folder_source(tmp_path / "one").digest
    assert folder_source(tmp_path / "two").digest == first
    os.replace(tmp_path / "two" / "a" / "0.png", tmp_path / "two" / "b" / "9.png")
    moved = folder_source(tmp_path / "two").digest
    save(tmp_path / "two" / "a" / "1.png", noise(50, 30, 30))
    assert len({first, moved, folder_source(tmp_path / "two").digest}) == 3


def test_links_inside_are_followed_and_others_noted(tmp_path: Path) -> None:
    outside = save(tmp_path / "outside.png", noise(0))
    root = tree(tmp_path / "set", {"a": 2, "b": 2})
    (root / "a" / "inner.png").symlink_to(root / "a" / "0.png")
    (root / "a" / "outer.png").symlink_to(outside)
    (root / "a" / "gone.png").symlink_to(tmp_path / "missing.png")
    (root / "a" / "loop").symlink_to(root)
    (root / "c").symlink_to(root / "b")
    (root / "a" / "self.png").symlink_to("self.png")
    (root / "d").symlink_to("d")
    source = folder_source(root)
    assert len(source) == 5
    assert source.classes == ("a", "b")
    assert source.notes[0].startswith("6 links to folders")
    assert source.notes[0].endswith("; --follow-links FOLDER follows those into FOLDER")


def test_pipes_are_left_out_and_not_waited_for(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 1, "b": 1})
    os.mkfifo(tmp_path / "a" / "9.png")
    os.mkfifo(tmp_path / "a" / "without_an_ending")
    source = folder_source(tmp_path)
    assert len(source) == 2
    assert source.notes == ("left out as pipes, sockets or devices: 2 (a/9.png, a/without_an_ending)",)


def test_names_that_no_encoding_holds(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 2, "b": 2})
    for name in (b"\xff.png", b"\x1b[31m.png", b"two\nlines.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/" + name)).write_bytes(b"no image")
    source = folder_source(tmp_path)
    with pytest.raises(UserError, match="3 of 7") as caught:
        cached(source, np.arange(7), 8, tmp_path / "cache")
    assert r"\x1b[31m.png" in str(caught.value)
    assert r"\udcff.png" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_source_survives_pickling(tmp_path: Path) -> None:
    source = folder_source(tree(tmp_path, {"a": 2, "b": 2}))
    again = pickle.loads(pickle.dumps(source))
    assert again.digest == source.digest
    np.testing.assert_array_equal(np.asarray(again.read(3)), np.asarray(source.read(3)))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no class folders"),
        ({"a": 1}, "one class"),
        ({"train/a": 1}, "one class"),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, "class 'c'"),
        ({"test/a": 1, "test/b": 1}, "test but no train"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "validation/a": 1}, "a part has two folders"),
    ],
)
def test_wrong_layouts(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        folder_source(tree(tmp_path, counts))


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "hollow" / "deep").mkdir(parents=True)
    with pytest.raises(UserError, match="hollow"):
        folder_source(tmp_path)


def test_images_without_class_folders(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(0))
    with pytest.raises(UserError, match="no class folders"):
        folder_source(tmp_path)


def test_missing_folder_and_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        folder_source(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no such folder"):
        folder_source("~nobody-of-that-name/images")
    with pytest.raises(UserError, match="a file"):
        folder_source(save(tmp_path / "a.png", noise(0)))


def forbid(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Folders of these names cannot be read: staged, since a superuser may read any."""
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name in names:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("name", ["b", "test", "deep", "pictures"])
def test_what_is_used_must_be_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A class, a part, a folder in a class, or all of it: its images must not be missed without a word."""
    root = tmp_path / "pictures"
    for part in ("train", "test") if name in ("test", "deep") else ("",):
        tree(root / part, {"a": 1, "b": 1, "b/deep": 1})
    forbid(monkeypatch, name)
    with pytest.raises(UserError, match=rf"{name}: (it cannot be read|the folder cannot be read|test cannot be read)"):
        folder_source(root)


def test_what_is_not_used_may_be_unreadable_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "test"):
        tree(tmp_path / part, {"a": 1, "b": 1})
    (tmp_path / "private").mkdir()
    (tmp_path / "backup").mkdir()
    forbid(monkeypatch, "private", "backup")
    source = folder_source(tmp_path)
    assert len(source) == 4
    assert "left out as not to be read by this user: 2 (backup, private)" in source.notes


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a superuser, who can become somebody else")
def test_a_folder_of_somebody_else() -> None:
    """Without staging: a process that is no superuser, and a folder of mode 0."""
    with tempfile.TemporaryDirectory() as place:  # the test's own lies below a folder that nobody else may enter
        root = Path(place)
        root.chmod(0o755)
        tree(root / "train", {"a": 1, "b": 1})
        (root / "private").mkdir(mode=0)
        code = (
            "import os, sys; from scalesearch.data.listing import listed, root_of; os.setresuid(12345, 12345, 12345)\n"
            "print([(one.path, one.reason.name) for one in listed(root_of(sys.argv[1])).everything_left_out()])"
        )
        ran = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=True)
    assert "('private', 'UNREADABLE')" in ran.stdout


def test_real_sets(real_data: Path) -> None:
    cifar = folder_source(real_data / "cifar10")
    assert (len(cifar), len(cifar.classes), cifar.native_px) == (8000, 10, 32)
    assert (cifar.parts.count("train"), cifar.parts.count("test")) == (6000, 2000)
    tiny = folder_source(real_data / "tiny_imagenet20")
    assert (tiny.parts.count("train"), tiny.parts.count("val"), tiny.native_px) == (6000, 1000, 64)


def test_digest_follows_the_pixels(tmp_path: Path) -> None:
    digests = set()
    for value in (10, 200):
        root = tmp_path / str(value) / "pics"
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (8, 8), (value, value, value)).save(root / name / f"{number}.bmp")
        digests.add(folder_source(root).digest)
    assert len(digests) == 2  # same names, same sizes
