"""The protocols: who is where, pair files, figures' numbers."""

from pathlib import Path

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.faces.model import EmbeddingSet
from scalesearch.faces.protocols import (
    all_pairs,
    histogram,
    open_set,
    open_set_curve,
    open_set_values,
    read_pairs,
    roc_curve,
    verification,
)

FILES = {f"p{person}/{photo}.png": 4 * person + photo for person in range(3) for photo in range(4)}


def people(count: int, photos: int, seed: int, noise: float = 0.5, prefix: str = "p") -> EmbeddingSet:
    rng = np.random.default_rng(seed)
    vectors = np.repeat(rng.normal(size=(count, 16)), photos, 0) + noise * rng.normal(size=(count * photos, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return EmbeddingSet(tuple(f"{prefix}{n}" for n in range(count)), np.repeat(np.arange(count), photos), vectors)


def test_members_are_recognised_and_strangers_kept_out() -> None:
    found = open_set(people(20, 6, 0), people(60, 3, 1, prefix="s"), 0.05, seed=0)
    values = open_set_values(found)
    assert values["rank1"] > 0.95
    assert values["members"] == 20
    assert values["probes"] == 60
    assert found.enrolled.tolist() == [3] * 20
    assert found.next_low <= values["fpir"] <= found.next_high
    assert len(values["per_person"]) == 20
    assert values["tpir_at"]["0.1"]["tpir"] >= values["tpir_at"]["0.01"]["tpir"]


def test_strangers_to_fit_and_to_judge_on_are_other_people() -> None:
    found = open_set(people(20, 6, 0), people(61, 3, 1), 0.05, seed=0)
    assert found.threshold.people == 30
    assert len(np.unique(found.stranger_people)) == 31


def test_without_strangers_the_folder_is_divided_by_person() -> None:
    found = open_set(people(20, 6, 0), None, 0.05, seed=0)
    assert (len(found.names), found.threshold.people, len(np.unique(found.stranger_people))) == (10, 5, 5)


def test_too_few_people_are_refused() -> None:
    with pytest.raises(UserError, match="open-set"):
        open_set(people(2, 3, 0), None, 0.05, seed=0)


def test_curves_rise() -> None:
    crowd = people(10, 5, 0, noise=1.0)
    pairs = all_pairs(crowd.vectors, crowd.labels)
    roc, distances = roc_curve(pairs), histogram(pairs)
    assert roc["far"] == sorted(roc["far"])
    assert roc["tar"] == sorted(roc["tar"])
    assert sum(distances["same"]) == pytest.approx(1)
    assert sum(distances["different"]) == pytest.approx(1)
    found = open_set_curve(open_set(people(20, 6, 0, noise=1.0), people(60, 3, 1), 0.05, 0))
    assert found["tpir"] == sorted(found["tpir"])


def test_verification_takes_given_folds() -> None:
    crowd = people(10, 4, 0, noise=1.0)
    pairs = all_pairs(crowd.vectors, crowd.labels)
    folds = np.arange(len(pairs.distances)) % 10
    assert verification(pairs, folds)["folds"] == "as given"
    assert verification(pairs)["folds"] == "drawn at random"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    return path


def test_pairs_are_read(tmp_path: Path) -> None:
    left, right, folds = read_pairs(write(tmp_path, "a,b,same\np0/0.png,p0/1.png,1\np0/0.png,p2/3.png,0\n"), FILES)
    assert (left.tolist(), right.tolist(), folds.tolist()) == ([0, 0], [1, 11], [-1, -1])


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\np0/0.png,p0/1.png\n", "it has no column same"), ("a,b,same\np0/0.png,p9/1.png,1\n", "p9/1.png"),
     ("a,b,same\np0/0.png,p0/1.png,0\n", "one folder"), ("a,b,same\np0/0.png,p0/1.png,1\n", "pairs of two"),
     ("", "it has no column a, b, same")],
)  # fmt: skip
def test_bad_pair_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_pairs(write(tmp_path, text), FILES)


def test_a_missing_pair_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pairs"):
        read_pairs(tmp_path / "none.csv", FILES)
