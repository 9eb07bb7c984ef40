import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scalesearch.api.options import EvaluateOptions, SearchOptions, images_of
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.portrait import portrait, sentences
from scalesearch.data.split import UNSPLIT_TEST, UNSPLIT_VALIDATION, split
from scalesearch.errors import UserError
from scalesearch.running.provenance import argument

PATTERN = r"(p\d+)_"


def people(root: Path, persons: int = 20, photos: int = 4, part: str = "") -> Path:
    """Photos p07_2.png of two classes; each person is in one class."""
    rng = np.random.default_rng(1)
    for person in range(persons):
        folder = root / part / f"class{person % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        for photo in range(photos):
            pixels = rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"p{person:02d}_{photo}.png")
    return root


def persons_of(data: Dataset) -> dict[str, set[str]]:
    """The people of each part."""
    return {
        name: {Path(data.source.describe(int(i))).name[:3] for i in part.indices} for name, part in data.parts.items()
    }


def apart(people_of: dict[str, set[str]]) -> bool:
    return sum(map(len, people_of.values())) == len(set.union(*people_of.values()))


def test_photos_of_one_person_stand_in_one_part(tmp_path: Path) -> None:
    root = people(tmp_path / "photos")
    assert not apart(persons_of(dataset(open_data(str(root)), 12)))
    data = dataset(open_data(f"{root}::group-by={PATTERN}"), 12)
    assert apart(persons_of(data))
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 56, "validation": 12, "test": 12}
    again = dataset(open_data(f"{root}::group-by={PATTERN}"), 12)
    assert again.digest == data.digest != dataset(open_data(str(root)), 12).digest
    seen = portrait(data)
    assert seen.groups == (20, 4, 0)
    assert "20 groups of images that belong together, 4 images in the largest" in list(
        sentences(seen, 12, "a larger one")
    )


def test_a_home_is_found_and_only_what_is_below_the_folder_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(tmp_path / "p99_home" / "photos")
    monkeypatch.setenv("HOME", str(tmp_path / "p99_home"))
    source = open_data(f"~/photos::group-by={PATTERN}")
    assert source.groups is not None
    assert source.groups.max() == 19


def test_official_parts_stay_and_groups_in_several_are_said(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for part in ("train", "test"):
        people(root, part=part)
    data = dataset(open_data(f"{root}::group-by={PATTERN}"), 12)
    assert len(data.test) == 80
    drawn = persons_of(data)
    assert not drawn["train"] & drawn["validation"]
    assert any(
        "stand in train and in another part, too" in line for line in sentences(portrait(data), 12, "a larger one")
    )


def test_a_column_groups_the_files_of_a_table(tmp_path: Path) -> None:
    root = people(tmp_path / "photos")
    lines = [("file", "label", "house")]
    lines += [(f"photos/{one.parent.name}/{one.name}", one.parent.name, f"house {int(one.name[1:3]) // 4}")
              for one in sorted(root.glob("*/*.png"))]  # fmt: skip
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    data = dataset(open_data(f"{tmp_path / 'list.csv'}::group-by=house"), 12)
    houses = {name: {int(one[1:3]) // 4 for one in persons} for name, persons in persons_of(data).items()}
    assert sum(map(len, houses.values())) == 5
    by_pattern = open_data(f"{tmp_path / 'list.csv'}::group-by={PATTERN}")
    assert by_pattern.groups is not None
    assert by_pattern.groups.max() == 19


@pytest.mark.parametrize(
    ("by", "problem"),
    [
        ("(", "neither a column nor a pattern"), ("(a)(b)", "2 pairs of brackets"),
        ("x_", "is not found in 80 paths of 80, such as "), ("p.*png", "each of the 80 images into a group of its own"),
    ],
)  # fmt: skip
def test_what_groups_nothing_is_refused(tmp_path: Path, by: str, problem: str) -> None:
    root = people(tmp_path / "photos")
    with pytest.raises(UserError, match=problem) as error:
        open_data(f"{root}::group-by={by}")
    assert error.value.where == "--group-by"


def test_a_class_that_one_group_holds_is_missing_from_a_part_and_said(tmp_path: Path) -> None:
    root = people(tmp_path / "photos", persons=4)
    with pytest.raises(UserError, match="every part needs every class"):
        dataset(open_data(f"{root}::group-by={PATTERN}"), 12)


def test_how_images_are_grouped_goes_where_their_name_goes(tmp_path: Path) -> None:
    root = people(tmp_path / "photos")
    given = images_of(SearchOptions(data=root, group_by=PATTERN))
    assert given == f"{root}::group-by={PATTERN}"
    assert argument(given) == f"{root.resolve()}::group-by={PATTERN}"
    assert images_of(EvaluateOptions("model"), given) == given  # a model notes it
    assert images_of(EvaluateOptions("model", group_by="(x)"), given) == f"{root}::group-by=(x)"
    assert argument("glyphs") == "glyphs"
    with pytest.raises(UserError, match="no images were named"):
        images_of(EvaluateOptions("model"))


@given(
    sizes=st.lists(st.integers(1, 12), min_size=30, max_size=80), classes=st.integers(1, 4), seed=st.integers(0, 99)
)  # fmt: skip
def test_groups_are_drawn_whole_and_shares_are_met_nearly(sizes: list[int], classes: int, seed: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = groups % classes
    found = split(labels, [""] * len(labels), seed, groups=groups)
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    owners = [set(groups[indices].tolist()) for indices in parts.values()]
    assert sum(map(len, owners)) == len(sizes)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for share, indices in ((UNSPLIT_VALIDATION, found.validation), (UNSPLIT_TEST, found.test)):
        for label in range(classes):
            wanted = share * (labels == label).sum()
            assert abs((labels[indices] == label).sum() - wanted) <= max(sizes)
    again = split(labels, [""] * len(labels), seed, groups=groups)
    assert np.array_equal(again.test, found.test)
