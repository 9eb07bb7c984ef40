"""Two photos compared: the nearest faces, and the limit of pairs of different people."""

from dataclasses import replace

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.faces import comparison
from scalesearch.faces.comparison import PairLimit, fitted_limit, known_limit, nearest_pair, verdict
from scalesearch.faces.model import EmbeddingSet
from tests.faces.toys import CARD


def people(count: int, photos: int = 2, dimensions: int = 6) -> EmbeddingSet:
    vectors = np.random.default_rng(0).normal(size=(count * photos, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.repeat(np.arange(count), photos)
    return EmbeddingSet(tuple(map(str, range(count))), labels, vectors)


@pytest.mark.parametrize("far", [0.001, 0.01, 0.1, 0.9])
def test_a_limit_lets_in_the_share_of_pairs_of_two_people_that_was_asked_for(far: float) -> None:
    strangers = people(30)
    limit = fitted_limit(strangers, far)
    distances = {True: [], False: []}  # type: ignore[var-annotated]
    for one in range(60):
        for other in range(one):
            near = float(np.sum((strangers.vectors[one] - strangers.vectors[other]) ** 2))
            distances[bool(strangers.labels[one] == strangers.labels[other])].append(near)
    assert (limit.pairs, limit.people, limit.same, limit.basis) == (60 * 58 // 2, 30, 30, "strangers")
    assert limit.nearer == int(far * limit.pairs)
    nearer = [near for near in sorted(distances[False]) if near < limit.distance - 1e-6]
    assert len(nearer) == limit.nearer
    assert limit.same_nearer == sum(near < limit.distance for near in distances[True])


def test_too_few_pairs_have_the_nearest_as_their_limit() -> None:
    limit = fitted_limit(people(2, 1), 0.001)
    assert (limit.pairs, limit.nearer, limit.same) == (1, 0, 0)
    with pytest.raises(UserError, match="photos of two people or more"):
        fitted_limit(people(1, 3), 0.001)
    for far in (0.0, 1.0, float("nan")):
        with pytest.raises(UserError, match="--far"):
            fitted_limit(people(2, 1), far)


def test_of_many_photos_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_PHOTOS", 20)
    limit = fitted_limit(people(30), 0.1)
    assert limit.pairs + limit.same == 20 * 19 // 2


def test_the_two_nearest_faces_are_compared() -> None:
    ways = np.eye(4, dtype=np.float32)
    assert nearest_pair(ways[[0, 1]], ways[[2, 3, 1]]) == (1, 2, 0.0)
    assert nearest_pair(ways[:1], ways[1:2]) == (0, 0, 2.0)


def test_what_a_distance_says() -> None:
    limit = PairLimit(0.1, 0.001, "body")
    assert [verdict(distance, limit) for distance in (0.09, 0.1, 0.3)] == ["one person", "two people", "two people"]
    assert verdict(0.0, None) == "undecided"
    assert known_limit(CARD) is None
    assert known_limit(replace(CARD, same_person=0.2)) == PairLimit(0.2, 0.001, "body")
