"""P×K batches: full, without repeats of a person, decided by (seed, epoch)."""

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.faces.train import pk_batches, steps_per_epoch

LABELS = np.repeat(np.arange(12), [2, 3, 4, 5, 6, 7, 8, 9, 2, 2, 3, 20]).astype(np.int64)


def epoch(seed: int = 0, number: int = 0, people: int = 4, photos: int = 4) -> list[np.ndarray]:
    return list(pk_batches(LABELS, people, photos, seed=seed, epoch=number))


def test_each_batch_has_p_people_with_k_photos() -> None:
    found = epoch()
    assert len(found) == steps_per_epoch(LABELS, 4, 4)
    for batch in found:
        _, counts = np.unique(LABELS[batch], return_counts=True)
        assert counts.tolist() == [4, 4, 4, 4]


def test_an_epoch_follows_from_seed_and_epoch_alone() -> None:
    assert np.array_equal(epoch(1, 2), epoch(1, 2))
    assert not np.array_equal(epoch(1, 2), epoch(1, 3))
    assert not np.array_equal(epoch(1, 2), epoch(2, 2))


def test_nearly_every_photo_comes_in_every_epoch() -> None:
    seen = np.unique(np.concatenate(epoch()))
    assert len(seen) >= 0.85 * len(LABELS)


def test_a_person_with_more_photos_comes_oftener() -> None:
    counts = np.bincount(np.concatenate([np.concatenate(epoch(0, n)) for n in range(20)]), minlength=len(LABELS))
    by_person = np.bincount(LABELS, counts) / 20
    assert by_person[11] > 2.5 * by_person[2]


def test_few_people_make_smaller_batches() -> None:
    labels = np.array([0, 0, 1, 1, 1], dtype=np.int64)
    batches = list(pk_batches(labels, 16, 4, seed=0, epoch=0))
    assert [len(batch) for batch in batches] == [8]


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 0, 1], []])
def test_one_person_or_one_photo_is_refused(labels: list[int]) -> None:
    with pytest.raises(UserError):
        list(pk_batches(np.array(labels, dtype=np.int64), 4, 2, seed=0, epoch=0))
