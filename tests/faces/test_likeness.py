"""Groups of like faces: those of average linkage, in order of size."""

import numpy as np
import pytest

from scalesearch.faces.likeness import groups

hierarchy = pytest.importorskip("scipy.cluster.hierarchy")


def crowd(people: int, photos: int, spread: float, seed: int = 0, dimensions: int = 16) -> np.ndarray:
    """float32 (photos, D) of unit length, around as many centres as there are people."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, dimensions))
    found = centres[rng.integers(0, people, photos)] + spread * rng.normal(size=(photos, dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def parts(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.5, 1.0, 1.6, 3.9])
@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
def test_groups_are_those_of_average_linkage(limit: float, spread: float) -> None:
    vectors = crowd(12, 150, spread)
    left, right = np.triu_indices(len(vectors), 1)
    squared = np.clip(2 - 2 * (vectors @ vectors.T)[left, right], 0, 4).astype(np.float64)
    merged = hierarchy.fcluster(hierarchy.linkage(squared, "average"), limit, "distance")
    assert parts(groups(vectors, limit)) == parts(merged)


def test_the_largest_group_comes_first_and_then_the_one_seen_first() -> None:
    ways = np.eye(4, dtype=np.float32)
    assert groups(ways[[3, 1, 2, 1, 0, 0, 1]], 0.5).tolist() == [2, 0, 3, 0, 1, 1, 0]


def test_few_faces_and_equal_ones_are_groups_too() -> None:
    one = np.eye(3, dtype=np.float32)
    assert groups(one[:0], 0.1).tolist() == []
    assert groups(one[:1], 0.1).tolist() == [0]
    assert groups(np.repeat(one, 50, axis=0), 0.1).tolist() == np.repeat([0, 1, 2], 50).tolist()
    assert groups(one, 0.0).tolist() == [0, 1, 2]


def test_the_limit_itself_does_not_merge() -> None:
    one = np.eye(2, dtype=np.float32)  # 2 apart, squared
    assert groups(one, 2.0).tolist() == [0, 1]
    assert groups(one, 2.01).tolist() == [0, 0]


def test_faces_as_given_are_left_as_they_are() -> None:
    vectors = crowd(3, 30, 0.2)
    before = vectors.copy()
    groups(vectors, 0.3)
    assert np.array_equal(vectors, before)
