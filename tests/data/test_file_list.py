"""Tables of files and labels: the same as class folders, and each mistake."""

import csv
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.data.dataset import dataset, open_source
from scalesearch.data.folder import folder_source
from scalesearch.data.source import Source
from scalesearch.errors import UserError
from tests.data.pictures import noise, save, tree

ROWS = [("a/0.png", "cat"), ("a/1.png", "ant"), ("b/0.png", "cat"), ("b/1.png", "ant")]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tree(tmp_path / "set", {"a": 2, "b": 2})


def written(folder: Path, text: str | bytes, name: str = "labels.csv") -> str:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder / name)


def rows(some: list[tuple[str, ...]] = ROWS, header: str = "path,label") -> str:  # type: ignore[assignment]
    return "\n".join([header, *(",".join(row) for row in some)]) + "\n"


def pixels(source: Source) -> list[np.ndarray]:
    return [np.asarray(source.read(i)) for i in range(len(source))]


def test_a_table_gives_what_class_folders_give(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "set", {f"{part}/{name}": 5 for part in ("train", "test") for name in ("ant", "cat/a", "cat")}
    )
    save(root / "train" / "cat" / "a.png", noise(99))
    by_folder = folder_source(root)
    files = [os.path.relpath(by_folder.describe(i), root) for i in range(len(by_folder))]
    listed = [
        (file, by_folder.classes[label], part)
        for file, label, part in zip(files, by_folder.labels, by_folder.parts, strict=True)
    ]
    np.random.default_rng(0).shuffle(listed)
    by_table = open_source(written(root, rows(listed, "path,label,split")))
    assert by_table.classes == by_folder.classes == ("ant", "cat")
    assert by_table.labels.tolist() == by_folder.labels.tolist()
    assert by_table.parts == by_folder.parts
    assert by_table.name == "set-labels"
    for one, other in zip(pixels(by_table), pixels(by_folder), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = dataset(by_table, 8), dataset(by_folder, 8)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(one, part).indices, getattr(other, part).indices)


def test_labels_stay_names(images: Path) -> None:
    source = open_source(written(images, rows([("a/0.png", "10"), ("a/1.png", "2"), ("b/0.png", " 03 ")])))
    assert source.classes == ("03", "10", "2")
    assert [Path(source.describe(i)).parent.name for i in range(3)] == ["b", "a", "a"]  # ordered by class
    assert source.labels.tolist() == [0, 1, 2]
    assert source.notes == ()
    assert source.native_px == 16


