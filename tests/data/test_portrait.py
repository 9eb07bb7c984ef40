import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from scalesearch.data import portrait as module
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.places import portraits_folder
from scalesearch.data.portrait import Copies, Portrait, portrait, sentences
from tests.conftest import MakeFolder

SEEN = Portrait(
    "birds", {"train": 80, "validation": 20, "test": 30}, "as the set has them", {"crow": 40, "wren": 40}, 32, 32,
    Copies({"validation": 0, "test": 0}, 0, ()),
)  # fmt: skip


def opened(folder: Path) -> Dataset:
    return dataset(open_data(str(folder)), 16)


def said(seen: Portrait, resolution: int = 32) -> str:
    return "\n".join(sentences(seen, resolution, "a larger one"))


def test_parts_classes_and_sizes_are_those_of_the_set(image_folder: MakeFolder) -> None:
    data = opened(image_folder(images=50))
    seen = portrait(data)
    assert seen.parts == {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    assert sum(seen.classes.values()) == len(data.train)
    assert tuple(seen.classes) == data.classes
    with Image.open(data.source.describe(0)) as image:
        assert seen.smallest_px <= min(image.size)
    assert seen.median_px == data.source.native_px
    assert seen.copies == Copies({"validation": 0, "test": 0}, 0, ())


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("train", "val", "test"), "as the set has them"),
        (("train", "test"), "test as the set has it, validation drawn from train"),
        (("train", "val"), "the set's val is the test part, validation drawn from train"),
        ((), "(drawn from the whole set)"),
    ],
)
def test_where_the_parts_are_from_is_said(image_folder: MakeFolder, parts: tuple[str, ...], told: str) -> None:
    seen = portrait(opened(image_folder(images=30, parts=parts) if parts else image_folder(images=30)))
    assert told in said(seen)


def test_copies_across_parts_are_found_with_their_classes_and_kept(
    image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder(images=30, parts=("train", "test"))
    data = opened(root)
    first = Path(data.source.describe(int(data.train.indices[0])))
    last = Path(data.source.describe(int(data.train.indices[-1])))
    assert (first.parent.name, last.parent.name) == ("class0", "class1")
    for number, original in enumerate((last, first)):
        shutil.copyfile(original, root / "test" / "class1" / f"copy{number}.png")
    data = opened(root)
    copies = portrait(data).copies
    assert copies is not None
    assert (copies.counts, copies.mislabelled) == ({"validation": 0, "test": 2}, 1)
    assert copies.shown[0].endswith(f"copy1.png (class1) is {first} (class0)")  # the mislabelled one before the other
    assert copies.shown[1].endswith(f"copy0.png is {last}")
    text = said(portrait(data))
    assert f"WARNING: 2 of {len(data.test)} test images are in train, too, 1 of them under another class" in text

    def never(*given: object) -> None:
        raise AssertionError("it is kept")

    monkeypatch.setattr(module, "overlap", never)
    assert portrait(data).copies == copies
    moved = opened(Path(shutil.copytree(root, root.parent / "moved")))
    assert moved.digest == data.digest
    its = portrait(moved).copies
    assert its is not None
    assert its.shown[0] == copies.shown[0].replace(str(root), str(root.parent / "moved"))
    (kept,) = [path for path in portraits_folder().iterdir() if path.stem == data.digest]
    kept.write_text("{}")
    with pytest.raises(AssertionError, match="it is kept"):
        portrait(data)
    assert portrait(data, copies=False).copies is None
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 1)
    assert [portrait(data, copies=asked).unlooked for asked in (True, False)] == [True, False]


@pytest.mark.parametrize(
    ("changes", "resolution", "told"),
    [
        ({"copies": None, "unlooked": True}, 32, "not looked for among more than 30000"),
        ({"classes": {"crow": 40, "wren": 9}}, 32, "WARNING: 1 class with fewer than 10 training images: wren 9."),
        ({"classes": {"crow": 50, "wren": 10}}, 32, "50 training images of the largest class, which are 83 % of all"),
        ({"smallest_px": 200, "median_px": 384}, 27, "your images are 384 px, and the network looks at 27: details"),
        ({"smallest_px": 20, "median_px": 48}, 32, "20 px at least, 48 px in the middle"),
    ],
)  # fmt: skip
def test_what_should_be_looked_into_is_said(changes: Mapping[str, object], resolution: int, told: str) -> None:
    assert told in said(replace(SEEN, **changes), resolution)  # type: ignore[arg-type]
    assert told not in said(SEEN)


@pytest.mark.parametrize(
    ("division", "part", "told"),
    [
        ("drawn from the whole set, …", "test", True), ("test as the set has it, … drawn …", "validation", True),
        ("test as the set has it, … drawn …", "test", False), ("as the set has them", "validation", False),
    ],
)  # fmt: skip
def test_copies_across_what_was_drawn_hint_at_groups(division: str, part: str, told: bool) -> None:
    copies = Copies({"validation": 0, "test": 0} | {part: 1}, 0, ("a is b",))
    seen = replace(SEEN, division=division, copies=copies)
    assert ("--group-by" in said(seen)) == told
    assert "--group-by" not in said(replace(seen, groups=(9, 4, 0)))


def test_a_good_set_has_no_warnings() -> None:
    assert said(SEEN) == (
        "birds: 2 classes, 80 train, 20 validation, 30 test images (as the set has them)\n"
        "Short sides: 32 px (of a sample)"
    )  # fmt: skip
