"""How good embeddings are: verification of pairs, closed-set and open-set identification. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scalesearch.data.source import IntArray
from scalesearch.faces.network import FloatArray

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
FOLDS = 10
DRAWS = 500
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of photos: squared ``distances`` float32 (n,); who is on them, ``first`` and ``second`` int64 (n,)."""

    distances: FloatArray
    first: IntArray
    second: IntArray

    @property
    def same(self) -> BoolArray:
        """Whether both photos show one person."""
        same: BoolArray = self.first == self.second
        return same


def pairs_of(embeddings: FloatArray, labels: IntArray, left: IntArray, right: IntArray) -> Pairs:
    """The pairs (left[i], right[i]) of photos."""
    products = (embeddings[left] * embeddings[right]).sum(1)
    return Pairs(np.clip(2 - 2 * products, 0, 4), labels[left], labels[right])


def all_pairs(embeddings: FloatArray, labels: IntArray) -> Pairs:
    """Every photo with every other."""
    left, right = np.triu_indices(len(labels), 1)
    products = (embeddings @ embeddings.T)[left, right]
    return Pairs(np.clip(2 - 2 * products, 0, 4), labels[left], labels[right])


def rates(pairs: Pairs) -> tuple[Floats, Floats]:
    """False-accept and true-accept rate (n,) as the threshold passes one pair after the other."""
    same = pairs.same[np.argsort(pairs.distances, kind="stable")]
    return np.cumsum(~same) / max(1, int((~same).sum())), np.cumsum(same) / max(1, int(same.sum()))


def auc(pairs: Pairs) -> float:
    """Probability that a pair of one person lies nearer than a pair of two; ties count half."""
    negative = np.sort(pairs.distances[~pairs.same])
    positive = pairs.distances[pairs.same]
    below, upto = (np.searchsorted(negative, positive, side) for side in ("left", "right"))
    return float(1 - ((below + upto) / 2).mean() / len(negative))


def tar_at(pairs: Pairs, far: float) -> float:
    """Share of the pairs of one person nearer than the ⌊far·n⌋ + 1-th nearest of the n pairs of two."""
    negative = np.sort(pairs.distances[~pairs.same])
    limit = negative[min(len(negative) - 1, int(far * len(negative) + 1e-9))]
    return float((pairs.distances[pairs.same] < limit).mean())


def tar_interval(pairs: Pairs, far: float, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % interval of ``tar_at``: people are resampled, a pair counts as often as both its people were drawn."""
    order = np.argsort(pairs.distances, kind="stable")
    people, places = np.unique(np.concatenate((pairs.first[order], pairs.second[order])), return_inverse=True)
    first, second = places[: len(order)], places[len(order) :]
    same = first == second
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people)).astype(np.float32)
        weights = np.where(same, times[first], times[first] * times[second])
        accepted = np.cumsum(np.where(same, 0, weights))
        stop = int(np.searchsorted(accepted, far * accepted[-1], side="right"))
        total = float(weights[same].sum())
        found.append(float(weights[:stop][same[:stop]].sum()) / total if total else 0.0)
    return _middle(found)


def fold_accuracy(pairs: Pairs, folds: IntArray) -> tuple[float, float]:
    """Mean and standard error over folds of the accuracy at the threshold that is best on all other folds.

    As LFW reports it (Huang et al. 2007): the threshold never sees the pairs that it is judged on.

    Args:
        folds: int64 (n,), the fold of each pair.
    """
    accuracies = []
    for fold in np.unique(folds):
        held = folds == fold
        limit = _best_threshold(pairs.distances[~held], pairs.same[~held])
        accuracies.append(float(((pairs.distances[held] < limit) == pairs.same[held]).mean()))
    return float(np.mean(accuracies)), float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies)))


def _best_threshold(distances: FloatArray, same: BoolArray) -> float:
    """Between two neighbouring distances, where most pairs are on their right side."""
    order = np.argsort(distances, kind="stable")
    ordered = np.concatenate(([-1.0], distances[order].astype(np.float64), [5.0]))
    right = np.concatenate(([0], np.cumsum(np.where(same[order], 1, -1))))
    between = np.diff(ordered) > 0  # equal distances cannot be told apart
    best = int(np.where(between, right, -len(order) - 1).argmax())
    return float((ordered[best] + ordered[best + 1]) / 2)


def random_folds(same: BoolArray, seed: int, folds: int = FOLDS) -> IntArray:
    """A fold for each pair, with as many of one person and of two in each."""
    found = np.zeros(len(same), np.int64)
    rng = np.random.default_rng(seed)
    for kind in (True, False):
        places = np.flatnonzero(same == kind)
        found[rng.permutation(places)] = np.arange(len(places)) % folds
    return found


def tpir(right: BoolArray, distances: FloatArray, limit: float) -> float:
    """Share of members' photos that are let in under the right name."""
    return float((right & (distances < limit)).mean()) if len(right) else float("nan")


def limit_at(stranger_distances: FloatArray, fpir: float) -> float:
    """The distance below which the share ``fpir`` of these very photos lies, at most."""
    ordered = np.sort(stranger_distances)
    return float(ordered[min(len(ordered) - 1, int(fpir * len(ordered) + 1e-9))])


def people_interval(
    values: npt.ArrayLike, people: IntArray, *, draws: int = 4000, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of a mean over photos when people are resampled with all their photos.

    Where all are 0 or all 1 there is nothing to resample: then it is the exact binomial one (Clopper & Pearson 1934)
    with people for trials.

    Args:
        values: (n,), one a photo.
        people: int64 (n,), who is on it.
    """
    _, groups = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(groups, np.asarray(values, float)), np.bincount(groups)
    end = 1 - ((1 - level) / 2) ** (1 / len(sums))  # where none of so many happened
    if not sums.any():
        return 0.0, end
    if np.array_equal(sums, counts):
        return 1 - end, 1.0
    drawn = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
    return _middle(sums[drawn].sum(1) / counts[drawn].sum(1), level)


def _middle(values: Sequence[float] | Floats, level: float = LEVEL) -> tuple[float, float]:
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
