"""Kept or made as they are used, images have the same pixels; what is kept stays within its bound."""

import contextlib
import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.data import keeping
from scalesearch.data.arrays import ImageArrays, Images, StreamedImages
from scalesearch.data.batches import (
    IMAGENET_STATISTICS,
    Augment,
    evaluation_batches,
    pixel_statistics,
    training_batches,
)
from scalesearch.data.dataset import Dataset, Part, dataset
from scalesearch.data.folder import folder_source
from scalesearch.data.keeping import image_bytes, keep, kept_sizes, make_room
from scalesearch.data.overlap import THUMBNAIL_PX, overlap
from scalesearch.data.places import CACHE_VARIABLE
from scalesearch.errors import UserError
from scalesearch.units import show_bytes
from tests.data.pictures import noise, save

CPU = torch.device("cpu")
ALL = ("train", "validation", "test")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """24 images of 40 px: sizes 8 and 12 are made from a master of 18."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for number in range(24):
        save(tmp_path / "set" / "ab"[number % 2] / f"{number}.png", noise(number, 40, 40))
    return dataset(folder_source(tmp_path / "set"), 12)


def pixels(images: Images) -> np.ndarray:
    return np.concatenate(list(images.batches(np.array_split(np.arange(len(images)), 3))))


@pytest.mark.parametrize("kept", [frozenset(), frozenset({18}), frozenset({8}), frozenset({12})])
def test_pixels_do_not_depend_on_what_is_kept(data: Dataset, tmp_path: Path, kept: frozenset[int]) -> None:
    for size in (8, 12, 18):
        whole = data.train.at(size)
        other = replace(data.train, folder=tmp_path / "other", kept=kept)
        images = other.at(size)
        assert isinstance(images, ImageArrays if size in kept else StreamedImages)
        np.testing.assert_array_equal(pixels(images), pixels(whole))
        np.testing.assert_array_equal(images.one(2), whole.one(2))
        assert (images.size_px, images.key, len(images)) == (size, whole.key, len(whole))
        np.testing.assert_array_equal(images.labels, whole.labels)
    there = {int(np.load(path).shape[1]) for path in (tmp_path / "other").glob("*.npy")}
    assert there == kept | {THUMBNAIL_PX} - (kept & {18} and {THUMBNAIL_PX})


@pytest.mark.parametrize("augment", [Augment(), Augment(randaugment=9, erasing=0.5)])
def test_batches_do_not_depend_on_what_is_kept(data: Dataset, tmp_path: Path, augment: Augment) -> None:
    streamed = replace(data.train, folder=tmp_path / "other", kept=frozenset({18})).at(8)
    assert isinstance(streamed, StreamedImages)
    for images in (data.train.at(8), streamed):
        assert pixel_statistics(images) == pixel_statistics(data.train.at(8))

    def epoch(images: Images) -> list[tuple[torch.Tensor, torch.Tensor]]:
        training = training_batches(
            images, 5, seed=1, epoch=2, augment=augment, statistics=IMAGENET_STATISTICS, device=CPU, share=(1, 2)
        )
        return [*training, *evaluation_batches(images, 5, statistics=IMAGENET_STATISTICS, device=CPU)]

    for ours, theirs in zip(epoch(streamed), epoch(data.train.at(8)), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_an_epoch_that_is_given_up_leaves_no_thread_at_work(data: Dataset, tmp_path: Path) -> None:
    streamed = replace(data.train, folder=tmp_path / "other", kept=frozenset()).at(8)
    asked: list[int] = []

    def make(row: int) -> np.ndarray:
        asked.append(row)
        return streamed.one(row)

    assert isinstance(streamed, StreamedImages)
    batches = replace(streamed, make=make).batches([np.array([row]) for row in range(10)])
    next(batches)
    batches.close()
    count = len(asked)
    assert count <= 4  # the one that came and those ahead of it
    assert len(asked) == count


def test_every_broken_image_is_named_before_anything_is_streamed(data: Dataset, tmp_path: Path) -> None:
    broken = [data.source.describe(int(i)) for i in data.train.indices[[0, 3]]]
    for path in broken:
        Path(path).write_bytes(Path(path).read_bytes()[:-200])
    source = folder_source(tmp_path / "set")
    part = Part(source, data.train.indices, 18, tmp_path / "other", frozenset())
    with pytest.raises(UserError) as caught:
        part.at(8)
    assert all(path in str(caught.value) for path in broken)
    assert str(caught.value).startswith(f"images: 2 of {len(part)} cannot be decoded")


def test_an_image_that_breaks_while_it_is_streamed_stops_with_its_name(data: Dataset, tmp_path: Path) -> None:
    images = replace(data.train, folder=tmp_path / "other", kept=frozenset()).at(8)
    path = Path(data.source.describe(int(data.train.indices[4])))
    path.write_bytes(b"no image any more")
    with pytest.raises(UserError, match="changed while it was read") as caught:
        pixels(images)
    assert str(path) in str(caught.value)


def test_copies_are_found_where_images_are_streamed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, (part, name, i) in enumerate(product(("train", "val", "test"), "ab", range(4))):
        save(root / part / name / f"{i}.png", noise(100 + number, 40, 40))
    save(root / "train" / "a" / "copy.png", noise(7, 40, 40))
    save(root / "test" / "b" / "copy.png", noise(7, 40, 40))
    data = dataset(folder_source(root), 24)
    train, test = (replace(part, folder=tmp_path / "c", kept=frozenset()) for part in (data.train, data.test))
    ((there, here),) = overlap(train.comparable(24), test.comparable(24))
    assert data.source.describe(int(train.indices[there])).endswith("train/a/copy.png")
    assert data.source.describe(int(test.indices[here])).endswith("test/b/copy.png")


@pytest.mark.parametrize(
    ("wanted", "room", "expected"),
    [
        ({32, 48, 64}, 10**9, {96, 32, 48, 64}),
        ({32, 48, 64}, image_bytes(100, 96), {96}),  # the others are made from it
        ({32, 48, 64}, image_bytes(100, 96) + image_bytes(100, 32), {96, 32}),
        ({32, 48, 64}, image_bytes(100, 64), {16, 32, 48}),  # no room for the master: the cheapest, and thumbnails
        ({64}, 10**9, {64}),  # one size needs no master
        ({64}, image_bytes(100, 64) - 1, {16}),
        ({96}, 10**9, {96}),
        ({96}, image_bytes(100, 95), {16}),
    ],
)
def test_what_is_kept_in_a_room(wanted: set[int], room: int, expected: set[int]) -> None:
    assert kept_sizes(100, 96, wanted, room) == expected


@given(
    st.integers(1, 2_000_000), st.integers(16, 512), st.sets(st.integers(8, 512), min_size=1), st.integers(0, 10**12)
)
def test_what_is_kept_has_room_and_streams_only_after_a_look(
    images: int, master_px: int, wanted: set[int], room: int
) -> None:
    kept: frozenset[int] | None = None
    with contextlib.suppress(UserError):
        kept = kept_sizes(images, master_px, wanted, room)
    if kept is None:
        assert room < image_bytes(images, THUMBNAIL_PX)
        return
    assert sum(image_bytes(images, size) for size in kept) <= room
    assert wanted <= kept or master_px in kept or 16 in kept


def test_keep_says_what_it_takes(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    within, found = keep(data, ("train", "validation"), {8, 12})
    count = len(data.train) + len(data.validation)
    assert (found.images, found.kept, found.streamed) == (count, (8, 12, 18), ())
    assert found.bytes == found.missing == 3 * count * (64 + 144 + 324)
    assert "on disk for decoded images of 8, 12, 18 px, made first in about" in str(found)
    assert 0 < found.seconds_per_image < 1
    for part in (within.train, within.validation):
        part.at(8), part.at(12)
    again = keep(data, ("train", "validation"), {8, 12})[1]
    assert (again.missing, again.seconds_per_image, again.bytes) == (0, 0.0, found.bytes)
    assert str(again) == f"{show_bytes(found.bytes)} on disk for decoded images of 8, 12, 18 px"

    little = keep(data, ALL, {8, 12}, asked=24 * 3 * 324)[1]
    assert (little.kept, little.streamed) == ((18,), (8, 12))
    assert str(little).endswith("; those of 8, 12 px are made whenever they are used")
    with pytest.raises(UserError, match=r"--cache-size: 100 B are too few for 24 images.*18.4 kB"):
        keep(data, ALL, {8, 12}, asked=100)
    monkeypatch.setattr(keeping, "free_bytes", lambda folder: 1000)
    with pytest.raises(UserError, match="1 kB are free"):
        keep(data, ALL, {8, 12}, asked=1e9)


def test_the_usual_room_is_half_of_the_disks(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in data.parts.values():
        part.at(18)
    held = sum(path.stat().st_size for path in data.train.folder.glob("*.npy"))
    monkeypatch.setattr(keeping, "free_bytes", lambda folder: 30_000)
    assert keep(data, ALL, {8, 12})[1].room == (30_000 + held) // 2


def test_images_not_used_for_longest_make_room(data: Dataset, tmp_path: Path) -> None:
    folder = data.train.folder
    folder.mkdir(parents=True)
    for age, name in enumerate(("new", "old", "oldest")):
        (folder / f"{name}.npy").write_bytes(bytes(50_000))
        (folder / f"{name}.lock").touch()
        os.utime(folder / f"{name}.lock", (1e9 - age, 1e9 - age))
    found = keep(data, ALL, {8, 12}, asked=24 * 3 * (64 + 144 + 324) + 60_000)[1]
    make_room(found)
    assert sorted(path.name for path in folder.glob("*.npy")) == ["new.npy"]
    for part in data.parts.values():
        part.at(8), part.at(12)
    before = sorted(folder.glob("*.npy"))
    make_room(keep(data, ALL, {8, 12}, asked=24 * 3 * (64 + 144 + 324) + 1000)[1])
    assert sorted(folder.glob("*.npy")) == [path for path in before if path.name != "new.npy"]  # never its own


def test_a_use_is_remembered(data: Dataset) -> None:
    data.train.at(18)
    (lock,) = data.train.folder.glob("*.lock")
    os.utime(lock, (1e9, 1e9))
    data.train.at(18)
    assert lock.stat().st_mtime > 1e9
