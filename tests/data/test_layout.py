"""Folders as people have them: parts by many names, and what only looks like classes."""

import re
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.data.folder import folder_source
from scalesearch.data.layout import part_of
from scalesearch.data.source import class_counts
from scalesearch.errors import UserError
from tests.data.pictures import tree

TRAIN = ("train", "Training", "train_set", "training set", "TRAINING-SET", "x_train", "X-Train", "seg_train",
         "train_images", "images_train", "trainset", "Train Data")  # fmt: skip
VAL = ("val", "valid", "Validation", "dev", "val_images", "seg_val", "x_valid", "validation-set", "devset")
TEST = ("test", "Testing", "test_set", "x_test", "seg_test", "test_images", "testing set", "Test Data")
NEITHER = ("trainer", "strain", "rain", "tests_old", "seg_pred", "contest", "valley", "device", "latest", "train2",
           "value", "training wheels", "", "-", "untrained", "train_test", "train_masks", "spare")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for names, part in ((TRAIN, "train"), (VAL, "val"), (TEST, "test"), (NEITHER, "")) for name in names],
)
def test_names_of_parts(name: str, part: str) -> None:
    assert part_of(name) == part


@given(st.text(max_size=30))
def test_any_name_is_a_part_or_none(name: str) -> None:
    assert part_of(name) in ("train", "val", "test", "")


@pytest.mark.parametrize(("train", "test"), [(a, b) for a, b in zip(TRAIN, TEST + TEST[:4], strict=True)])
def test_parts_by_many_names(tmp_path: Path, train: str, test: str) -> None:
    source = folder_source(tree(tmp_path, {f"{train}/a": 3, f"{train}/b": 2, f"{test}/a": 1, f"{test}/b": 1}))
    assert source.classes == ("a", "b")
    assert source.parts == ("train",) * 5 + ("test",) * 2
    assert source.notes == ()
    assert class_counts(source) == {"a": 4, "b": 3}


def test_a_part_inside_a_part_of_its_name(tmp_path: Path) -> None:
    counts = {
        "seg_train/seg_train/a": 2,
        "seg_train/seg_train/b": 2,
        "seg_test/seg_test/a": 1,
        "seg_test/seg_test/b": 1,
    }
    source = folder_source(tree(tmp_path, {**counts, "seg_pred/seg_pred": 3}))
    assert source.classes == ("a", "b")
    assert source.parts == ("train",) * 4 + ("test",) * 2
    assert source.notes == ("folders beside train/ were ignored: seg_pred",)


