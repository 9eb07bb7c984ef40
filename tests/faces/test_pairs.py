"""Verification and identification figures against counting by hand, and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scalesearch.faces.protocols import (
    Pairs,
    all_pairs,
    auc,
    fold_accuracy,
    limit_at,
    random_folds,
    rates,
    tar_at,
    tpir,
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
