import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from scalesearch.errors import ScaleSearchError
from scalesearch.study.agreement import kendall_tau, rank_agreement, regret, repeat_tau, weigh_together
from scalesearch.study.statistics import Bools, Evidence, SeedSpread, seed_spread

IMAGES = 400


def right(share: float, seeds: int = 1, *, seed: int = 0) -> Bools:
    """A network that gets about ``share`` of the images right, the easy ones first, with some noise of its own."""
    rng = np.random.default_rng(seed)
    ease = np.linspace(0, 1, IMAGES)
    return np.stack([ease + 0.05 * rng.standard_normal(IMAGES) < share for _ in range(seeds)])


def networks(shares: list[float], seeds: int = 2, seed: int = 0) -> list[Bools]:
    return [right(share, seeds, seed=seed + place) for place, share in enumerate(shares)]


def both(first: list[float], second: list[float], spread: SeedSpread | None = None) -> tuple[Evidence, Evidence]:
    ones = [1.0] * len(first)
    return weigh_together(networks(first), networks(second, seed=100), ones, ones, spread)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_tau_is_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    ours = float(kendall_tau(first, second))
    tied = len(set(first)) == 1 or len(set(second)) == 1
    assert np.isnan(ours) if tied else ours == pytest.approx(kendalltau(first, second).statistic)


def test_tau_of_many_draws_at_once() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((5, 7)), rng.random((5, 7))
    assert kendall_tau(first, second) == pytest.approx([kendalltau(a, b).statistic for a, b in zip(first, second)])  # noqa: B905


def test_orders_far_apart_agree_surely_and_reversed_ones_disagree() -> None:
    shares = [0.2, 0.4, 0.6, 0.8]
    same = rank_agreement(*both(shares, shares))
    assert same is not None
    assert (same.value, same.low, same.high) == (1, 1, 1)
    reversed_ = rank_agreement(*both(shares, shares[::-1]))
    assert reversed_ is not None
    assert (reversed_.value, reversed_.low, reversed_.high) == (-1, -1, -1)


def test_close_networks_have_a_wide_interval_that_seeds_make_wider() -> None:
    close = [0.5, 0.501, 0.502, 0.503, 0.504]
    images_only = rank_agreement(*both(close, close))
    with_seeds = rank_agreement(*both(close, close, SeedSpread(0.05, 4)))
    assert images_only is not None
    assert with_seeds is not None
    assert images_only.low < images_only.value < images_only.high
    assert with_seeds.high - with_seeds.low > 1
    assert with_seeds.low < 0 < with_seeds.high


def test_images_are_drawn_alike_on_both_sides_and_seeds_apart() -> None:
    one = right(0.5)
    alike = weigh_together([one, one], [one, one], [1, 1], [1, 1], None)
    assert np.array_equal(alike[0].deviations, alike[1].deviations)
    apart = weigh_together([one, one], [one, one], [1, 1], [1, 1], SeedSpread(0.5, 9))
    assert abs(np.corrcoef(apart[0].deviations[:, 0], apart[1].deviations[:, 0])[0, 1]) < 0.1


def test_nothing_to_rank() -> None:
    single = both([0.5], [0.5])
    assert rank_agreement(*single) is None
    assert repeat_tau(single[1]) is None
    assert regret(single[1], 0) is None
    same = right(0.5)
    tied = weigh_together([same, same], [same, same], [1, 1], [1, 1], None)
    assert rank_agreement(*tied) is None
    assert repeat_tau(tied[1]) is None
    with pytest.raises(ScaleSearchError):
        weigh_together([], [], [], [], None)


def test_a_repetition_agrees_as_far_as_noise_lets_it() -> None:
    far, near = both([0.2, 0.5, 0.8], [0.2, 0.5, 0.8])[1], both([0.5, 0.502], [0.5, 0.502], SeedSpread(0.05, 4))[1]
    assert repeat_tau(far) == 1
    told = repeat_tau(near)
    assert told is not None
    assert -0.2 < told < 0.5


def test_regret_is_the_gap_to_the_best() -> None:
    _, evidence = both([0.5, 0.6, 0.7], [0.5, 0.8, 0.6])
    found = regret(evidence, 2)
    assert found is not None
    assert found.against == 1
    assert found.value == found.gap == pytest.approx(evidence.scores[1] - evidence.scores[2])
    assert 0 < found.low < found.gap < found.high


def test_no_regret_of_the_best_whose_lead_over_the_runner_up_is_given() -> None:
    _, evidence = both([0.5, 0.6, 0.7], [0.5, 0.8, 0.6])
    found = regret(evidence, 1)
    assert found is not None
    assert (found.against, found.value) == (2, 0)
    assert found.low < found.gap < found.high < 0


def test_seeds_widen_the_regrets_interval() -> None:
    pair = networks([0.5, 0.52])
    tight, wide = (
        regret(weigh_together(pair, pair, [1, 1], [1, 1], spread)[1], 0)
        for spread in (seed_spread([]), SeedSpread(0.1, 5))
    )
    assert tight is not None
    assert wide is not None
    assert wide.high - wide.low > 2 * (tight.high - tight.low)