@pytest.mark.parametrize(
    "header", ["File_Name;Class", "image\tcategory", '"Image Path",target', "IMG|LABELS", "x,file,label"]
)
def test_columns_and_separators(images: Path, header: str) -> None:
    separator = next(one for one in ";\t|," if one in header)
    lines = [separator.join(("7",) * (header.count(separator) - 1) + row) for row in ROWS]
    source = open_source(written(images, "\r\n".join([header, *lines])))
    assert [(Path(source.describe(i)).parent.name, source.classes[source.labels[i]]) for i in range(4)] == [
        ("a", "ant"), ("b", "ant"), ("a", "cat"), ("b", "cat"),
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_quotes(images: Path, encoding: str) -> None:
    shutil.copy(images / "a" / "0.png", images / "a" / "größe, klein.png")
    text = 'file,label\n"a/größe, klein.png","Katze\u0301"\nb/0.png,"Ka""tz, e"\n\n,\n'
    source = open_source(written(images, text.encode(encoding)))
    assert source.classes == ('Ka"tz, e', "Katzé")
    assert len(source) == 2


def test_files_elsewhere_are_read_and_said(tmp_path: Path, images: Path) -> None:
    disk = tree(tmp_path / "disk", {"x": 2})
    (images / "link.png").symlink_to(disk / "x" / "1.png")
    table = written(images, rows([(str(disk / "x" / "0.png"), "a"), ("link.png", "b"), ("../set/a/0.png", "a")]))
    source = open_source(table)
    assert source.notes == (f"2 images lie outside of {images}, in or below {disk / 'x'}",)
    assert sorted(source.describe(i) for i in range(3)) == [
        str(disk / "x" / "0.png"), str(disk / "x" / "1.png"), str(images / "a" / "0.png"),
    ]  # fmt: skip


def test_a_file_named_twice_is_taken_once(images: Path) -> None:
    (images / "again.png").symlink_to("a/0.png")
    source = open_source(written(images, rows([*ROWS, ("./a/0.png", "cat"), ("again.png", "cat")])))
    assert len(source) == 4
    assert source.notes == ("2 lines name a file that an earlier line names; each is taken once",)


def test_tables_of_windows(images: Path) -> None:
    assert len(open_source(written(images, rows([("a\\0.png", "x"), ("b\\1.png", "y")])))) == 2


def test_the_digest_follows_bytes_labels_and_parts_not_the_place(tmp_path: Path, images: Path) -> None:
    first = open_source(written(images, rows())).digest
    assert open_source(written(images, rows(ROWS[::-1]))).digest == first
    copy = shutil.copytree(images, tmp_path / "copy")
    assert open_source(str(copy / "labels.csv")).digest == first
    other = [("a/0.png", "ant"), *ROWS[1:]]
    parts = [(*row, "train") for row in ROWS]
    digests = {first, open_source(written(images, rows(other))).digest}
    digests.add(
        open_source(
            written(images, rows([*parts[:2], *((*row, "test") for row in ROWS[2:])], "path,label,split"))
        ).digest
    )
    save(images / "b" / "1.png", noise(77))
    digests.add(open_source(written(images, rows())).digest)
    assert len(digests) == 4


def test_digests_that_are_kept_of_other_files_stay(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scalesearch.data import digests

    monkeypatch.setattr(digests, "SETTLED_NS", -3_600_000_000_000)
    folder_source(images)
    open_source(written(images, rows(ROWS[:3])))
    monkeypatch.setattr(digests, "_hashed", lambda path: pytest.fail(f"{path} was hashed again"))
    folder_source(images)


def test_a_source_survives_pickling(images: Path) -> None:
    source = open_source(written(images, rows()))
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(np.asarray(again.read(3)), np.asarray(source.read(3)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column is known to hold the image's file; there are none"),
        ("path,label\n", "no line below its header"),
        ("id,label\n1,a\n", "the image's file; there are 'id', 'label'. Call it path, file"),
        ("path,y\na,b\n", "no column is known to hold the label"),
        ("path,label,class\na/0.png,x,y\n", "'label' and 'class' could each hold the label"),
        ("file,image,label\na,b,c\n", "'file' and 'image' could each"),
        ("path,label,label\na/0.png,x,y\n", "'label' and 'label' could each"),
        ("path,label\na/0.png,x,y\n", "line 2 has 3 cells, the header 2"),
        ("path,label\na/0.png,x\na/1.png\n", "line 3 has 1 cell, "),
        ('path,label\na/0.png,"x\n', "line 3 is no line of a CSV|line 2 is no line of a CSV"),
        ("path,label\na/0.png,x\nno.png,y\n-.png,y\n", r"2 of 3 lines name no file that is there \(no.png in line 3"),
        ("path,label\na/0.png,x\n,y\n", "an empty cell in line 3"),
        ("path,label\na,x\nb/0.png,y\n", "name a folder, pipe or device"),
        ("path,label\na/0.png,x\nlabels.csv,y\n", r"1 of 2 lines name no image that is read here \(.csv 1\)"),
        ("path,label\na/0.png,x\na/1.png,\nb/0.png,y\n", r"1 of 3 images have no label \(line 3\)"),
        ("path,label\na/0.png,x\na/1.png,x\n", "only one class"),
        ("path,label\na/0.png,x\n./a/0.png,y\n", "a/0.png has two labels: 'x' in line 2, 'y' in line 3"),
        ("path,label,split\na/0.png,x,train\na/0.png,x,test\n", "has two parts"),
        ("path,label,split\na/0.png,x,train\na/1.png,y,fold7\n", r"are of no part that is known: 'fold7' \(line 3\)"),
        ("path,label,split\na/0.png,x,train\na/1.png,y,\n", r"are of no part that is known: '' \(line 3\)"),
        ("path,label,split\na/0.png,x,dev\na/1.png,y,val\n", "a part has two names"),
        ("path,label,split\na/0.png,x,val\na/1.png,y,test\n", "there is test and val but no train"),
        ("path,label,set\na/0.png,x,train\na/1.png,y,train\nb/0.png,X,test\n", "no class 'X', which is in test. .*'x'"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_message(images: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_source(written(images, text))


def test_a_table_that_is_not_text(images: Path) -> None:
    with pytest.raises(UserError, match="line 2 is not in UTF-8"):
        open_source(written(images, "path,label\ngröße.png,x\n".encode("latin-1")))
    with pytest.raises(UserError):
        open_source(written(images, b"path,label\n\0\0,x\n"))


def test_parts_by_other_names(images: Path) -> None:
    some = [(*row, part) for row, part in zip(ROWS, ("Training", "train-ing", "TESTING", "testing"), strict=True)]
    source = open_source(written(images, rows(some, "path,label,Subset"), "labels.TSV"))
    assert source.parts == ("train", "train", "test", "test")


def test_broken_images_are_named_when_decoded(images: Path) -> None:
    (images / "a" / "0.png").write_bytes(b"no image")
    from scalesearch.data.cache import cached

    source = open_source(written(images, rows()))
    with pytest.raises(UserError, match="1 of 4 cannot be decoded"):
        cached(source, np.arange(4), 8, images / "cache")


def test_a_table_of_many_columns_of_text(images: Path) -> None:
    with (images / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["note", "path", "label"])
        table.writerows((f'"{n}", and\nmore', *row) for n, row in enumerate(ROWS))
    assert len(open_source(str(images / "labels.csv"))) == 4


def test_pictures_of_kinds_that_are_not_read(images: Path) -> None:
    (images / "a" / "x.psd").write_bytes(b"8BPS")
    with pytest.raises(UserError, match="Convert them to JPEG"):
        open_source(written(images, rows([*ROWS, ("a/x.psd", "cat")])))
    Image.new("RGB", (4, 4)).save(images / "plain", "PNG")
    assert len(open_source(written(images, rows([*ROWS, ("plain", "cat")])))) == 5
