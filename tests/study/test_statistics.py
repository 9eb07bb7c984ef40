"""Those not beaten on simulated truths: they contain the best as often as stated, and are few where data allow; rank
agreement and regret; intervals of accuracies."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from scalesearch.errors import ScaleSearchError
from scalesearch.study.statistics import (
    Bools,
    Evidence,
    Floats,
    Sample,
    SeedSpread,
    accuracy_interval,
    carried,
    kendall_tau,
    not_beaten,
    rank_agreement,
    regret,
    repeat_tau,
    sample,
    seed_spread,
    weigh,
)

IMAGES = 400


def samples(correct: Sequence[Bools], draws: int = 400) -> list[Sample]:
    return [sample(one, draws=draws) for one in correct]


def simulated(abilities: list[float], images: int, seeds: int, seed_sd: float, rng: np.random.Generator) -> list[Bools]:
    """Right or wrong answers: images differ in difficulty for all networks alike, seeds move a network as a whole."""
    difficulty = rng.normal(0, 1.5, images)
    return [
        rng.random((seeds, images)) < 1 / (1 + np.exp(-(a + difficulty + rng.normal(0, seed_sd, seeds)[:, None])))
        for a in abilities
    ]


def coverage(gaps: list[float], images: int, seeds: int, seed_sd: float, repeats: int) -> tuple[float, float]:
    """How often the best of all is in the 90 % set, and the set's mean size."""
    hits = size = 0
    for repeat in range(repeats):
        correct = simulated(gaps, images, seeds, seed_sd, np.random.default_rng(repeat))
        judged = samples(correct)
        evidence = weigh(judged, [1.0] * len(gaps), seed_spread(judged))
        inside = not_beaten(evidence)
        hits += bool(inside[int(np.argmax(gaps))])
        size += int(inside.sum())
    return hits / repeats, size / repeats


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.1)])
def test_the_set_contains_the_best_nine_times_in_ten(seeds: int, seed_sd: float) -> None:
    """120 repeats: 85 % would be two standard errors below 90 %."""
    gaps = list(np.linspace(0.3, 0.0, 10))
    hit, size = coverage(gaps, 600, seeds, seed_sd, 120)
    assert hit >= 0.9
    assert 1 <= size < 10


def test_equal_networks_stay_in_together() -> None:
    hit, size = coverage([0.4] * 8, 400, 3, 0.05, 120)
    assert hit >= 0.85  # any of them is "the best": the level holds for each
    assert size > 6


def test_more_images_make_the_set_smaller() -> None:
    gaps = list(np.linspace(0.5, 0.0, 8))
    few, many = (coverage(gaps, images, 2, 0.02, 30)[1] for images in (150, 3000))
    assert many < few - 1
    assert many < 3


def test_without_the_spread_between_seeds_the_set_is_too_small() -> None:
    """Why a search trains its first rung twice: seeds that move whole networks look like evidence."""
    rng = np.random.default_rng(0)
    hidden = known = 0
    for _ in range(60):
        correct = simulated([0.2] * 6, 1500, 1, 0.3, rng)
        judged = samples(correct, 300)
        hidden += bool(not_beaten(weigh(judged, [1.0] * 6, None))[0])
        known += bool(not_beaten(weigh(judged, [1.0] * 6, SeedSpread(0.05, 100)))[0])
    assert hidden / 60 < 0.75
    assert known / 60 > 0.85


def test_spread_between_seeds_is_recovered_without_the_flips_of_single_images() -> None:
    rng = np.random.default_rng(1)
    assert seed_spread([sample(rng.random((1, 100)) < 0.5)]) is None
    flips_only = seed_spread(samples([rng.random((3, 500)) < 0.6 for _ in range(30)]))
    assert flips_only is not None
    assert flips_only.sd < 0.01
    assert flips_only.freedom == 60
    moved = seed_spread(samples([rng.random((3, 500)) < rng.normal(0.6, 0.05, (3, 1)) for _ in range(60)]))
    assert moved is not None
    assert moved.sd == pytest.approx(0.05, rel=0.2)


def test_one_candidate_and_all_equal() -> None:
    same = np.random.default_rng(0).random((2, 50)) < 0.5
    assert not_beaten(weigh([sample(same)], [1.0], None)).tolist() == [True]
    assert not_beaten(weigh([sample(same)] * 4, [1.0] * 4, None)).tolist() == [True] * 4


