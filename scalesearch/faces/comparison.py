"""Whether two photos show one person: their two nearest faces, and how near the faces of two people come."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from scalesearch.errors import UserError
from scalesearch.faces.gallery import squared
from scalesearch.faces.model import Card, EmbeddingSet, FloatArray
from scalesearch.faces.protocols import all_pairs, limit_at

Verdict = Literal["one person", "two people", "undecided"]
FAR = 0.001  # share of the pairs of two people that may be taken for one person
MOST_PHOTOS = 4000  # of strangers; their pairs are held in memory


@dataclass(frozen=True)
class PairLimit:
    """A squared distance below which two faces are taken for one person's.

    Args:
        far: share of the pairs of two people that are nearer, as asked for.
        basis: "strangers", whose pairs were looked at, or "body", with which it comes.
        pairs, people: of two people each, that it was fitted on; 0 where it comes with the body.
        nearer: how many of those pairs are nearer.
        same, same_nearer: pairs of one person there, and how many of them are nearer.
    """

    distance: float
    far: float
    basis: Literal["strangers", "body"]
    pairs: int = 0
    people: int = 0
    nearer: int = 0
    same: int = 0
    same_nearer: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def check_far(far: float) -> None:
    """Raises UserError for a false-accept rate out of range."""
    if not 0 < far < 1:
        raise UserError("--far", f"{far:g} is not between 0 and 1.")


def fitted_limit(strangers: EmbeddingSet, far: float) -> PairLimit:
    """The limit that the share ``far`` of the pairs of two people there are nearer than, at most.

    Of more than 4000 photos, so many are drawn. Raises UserError for a share out of range or fewer than two people.
    """
    check_far(far)
    vectors, labels = strangers.vectors, strangers.labels
    if len(labels) > MOST_PHOTOS:
        rows = np.sort(np.random.default_rng(0).choice(len(labels), MOST_PHOTOS, replace=False))
        vectors, labels = vectors[rows], labels[rows]
    people = len(np.unique(labels))
    if people < 2:
        problem = f"it takes photos of two people or more, and there are those of {people}."
        raise UserError("--strangers", problem)
    pairs = all_pairs(vectors, labels)
    two = pairs.distances[~pairs.same]
    limit = limit_at(two, far)
    one = pairs.distances[pairs.same]
    return PairLimit(
        limit, far, "strangers", len(two), people, int((two < limit).sum()), len(one), int((one < limit).sum())
    )  # fmt: skip


def known_limit(card: Card) -> PairLimit | None:
    """The limit that comes with a body, where it is known."""
    return None if card.same_person is None else PairLimit(card.same_person, FAR, "body")


def verdict(distance: float, limit: PairLimit | None) -> Verdict:
    """What a distance says."""
    if limit is None:
        return "undecided"
    return "one person" if distance < limit.distance else "two people"


def nearest_pair(first: FloatArray, second: FloatArray) -> tuple[int, int, float]:
    """Of the faces (n, D) of one photo and those (m, D) of another the two that are nearest, and their squared
    distance."""
    distances = squared(first @ second.T)
    row, column = np.unravel_index(int(distances.argmin()), distances.shape)
    return int(row), int(column), float(distances[row, column])
