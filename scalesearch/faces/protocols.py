"""The protocols: verification of pairs, closed-set and open-set identification, without overlap of identities.

Open set. Each member's photos are divided at random, half of them enrolled and the others shown. Strangers are divided
by person: on the first half the threshold is fitted, on the second it is judged. Where no strangers are given, people
of the folder are taken: half are members, a quarter each the strangers to fit and to judge on.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scalesearch.data.source import IntArray
from scalesearch.errors import UserError
from scalesearch.faces.gallery import Matches, Threshold, add, empty_gallery, fitted, search
from scalesearch.faces.model import EmbeddingSet, FloatArray
from scalesearch.study.statistics import PAIR_DRAWS, accepted_interval, design_effect, next_interval, people_interval
from scalesearch.units import counted

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
FOLDS = 10
FARS = (1e-2, 1e-3)
FPIRS = (0.01, 0.1)
MOST_PAIRS = 100_000  # beyond so many, intervals come from fewer draws
FEW_DRAWS = 100
PAIR_COLUMNS = ("a", "b", "same")
CURVE_POINTS = 200


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of photos: squared ``distances`` float32 (n,); who is on them, ``first`` and ``second`` int64 (n,).

    Raises UserError for distances that are no finite numbers, or of other numbers of photos.
    """

    distances: FloatArray
    first: IntArray
    second: IntArray

    def __post_init__(self) -> None:
        shapes = [one.shape for one in (self.distances, self.first, self.second)]
        if len(shapes[0]) != 1 or len(set(shapes)) > 1:
            raise UserError("pairs", f"distances and people have the shapes {shapes}, which should be one (n,).")
        lost = int((~np.isfinite(self.distances)).sum())
        if lost:
            raise UserError("pairs", f"{lost} of {counted(len(self.distances), 'distance')} are no finite numbers.")

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


def both_kinds(pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    """Distances of the pairs of one person, and of those of two, neither empty. Raises UserError otherwise."""
    same = pairs.same
    if not same.any() or same.all():
        problem = f"it takes both, but {int(same.sum())} pairs are of one person and {int((~same).sum())} of two."
        raise UserError("verification", problem)
    return pairs.distances[same], pairs.distances[~same]


def rates(pairs: Pairs) -> tuple[Floats, Floats]:
    """False-accept and true-accept rate (n,) as the threshold passes one pair after the other.

    Raises UserError without pairs of both kinds, as all of these figures do.
    """
    positive, negative = both_kinds(pairs)
    same = pairs.same[np.argsort(pairs.distances, kind="stable")]
    return np.cumsum(~same) / len(negative), np.cumsum(same) / len(positive)


def auc(pairs: Pairs) -> float:
    """Probability that a pair of one person lies nearer than a pair of two; ties count half."""
    positive, negative = both_kinds(pairs)
    negative = np.sort(negative)
    below, upto = (np.searchsorted(negative, positive, side) for side in ("left", "right"))
    return float(1 - ((below + upto) / 2).mean() / len(negative))


def tar_at(pairs: Pairs, far: float) -> float:
    """Share of the pairs of one person nearer than the ⌊far·n⌋ + 1-th nearest of the n pairs of two."""
    positive, negative = both_kinds(pairs)
    return float((positive < limit_at(negative, far)).mean())


def fold_accuracy(pairs: Pairs, folds: IntArray) -> tuple[float, float]:
    """Mean and standard error over folds of the accuracy at the threshold that is best on all other folds.

    As LFW reports it (Huang et al. 2007): the threshold never sees the pairs that it is judged on.

    Args:
        folds: int64 (n,), the fold of each pair.

    Raises:
        UserError: fewer than two folds, or not one for each pair.
    """
    if len(np.unique(folds)) < 2 or folds.shape != pairs.distances.shape:
        problem = f"{len(pairs.distances)} pairs have {len(folds)} marks of {counted(len(np.unique(folds)), 'fold')}"
        raise UserError("verification", f"{problem}; it takes one for each pair, of two folds at least.")
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
    folds_of = np.zeros(len(same), np.int64)
    rng = np.random.default_rng(seed)
    for kind in (True, False):
        places = np.flatnonzero(same == kind)
        folds_of[rng.permutation(places)] = np.arange(len(places)) % folds
    return folds_of


def tpir(right: BoolArray, distances: FloatArray, limit: float) -> float:
    """Share of members' photos that are let in under the right name."""
    return float((right & (distances < limit)).mean()) if len(right) else float("nan")


def limit_at(stranger_distances: FloatArray, share: float) -> float:
    """The distance below which this share of these very distances lies, at most: the ⌊share·n⌋ + 1-th nearest.

    Raises UserError for a share outside 0 to 1, and without distances.
    """
    if not (len(stranger_distances) and 0 <= share <= 1):
        raise UserError("rate", f"{share:g} of {counted(len(stranger_distances), 'distance')} cannot be accepted.")
    ordered = np.sort(stranger_distances)
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered) + 1e-9))])


