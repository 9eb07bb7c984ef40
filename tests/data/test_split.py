"""Splits are disjoint, covering, stratified and repeatable; samples are nested."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.data.split import Split, sample, split
from scalesearch.errors import UserError

COUNTS = st.lists(st.integers(3, 40), min_size=2, max_size=6)


def labels_of(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)


def together(parts: Split) -> list[int]:
    return sorted(np.concatenate((parts.train, parts.validation, parts.test)).tolist())


@given(COUNTS, st.integers(0, 2**31))
def test_unsplit_sets(counts: list[int], seed: int) -> None:
    labels = labels_of(counts)
    parts = split(labels, [""] * len(labels), seed)
    assert together(parts) == list(range(len(labels)))
    for label, count in enumerate(counts):
        for indices in (parts.validation, parts.test):
            assert abs((labels[indices] == label).sum() - 0.15 * count) <= 0.6
        assert (labels[parts.train] == label).any()
    again = split(labels, [""] * len(labels), seed)
    np.testing.assert_array_equal(again.validation, parts.validation)
    np.testing.assert_array_equal(again.test, parts.test)


@given(COUNTS, st.integers(0, 2**31), st.sampled_from(["val", "test"]), st.floats(0.01, 0.99))
def test_validation_comes_from_train(counts: list[int], seed: int, second: str, share: float) -> None:
    labels = np.concatenate((labels_of(counts), np.arange(len(counts))))
    official = ["train"] * sum(counts) + [second] * len(counts)
    parts = split(labels, official, seed, share)
    assert together(parts) == list(range(len(labels)))
    np.testing.assert_array_equal(parts.test, np.arange(sum(counts), len(labels)))
    for label, count in enumerate(counts):
        chosen = (labels[parts.validation] == label).sum()
        assert chosen == min(max(1, round(share * count)), count - 1)


def test_three_official_parts_are_kept() -> None:
    parts = split(np.array([0, 1, 0, 1, 0, 1]), ["train", "train", "val", "val", "test", "test"], 0)
    assert [part.tolist() for part in (parts.train, parts.validation, parts.test)] == [[0, 1], [2, 3], [4, 5]]


def test_only_train_is_treated_as_unsplit() -> None:
    labels = labels_of([10, 10])
    trained, unsplit = split(labels, ["train"] * 20, 1), split(labels, [""] * 20, 1)
    np.testing.assert_array_equal(trained.test, unsplit.test)


def test_the_seed_matters() -> None:
    labels = labels_of([40, 40])
    first, second = split(labels, [""] * 80, 0), split(labels, [""] * 80, 1)
    assert first.test.tolist() != second.test.tolist()


def test_too_few_images_name_the_class() -> None:
    with pytest.raises(UserError, match=r"'rare'.*2 image"):
        split(np.array([0, 0, 0, 1, 1]), [""] * 5, 0, classes=("common", "rare"))
    with pytest.raises(UserError, match=r"class 1.*1 image"):
        split(np.array([0, 0, 1, 0, 1]), ["train"] * 3 + ["test"] * 2, 0)


def test_a_class_missing_from_a_part() -> None:
    with pytest.raises(UserError, match=r"test part.*'b'"):
        split(np.array([0, 0, 1, 1, 0]), ["train"] * 4 + ["test"], 0, classes=("a", "b"))
    with pytest.raises(UserError, match=r"validation part.*class"):
        split(np.array([0, 1, 0, 0, 1]), ["train", "train", "val", "test", "test"], 0)
    with pytest.raises(UserError, match=r"train part.*'c'"):
        split(np.array([0, 0, 1, 1, 0, 1]), ["train"] * 4 + ["test"] * 2, 0, classes=("a", "b", "c"))


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        split(np.array([0, 0, 1, 1]), ["train"] * 4, 0, share)


@given(COUNTS, st.integers(0, 2**31), st.data())
def test_samples_are_nested_and_stratified(counts: list[int], seed: int, data: st.DataObject) -> None:
    labels = labels_of(counts)
    indices = np.sort(np.random.default_rng(1).permutation(len(labels)))
    large = data.draw(st.integers(len(counts), len(labels)))
    small = data.draw(st.integers(len(counts), large))
    larger, smaller = sample(indices, labels, large, seed), sample(indices, labels, small, seed)
    assert (len(larger), len(smaller)) == (large, small)
    assert set(smaller.tolist()) <= set(larger.tolist())
    for label, count in enumerate(counts):
        chosen = int((labels[smaller] == label).sum())
        assert chosen >= 1
        assert abs(chosen - small * count / len(labels)) <= len(counts)


def test_sample_bounds() -> None:
    labels = labels_of([5, 5])
    for count in (1, 11):
        with pytest.raises(UserError, match="sample size"):
            sample(np.arange(10), labels, count, 0)
    np.testing.assert_array_equal(sample(np.arange(10), labels, 10, 0), np.arange(10))


def test_validation_and_test_stay_small_where_images_are_many() -> None:
    labels = np.arange(400_000) % 10
    unsplit = split(labels, [""] * len(labels), 0)
    assert (len(unsplit.validation), len(unsplit.test), len(unsplit.train)) == (25_000, 50_000, 325_000)
    official = ["train"] * 390_000 + ["test"] * 10_000
    parts = split(labels, official, 0)
    assert (len(parts.validation), len(parts.test), len(parts.train)) == (25_000, 10_000, 365_000)