def test_less_than_one_image_is_no_evidence_but_all_images_are() -> None:
    same = np.random.default_rng(0).random((1, 400)) < 0.5
    assert not_beaten(weigh(samples([same, same]), [1.0, 0.999], None)).tolist() == [True, True]
    right, wrong = np.ones((1, 400), bool), np.zeros((1, 400), bool)
    assert not_beaten(weigh(samples([right, wrong]), [1.0, 1.0], None)).tolist() == [True, False]


def test_pairing_tells_apart_what_unpaired_intervals_do_not() -> None:
    rng = np.random.default_rng(2)
    better = rng.random((1, 1000)) < 0.6
    worse = better.copy()
    worse[0, np.flatnonzero(better[0])[:20]] = False  # 2 points, on 20 images alone
    evidence = weigh(samples([better, worse], 2000), [1.0, 1.0], None)
    low, high = evidence.interval(0).low, evidence.interval(1).high
    assert low < high  # the intervals overlap
    assert not_beaten(evidence).tolist() == [True, False]
    gap = evidence.gap(0, 1)
    assert gap.value == pytest.approx(0.02)
    assert 0 < gap.low < 0.02 < gap.high


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(2, 60), st.integers(0, 9))
def test_the_highest_score_is_always_in(count: int, seeds: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    correct = [rng.random((seeds, images)) < rng.random() for _ in range(count)]
    judged = samples(correct, 100)
    evidence = weigh(judged, list(rng.uniform(0.9, 1.1, count)), seed_spread(judged))
    assert not_beaten(evidence)[int(np.argmax(evidence.scores))]
    again = [weigh(one, [1.0] * count, seed_spread(one)).deviations for one in (judged, samples(correct, 100))]
    assert np.array_equal(*again)


def test_different_images_are_refused() -> None:
    with pytest.raises(ScaleSearchError, match="same images"):
        weigh(samples([np.ones((1, 5), bool), np.ones((1, 6), bool)]), [1.0, 1.0], None)
    with pytest.raises(ScaleSearchError, match="at least one image"):
        sample(np.ones((1, 0), bool))


def right(share: float, seeds: int = 1, *, seed: int = 0) -> Bools:
    """A network that gets about ``share`` of the images right, the easy ones first, with some noise of its own."""
    rng = np.random.default_rng(seed)
    ease = np.linspace(0, 1, IMAGES)
    return np.stack([ease + 0.05 * rng.standard_normal(IMAGES) < share for _ in range(seeds)])


def networks(shares: list[float], seeds: int = 2, seed: int = 0) -> list[Bools]:
    return [right(share, seeds, seed=seed + place) for place, share in enumerate(shares)]


def both(first: list[float], second: list[float], spread: SeedSpread | None = None) -> tuple[Evidence, Evidence]:
    ones = [1.0] * len(first)
    return together(networks(first), networks(second, seed=100), ones, ones, spread)


def together(
    first: list[Bools], second: list[Bools], at_one: list[float], at_phi: list[float], spread: SeedSpread | None
) -> tuple[Evidence, Evidence]:
    """The same networks at two sizes, drawn together."""
    both = weigh(samples([*first, *second], 2000), [*at_one, *at_phi], spread)
    return both.part(slice(None, len(first))), both.part(slice(len(first), None))


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
    alike = together([one, one], [one, one], [1, 1], [1, 1], None)
    assert np.array_equal(alike[0].deviations, alike[1].deviations)
    apart = together([one, one], [one, one], [1, 1], [1, 1], SeedSpread(0.5, 9))
    assert abs(np.corrcoef(apart[0].deviations[:, 0], apart[1].deviations[:, 0])[0, 1]) < 0.1


def test_nothing_to_rank() -> None:
    single = both([0.5], [0.5])
    assert rank_agreement(*single) is None
    assert repeat_tau(single[1]) is None
    assert regret(single[1], 0) is None
    same = right(0.5)
    tied = together([same, same], [same, same], [1, 1], [1, 1], None)
    assert rank_agreement(*tied) is None
    assert repeat_tau(tied[1]) is None
    with pytest.raises(ScaleSearchError):
        together([], [], [], [], None)


def test_a_repetition_agrees_as_far_as_noise_lets_it() -> None:
    far, near = both([0.2, 0.5, 0.8], [0.2, 0.5, 0.8])[1], both([0.5, 0.502], [0.5, 0.502], SeedSpread(0.05, 4))[1]
    assert repeat_tau(far) == 1
    told = repeat_tau(near)
    assert told is not None
    assert -0.2 < told < 0.5


def test_regret_is_the_gap_to_the_best() -> None:
    _, evidence = both([0.5, 0.6, 0.7], [0.5, 0.8, 0.6])
    loss = regret(evidence, 2)
    assert loss is not None
    assert loss.against == 1
    assert loss.value == loss.gap == pytest.approx(evidence.scores[1] - evidence.scores[2])
    assert 0 < loss.low < loss.gap < loss.high


def test_no_regret_of_the_best_whose_lead_over_the_runner_up_is_given() -> None:
    _, evidence = both([0.5, 0.6, 0.7], [0.5, 0.8, 0.6])
    loss = regret(evidence, 1)
    assert loss is not None
    assert (loss.against, loss.value) == (2, 0)
    assert loss.low < loss.gap < loss.high < 0


def test_seeds_widen_the_regrets_interval() -> None:
    pair = networks([0.5, 0.52])
    tight, wide = (
        regret(together(pair, pair, [1, 1], [1, 1], spread)[1], 0) for spread in (seed_spread([]), SeedSpread(0.1, 5))
    )
    assert tight is not None
    assert wide is not None
    assert wide.high - wide.low > 2 * (tight.high - tight.low)


def test_seeds_that_agree_on_every_image_are_worth_one() -> None:
    once = np.random.default_rng(0).random((1, 500)) < 0.7
    alone, thrice = accuracy_interval(once), accuracy_interval(np.repeat(once, 3, axis=0))
    assert (thrice.low, thrice.high) == pytest.approx((alone.low, alone.high))
    apart = accuracy_interval(np.random.default_rng(1).random((3, 500)) < 0.7)
    assert apart.high - apart.low < 0.7 * (alone.high - alone.low)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_accuracy_s_interval_has_a_width_at_the_ends(accuracy: float) -> None:
    one = accuracy_interval(np.full((2, 50), bool(accuracy)))
    assert one.value == accuracy
    assert 0 <= one.low < one.high <= 1


def at_two_sizes(rho: float, seed: int, networks: int = 8, spread: float = 0.015) -> tuple[Evidence, Floats]:
    """Networks whose true scores at two sizes correlate by ``rho``, judged on images that both sizes share."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0, 1, networks)
    second = rho * first + np.sqrt(1 - rho**2) * rng.normal(0, 1, networks)
    hard = rng.random(1500)
    truth = np.concatenate((0.55 + spread * first, 0.6 + spread * second))
    samples = [
        sample(np.stack([hard + rng.normal(0, 0.15, 1500) < x + rng.normal(0, 0.005) for _ in range(3)]), draws=300)
        for x in truth
    ]
    return weigh(samples, [1.0] * len(samples), seed_spread(samples)), truth


def test_a_joint_model_tells_whether_an_order_carries_over() -> None:
    agreed = [carried(at_two_sizes(0.95, seed, spread=0.03)[0], 0) for seed in range(3)]
    turned = [carried(at_two_sizes(-0.95, seed, spread=0.03)[0], 0) for seed in range(3)]
    assert all(one is not None and one.positive > 0.9 and one.correlation.low > -0.2 for one in agreed)
    assert all(one is not None and one.positive < 0.2 for one in turned)
    assert carried(at_two_sizes(0.5, 0, networks=2)[0], None) is None


def test_what_carries_over_is_covered_and_the_loss_is_bounded() -> None:
    held, bounded = 0, 0
    for seed in range(20):
        both, truth = at_two_sizes(0.5, seed)
        one = carried(both, 0)
        assert one is not None
        assert one.loss is not None
        assert one.bound is not None
        held += one.correlation.low <= 0.5 <= one.correlation.high
        bounded += truth[8:].max() - truth[8] <= one.bound
    assert held >= 18
    assert bounded >= 15