@dataclass(frozen=True, eq=False)
class OpenSet:
    """One division into members and strangers, matched.

    Args:
        names: of the members.
        enrolled: int64 (members,), photos enrolled of each.
        truth: int64 (probes,), who is on each shown photo of a member.
        members: who is nearest to those.
        strangers: who is nearest to the photos of strangers to judge on; ``stranger_people`` says who is on each.
        threshold: fitted on the other strangers.
        next_low, next_high: interval of the false-positive rate on just these stranger photos.
    """

    names: tuple[str, ...]
    enrolled: IntArray
    truth: IntArray
    members: Matches
    strangers: Matches
    stranger_people: IntArray
    threshold: Threshold
    next_low: float
    next_high: float

    @property
    def right(self) -> BoolArray:
        """Whether each shown member's nearest neighbour is of the same person."""
        right: BoolArray = self.members.people == self.truth
        return right

    @property
    def fpir(self) -> float:
        """The false-positive rate achieved on the strangers to judge on."""
        return float((self.strangers.distances < self.threshold.distance).mean())


def open_set(people: EmbeddingSet, strangers: EmbeddingSet | None, fpir: float, seed: int) -> OpenSet:
    """Divides, enrols, fits and matches (see the head of this file).

    Raises UserError where a part comes out empty.
    """
    rng = np.random.default_rng(seed)
    if strangers is None:
        order = rng.permutation(len(people.names))
        half, quarter = -(-len(order) // 2), len(order) // 4
        strangers = _of(people, order[half:])
        fit_people = order[half : half + quarter]
        fit_part = np.isin(people.labels[np.isin(people.labels, order[half:])], fit_people)
        people = _of(people, order[:half])
    else:
        order = rng.permutation(len(strangers.names))
        fit_part = np.isin(strangers.labels, order[: len(order) // 2])
    enrol = _enrolled(people.labels, rng)
    if fit_part.sum() < 2 or not (~fit_part).any() or enrol.all():
        raise UserError(
            "open-set evaluation", f"{counted(len(people.names), 'member')} with {int((~enrol).sum())} photos to show "
            f"and {counted(len(np.unique(strangers.labels)), 'stranger')} are too few: it takes two photos of a member "
            "and four strangers.", do="Bring more people, or --strangers.",
        )  # fmt: skip
    gallery = empty_gallery("", people.vectors.shape[1])
    for label, name in enumerate(people.names):
        gallery = add(gallery, name, people.vectors[enrol & (people.labels == label)])
    known = fitted(gallery, fpir, strangers.vectors[fit_part], strangers.labels[fit_part])
    judged = search(known, strangers.vectors[~fit_part])
    judged_people = strangers.labels[~fit_part]
    threshold = known.threshold
    assert threshold is not None
    place = round(threshold.expected * (threshold.photos + 1))
    low, high = next_interval(
        place, threshold.photos, threshold.photos / threshold.effective, len(judged_people),
        design_effect(judged.distances, judged_people),
    )  # fmt: skip
    return OpenSet(
        people.names, np.bincount(people.labels[enrol], minlength=len(people.names)), people.labels[~enrol],
        search(known, people.vectors[~enrol]), judged, judged_people, threshold, low, high,
    )  # fmt: skip


def _of(people: EmbeddingSet, chosen: IntArray) -> EmbeddingSet:
    rows = np.isin(people.labels, chosen)
    kept, labels = np.unique(people.labels[rows], return_inverse=True)
    return EmbeddingSet(tuple(people.names[k] for k in kept), labels.astype(np.int64), people.vectors[rows])


def _enrolled(labels: IntArray, rng: np.random.Generator) -> BoolArray:
    """Half of each person's photos, at random, rounded up."""
    enrolled = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        enrolled[own[: -(-len(own) // 2)]] = True
    return enrolled


def open_set_values(division: OpenSet) -> dict[str, Any]:
    """Rank-1, TPIR at fixed and at the fitted threshold, the rate achieved, and each person's share."""
    right, distances = division.right, division.members.distances
    inside = right & (distances < division.threshold.distance)
    values: dict[str, Any] = {
        "members": len(division.names), "probes": len(right), "stranger_photos": len(division.stranger_people),
        "rank1": float(right.mean()), "rank1_interval": people_interval(right, division.truth),
        "threshold": division.threshold.to_dict(), "fpir": division.fpir,
        "fpir_interval": (division.next_low, division.next_high), "tpir": float(inside.mean()),
        "tpir_interval": people_interval(inside, division.truth), "tpir_at": {},
    }  # fmt: skip
    for rate in FPIRS:
        limit = limit_at(division.strangers.distances, rate)
        passed = right & (distances < limit)
        values["tpir_at"][f"{rate:g}"] = {
            "tpir": tpir(right, distances, limit), "interval": people_interval(passed, division.truth)
        }  # fmt: skip
    values["per_person"] = [
        {
            "name": name, "enrolled": int(division.enrolled[label]), "shown": int((division.truth == label).sum()),
            "rank1": _mean(right[division.truth == label]), "let_in": _mean(inside[division.truth == label]),
        }
        for label, name in enumerate(division.names)
    ]  # fmt: skip
    return values


def _mean(values: BoolArray) -> float | None:
    return float(values.mean()) if len(values) else None


def open_set_curve(division: OpenSet) -> dict[str, list[float]]:
    """TPIR against FPIR, both on the photos judged: at most 200 points."""
    limits = np.sort(division.strangers.distances)
    places = np.unique(np.geomspace(1, len(limits), CURVE_POINTS).astype(int)) - 1
    right, distances = division.right, division.members.distances
    return {
        "fpir": [float(place / len(limits)) for place in places],
        "tpir": [tpir(right, distances, float(limits[place])) for place in places],
    }


def read_pairs(path: Path, files: dict[str, int], option: str = "--pairs") -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of a CSV file with columns a, b (files below the folder) and same (1 or 0); ``fold`` if there is one.

    Args:
        files: position of each photo by its path below the folder, with forward slashes.

    Returns:
        positions of the first and second photos, and each pair's fold (-1: none given).

    Raises:
        UserError: no file, columns missing, photos that are not there, or labels that contradict the folders.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = tuple(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{option} {path}", f"this is no CSV file that can be read ({error}).") from None
    if missing := [name for name in PAIR_COLUMNS if name not in columns]:
        raise UserError(
            f"{option} {path}", f"it has no column {', '.join(missing)}.",
            do="Give the columns a and b, photos below the folder, and same, 1 or 0.",
        )  # fmt: skip
    left, right, folds = [], [], []
    for number, row in enumerate(rows, start=2):
        for name in (row["a"], row["b"]):
            if name not in files:
                raise UserError(f"{option} {path}, line {number}", f"there is no photo {name} below the folder.")
        same = str(row["a"]).rpartition("/")[0] == str(row["b"]).rpartition("/")[0]
        if row["same"] not in ("0", "1") or (row["same"] == "1") != same:
            where = "one folder" if same else "two folders"
            problem = f"same is {row['same']}, but the photos are in {where}, so it must be {int(same)}."
            raise UserError(f"{option} {path}, line {number}", problem)
        left.append(files[row["a"]])
        right.append(files[row["b"]])
        folds.append(int(row["fold"]) if (row.get("fold") or "").isdecimal() else -1)
    if not {row["same"] for row in rows} >= {"0", "1"}:
        raise UserError(f"{option} {path}", "it takes pairs of one person and pairs of two.")
    return tuple(np.array(column, dtype=np.int64) for column in (left, right, folds))  # type: ignore[return-value]


def verification(pairs: Pairs, folds: IntArray | None = None, seed: int = 0) -> dict[str, Any]:
    """Accuracy over ten folds, AUC, true-accept rates with intervals, of pairs."""
    both_kinds(pairs)
    same = pairs.same
    given = folds is not None and len(np.unique(folds)) > 1 and folds.min() >= 0
    accuracy, error = fold_accuracy(pairs, folds if given and folds is not None else random_folds(same, seed))
    draws = PAIR_DRAWS if len(same) <= MOST_PAIRS else FEW_DRAWS
    sides = pairs.distances, pairs.first, pairs.second
    return {
        "pairs": len(same), "same": int(same.sum()), "accuracy": accuracy, "accuracy_error": error,
        "folds": "as given" if given else "drawn at random", "auc": auc(pairs),
        "tar": {
            f"{far:g}": {"tar": tar_at(pairs, far), "interval": accepted_interval(*sides, far, draws=draws)}
            for far in FARS
        },
    }  # fmt: skip


def roc_curve(pairs: Pairs) -> dict[str, list[float]]:
    """True against false accepts, thinned to 200 points spread over powers of ten."""
    far, tar = rates(pairs)
    negatives = len(both_kinds(pairs)[1])
    places = np.unique(np.searchsorted(far, np.geomspace(1 / negatives, 1, CURVE_POINTS)).clip(max=len(far) - 1))
    return {"far": far[places].tolist(), "tar": tar[places].tolist()}


def histogram(pairs: Pairs, bins: int = 40) -> dict[str, list[float]]:
    """Share of the pairs of one person and of two in each of ``bins`` bins of squared distance, 0 to 4."""
    both_kinds(pairs)
    edges = np.linspace(0, max(2.0, float(pairs.distances.max())), bins + 1)
    shares = {}
    for name, chosen in (("same", pairs.same), ("different", ~pairs.same)):
        counts, _ = np.histogram(pairs.distances[chosen], edges)
        shares[name] = (counts / counts.sum()).tolist()
    return {"edges": edges.tolist(), **shares}
