"""Verification and identification figures against counting by hand, and scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scalesearch.errors import UserError
from scalesearch.faces.protocols import (
    Pairs,
    all_pairs,
    auc,
    fold_accuracy,
    histogram,
    limit_at,
    random_folds,
    rates,
    roc_curve,
    tar_at,
    tpir,
    verification,
)
from scalesearch.study.statistics import accepted_interval


def noisy_pairs(seed: int = 0, people: int = 12, photos: int = 5) -> Pairs:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 16))
    found = (np.repeat(centres, photos, 0) + 1.2 * rng.normal(size=(people * photos, 16))).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return all_pairs(found, np.repeat(np.arange(people), photos))


def test_all_pairs_are_squared_distances() -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    found = all_pairs(vectors, np.array([0, 0, 1]))
    assert found.distances.tolist() == [2.0, 4.0, 2.0]
    assert found.same.tolist() == [True, False, False]


def test_auc_is_scikit_learn_s() -> None:
    pairs = noisy_pairs()
    assert auc(pairs) == pytest.approx(roc_auc_score(pairs.same, -pairs.distances), abs=1e-6)


def test_tar_at_far_by_counting() -> None:
    pairs = noisy_pairs()
    negative = np.sort(pairs.distances[~pairs.same])
    limit = negative[int(0.01 * len(negative))]
    assert (negative < limit).mean() <= 0.01
    assert tar_at(pairs, 0.01) == pytest.approx((pairs.distances[pairs.same] < limit).mean())
    far, tar = rates(pairs)
    assert tar[np.searchsorted(far, 0.01, side="right") - 1] == pytest.approx(tar_at(pairs, 0.01))


def test_the_interval_holds_the_value() -> None:
    pairs = noisy_pairs()
    low, high = accepted_interval(pairs.distances, pairs.first, pairs.second, 0.01, draws=300)
    assert low < tar_at(pairs, 0.01) < high
    assert 0 <= low < high <= 1


def test_fold_accuracy_chooses_the_threshold_on_other_folds() -> None:
    """One fold's pairs lie the wrong way round: no threshold of the others can be right on them."""
    distances = np.array([0.1, 0.9] * 9 + [0.9, 0.1], dtype=np.float32)
    first, second = np.zeros(20, np.int64), np.array([0, 1] * 10)
    folds = np.repeat(np.arange(10), 2)
    accuracy, _ = fold_accuracy(Pairs(distances, first, second), folds)
    assert accuracy == pytest.approx(0.9)


def test_folds_hold_equally_many_of_both_kinds() -> None:
    same = np.array([True] * 50 + [False] * 70)
    folds = random_folds(same, 0)
    assert np.bincount(folds[same]).tolist() == [5] * 10
    assert np.bincount(folds[~same]).tolist() == [7] * 10


def test_tpir_counts_the_right_name_within_the_limit() -> None:
    strangers = np.array([0.5, 0.6, 0.7, 0.8], dtype=np.float32)
    assert limit_at(strangers, 0.25) == pytest.approx(0.6)
    right = np.array([True, True, False, True])
    assert tpir(right, np.array([0.1, 0.65, 0.1, 0.59], dtype=np.float32), 0.6) == 0.5


def made(same: list[int], distances: list[float] | None = None) -> Pairs:
    """Pairs of one person (1) and of two (0)."""
    first = np.zeros(len(same), np.int64)
    values = np.linspace(0.1, 0.9, len(same)) if distances is None else np.array(distances)
    return Pairs(values.astype(np.float32), first, 1 - np.array(same, np.int64))


@pytest.mark.parametrize("figure", [
    auc, rates, roc_curve, histogram, verification, lambda pairs: tar_at(pairs, 0.01),
])  # fmt: skip
@pytest.mark.parametrize(("same", "said"), [
    ([1, 1, 1], "3 pairs are of one person and 0 of two"), ([0, 0], "0 pairs are of one person and 2 of two"),
    ([], "0 pairs are of one person and 0 of two"),
])  # fmt: skip
def test_figures_take_pairs_of_both_kinds(figure: Callable[[Pairs], object], same: list[int], said: str) -> None:
    with pytest.raises(UserError, match=f"it takes both, but {said}"):
        figure(made(same))


def test_one_pair_of_each_kind_is_enough() -> None:
    pairs = made([1, 0])
    assert (auc(pairs), tar_at(pairs, 0.01), tar_at(pairs, 1)) == (1.0, 1.0, 1.0)
    far, tar = rates(made([0, 1]))
    assert (far.tolist(), tar.tolist()) == ([1.0, 1.0], [0.0, 1.0])


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf")])
def test_distances_that_are_no_numbers_are_refused(spoilt: float) -> None:
    with pytest.raises(UserError, match="1 of 3 distances are no finite numbers"):
        made([1, 0, 0], [0.1, spoilt, 0.5])


def test_distances_of_other_photos_are_refused() -> None:
    with pytest.raises(UserError, match=r"shapes \[\(2,\), \(3,\), \(3,\)\]"):
        made([1, 0, 0], [0.1, 0.5])


@pytest.mark.parametrize(("count", "share"), [(0, 0.1), (3, -0.1), (3, 1.1), (3, float("nan"))])
def test_shares_of_no_distances_and_absurd_ones_are_refused(count: int, share: float) -> None:
    with pytest.raises(UserError, match=f"of {count} distances cannot be accepted"):
        limit_at(np.arange(count, dtype=np.float32), share)


@pytest.mark.parametrize("folds", [[0, 0, 0, 0], [0, 1]])
def test_an_accuracy_over_folds_takes_two_and_one_for_each_pair(folds: list[int]) -> None:
    with pytest.raises(UserError, match=r"4 pairs have \d marks of \d fold"):
        fold_accuracy(made([1, 0, 1, 0]), np.array(folds))
