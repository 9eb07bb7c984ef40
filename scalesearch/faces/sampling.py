"""P×K batches: P people, K photos of each. Order, crops and colours follow from (seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np

from scalesearch.data.source import IntArray
from scalesearch.errors import UserError

TINY = 1e-6  # weight of people who have all come, where a batch needs them again


def steps_per_epoch(labels: IntArray, people: int, photos: int) -> int:
    """P×K batches of an epoch: each person comes ⌈their photos / K⌉ times, and short batches are left out."""
    _, counts = np.unique(labels, return_counts=True)
    return max(1, int((-(-counts // photos)).sum()) // min(people, len(counts)))


def pk_batches(labels: IntArray, people: int, photos: int, *, seed: int, epoch: int) -> Iterator[IntArray]:
    """Positions in ``labels``, int64 (P·K,) a batch: K of each of P people, no person twice in one batch.

    A person's photos are gone through in a random order, K at a time; where fewer than K are left, others of theirs
    are drawn again. P is lowered to the number of people there are.

    Args:
        labels: int64 (N,), the person on each photo; everybody has two or more.
    """
    known, counts = np.unique(labels, return_counts=True)
    if len(known) < 2 or counts.min() < 2 or photos < 2:
        raise UserError(
            "training photos", f"{len(known)} people, {counts.min() if len(counts) else 0} photo(s) of one",
            "two or more people with two or more photos each, and --photos of at least 2",
        )  # fmt: skip
    rng = np.random.default_rng([seed, epoch])
    people = min(people, len(known))
    waiting = {int(label): _groups(np.flatnonzero(labels == label), photos, rng) for label in known}
    for _ in range(steps_per_epoch(labels, people, photos)):
        # the more of a person is left, the likelier they come, so that few are left over
        order = sorted(waiting, key=lambda label: rng.exponential() / max(len(waiting[label]), TINY))[:people]
        batch = []
        for label in order:
            if not waiting[label]:
                waiting[label] = _groups(np.flatnonzero(labels == label), photos, rng)
            batch.append(waiting[label].pop())
        yield np.concatenate(batch)


def _groups(own: IntArray, photos: int, rng: np.random.Generator) -> list[IntArray]:
    """A person's photos in random order, ``photos`` at a time; the last group filled up with others of theirs."""
    order = rng.permutation(own)
    short = -len(order) % photos
    if short:
        others = order[: len(order) - (photos - short)]  # not those already in the last group
        others = others if len(others) else own
        order = np.concatenate((order, rng.choice(others, short, replace=len(others) < short)))
    return [order[start : start + photos] for start in range(0, len(order), photos)]