def refused(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        folder_source(root)
    return str(caught.value)


def test_parts_one_level_down_are_suggested(tmp_path: Path) -> None:
    counts = {"archive/train/a": 2, "archive/train/b": 2, "archive/test/a": 1, "archive/test/b": 1, "annotations": 1}
    message = refused(tree(tmp_path, counts))
    assert "the parts are one level down, in archive/ (test/, train/)" in message
    assert message.endswith(f"--data {tmp_path / 'archive'}")
    assert len(folder_source(tmp_path / "archive")) == 6
    shutil.rmtree(tmp_path / "annotations")  # alone, too
    assert "the parts are one level down" in refused(tmp_path)


def test_parts_below_classes_are_refused(tmp_path: Path) -> None:
    message = refused(tree(tmp_path, {f"{name}/{part}": 2 for name in ("cat", "dog") for part in ("train", "test")}))
    assert "cat/, dog/ hold folders of parts (test/, train/)" in message


@pytest.mark.parametrize(
    "names", [("First", "Second"), ("day", "night", "dusk"), ("images", "pictures"), ("seg_pred", "fold1")]
)
def test_folders_of_the_same_folders_look_like_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    message = refused(tree(tmp_path, {f"{part}/{name}": 2 for part in names for name in ("a", "b")}))
    assert "hold the same folders (a, b): they look like parts of a set" in message


@pytest.mark.parametrize(
    "counts",
    [
        {"cat/young": 1, "cat/old": 1, "dog/puppy": 1, "dog/old": 1},  # one name in common
        {"cat/young": 1, "cat/old": 1, "dog": 2},
        {"cat": 1, "cat/young": 1, "cat/old": 1, "dog": 1, "dog/young": 1, "dog/old": 1},  # pictures of their own
        {"cat/a": 1, "cat/b": 1, "cat/c": 1, "cat/d": 1, "dog/a": 1, "dog/b": 1, "dog/e": 1},  # 2 of 5
        {"bus": 2, "train": 2, "car": 2},
        {"training": 2, "match": 2},
        {"dev": 2, "ops": 2},
        {"images": 2, "masks": 1, "masks/deep/er": 1},
        {"mask": 2, "no_mask": 2},
    ],
)
def test_what_are_classes_stay_classes(tmp_path: Path, counts: dict[str, int]) -> None:
    if "masks" in counts:
        counts = {"images": 1, "posters": 1}
    source = folder_source(tree(tmp_path, counts))
    assert source.classes == tuple(sorted({name.split("/")[0] for name in counts}))
    assert set(source.parts) == {""}
    assert len(source) == sum(counts.values())


@pytest.mark.parametrize(("pictures", "masks"), [("images", "masks"), ("Image", "Labels"), ("JPEGImages", "Seg")])
@pytest.mark.parametrize("inner", ["", "/x"])
@pytest.mark.parametrize("part", ["", "train/"])
def test_pictures_beside_masks_are_refused(tmp_path: Path, pictures: str, masks: str, inner: str, part: str) -> None:
    tree(tmp_path, {f"{part}{pictures}{inner}": 4, f"{part}{masks}{inner}": 3})
    for file in (tmp_path / f"{part}{masks}{inner}").iterdir():
        file.rename(file.with_name(f"{file.stem}_mask.png"))
    assert "segmentation, not classes" in refused(tmp_path)


def test_a_single_folder_around_the_classes_is_suggested(tmp_path: Path) -> None:
    message = refused(tree(tmp_path, {"flowers/daisy": 2, "flowers/rose": 2}))
    assert "only one class ('flowers')" in message
    assert message.endswith(f"--data {tmp_path / 'flowers'}")


def test_a_test_part_of_loose_images_says_so(tmp_path: Path) -> None:
    message = refused(tree(tmp_path, {"train/a": 2, "train/b": 2, "test": 5}))
    assert "there are no class folders; there are 5 images outside of class folders" in message


def test_loose_images_beside_parts_and_classes_are_said(tmp_path: Path) -> None:
    tree(tmp_path, {"": 1, "train": 2, "train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    source = folder_source(tmp_path)
    assert len(source) == 6
    assert source.notes == ("3 images in no class folder left out: 0.png, train/0.png, train/1.png",)


def test_train_alone_is_a_part_or_a_class(tmp_path: Path) -> None:
    source = folder_source(tree(tmp_path, {"train/a": 3, "train/b": 3, "train": 1}))
    assert (source.classes, set(source.parts), len(source)) == (("a", "b"), {"train"}, 6)
    assert source.notes == ("1 image in no class folder left out: train/0.png",)
    source = folder_source(tree(tmp_path, {"bus": 2}))
    assert (source.classes, set(source.parts), len(source)) == (("bus", "train"), {""}, 9)


NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_one_name_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    tree(tmp_path, {f"train/{NFD}": 2, "train/rose": 2, f"test/{NFC}": 1, "test/rose": 1})
    source = folder_source(tmp_path)
    assert source.classes == (NFC, "rose")
    assert source.labels.tolist() == [0, 0, 1, 1, 0, 1]
    assert source.notes == ("the class 'café' is spelled in two ways that look the same (accents); taken as one",)


def test_two_spellings_in_one_place_are_refused(tmp_path: Path) -> None:
    message = refused(tree(tmp_path, {NFC: 2, NFD: 2, "rose": 2}))
    assert f"two folders are called '{NFC}'" in message


@pytest.mark.parametrize(
    ("train", "test"), [("cat", "Cat"), ("cat", "cat "), (" big  cat", "Big cat"), ("daisy", "dasy")]
)
def test_a_class_that_train_lacks_gets_a_suggestion(tmp_path: Path, train: str, test: str) -> None:
    message = refused(tree(tmp_path, {f"train/{train}": 2, "train/x": 2, f"test/{test}": 1, "test/x": 1}))
    assert re.search(f"train has no class '{test}', which is here. Did you mean '{train}'?", message)


def test_names_that_nobody_tells_apart_are_noted(tmp_path: Path) -> None:
    source = folder_source(tree(tmp_path, {"cat": 1, "Cat": 1, "dog": 1, "dog ": 1, "A": 1, "b": 1}))
    assert len(source.classes) == 6
    assert source.notes == (
        "the classes 'Cat' and 'cat' differ by case or spaces alone; did you mean one class?",
        "the classes 'dog' and 'dog ' differ by case or spaces alone; did you mean one class?",
    )
