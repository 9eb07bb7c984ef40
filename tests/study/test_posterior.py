"""The posterior of a search on small simulated truths: what must not matter does not, what must be found is found."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scalesearch.errors import ScaleSearchError
from scalesearch.study.allocation import allocation, forecast
from scalesearch.study.posterior import Network, Posterior, Shown, careful, posterior
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import Floats

FULL, IMAGES, DENSITY = 18, 1200, 0.2  # the accuracy that a unit of margin is worth near one half
Draw = tuple[list[Network], list[Shown]]


def search(
    accuracies: Sequence[float], seeds: int = 3, *, repeat: int = 0, seed_sd: float = 0.007, epochs: int = FULL
) -> Draw:
    """A baseline and candidates with given true accuracies, all trained: images and seeds differ."""
    rng = np.random.default_rng(repeat)
    difficulty = rng.normal(0, 1.7, IMAGES)
    networks, shown = [Network(BASELINE, 1.0, (0.0, 0.0))], []
    for number, accuracy in enumerate((0.5, *accuracies), start=BASELINE):
        if number != BASELINE:
            networks.append(Network(number, 1.0, tuple(rng.normal(0, 0.5, 2).tolist())))
        for seed in range(seeds):
            shift = (accuracy - 0.5 + rng.normal(0, seed_sd)) / DENSITY
            margin = shift + difficulty + rng.normal(0, 1, IMAGES)
            soft = 1 / (1 + np.exp(-shift - difficulty - rng.normal(0, 0.5, IMAGES)))
            shown.append(Shown(number, seed, epochs, margin > 0, (0.5 + soft / 2).astype(np.float32)))
    return networks, shown


def hard(shown: Sequence[Shown]) -> list[Shown]:
    """Without the soft scores, as older runs are."""
    return [replace(one, soft=None) for one in shown]


def known(draw: Draw) -> Posterior:
    found = posterior(*draw, FULL)
    assert found is not None
    return found


def ties(known: Posterior) -> Floats:
    """The draws with what is common to all candidates taken off."""
    ours = np.stack([known.of(number) for number in known.candidates], axis=1)
    return np.asarray(ours - ours.mean(axis=1, keepdims=True))


def test_the_order_of_trainings_and_networks_does_not_matter() -> None:
    networks, shown = search([0.5, 0.51, 0.49, 0.5])
    rng = np.random.default_rng(1)
    other = posterior([networks[i] for i in rng.permutation(5)], [shown[i] for i in rng.permutation(15)], FULL)
    assert other is not None
    assert np.array_equal(known((networks, shown)).draws, other.draws)


def test_the_network_that_is_clearly_best_is_found() -> None:
    found = known(search([0.5, 0.5, 0.55, 0.5, 0.51, 0.49]))
    assert found.credible_set() == (2,)
    assert found.expected_loss(2) < 0.001
    assert found.loss_bound(0) > 0.03
    gap = found.advantage(2, 0)
    assert 0.02 < gap.low < gap.value < gap.high < 0.07
    assert found.equivalents(2, 0.005) == (2,)


def test_a_set_holds_as_much_probability_as_is_asked_of_it() -> None:
    found = known(search([0.5, 0.51, 0.505, 0.5]))
    probability = found.probability_best()
    assert BASELINE not in probability
    assert sum(probability.values()) == pytest.approx(1)
    for level in (0.5, 0.9, 0.99):
        members = found.credible_set(level)
        held = [probability[number] for number in members]
        assert held == sorted(held, reverse=True)
        assert sum(held) >= careful(level) > sum(held[:-1])


def test_equal_networks_are_not_told_apart() -> None:
    """60 searches of six equal candidates: the choice is called better than the first in 5 %, with room for chance."""
    false, sizes = 0, []
    for repeat in range(60):
        networks, shown = search([0.5] * 6, repeat=repeat)
        found = known((networks, hard(shown)))
        choice = found.candidates[int(ties(found).mean(axis=0).argmax())]
        false += choice != 0 and found.advantage(choice, 0).low > 0
        sizes.append(len(found.credible_set()))
    assert false <= 4
    assert np.mean(sizes) > 3.5


@pytest.mark.parametrize(("seeds", "soft"), [(1, False), (3, False), (3, True)])
def test_sets_and_intervals_hold_the_truth_as_often_as_they_say(seeds: int, soft: bool) -> None:
    """80 searches of eight candidates six tenths of a point apart: a standard error is 3.4 % at 90 %."""
    held = bounded = covered = 0
    said, lost = [], []
    for repeat in range(80):
        truth = np.random.default_rng((repeat, 9)).normal(0.5, 0.006, 8)
        networks, shown = search(truth.tolist(), seeds, repeat=repeat)
        found = known((networks, shown if soft else hard(shown)))
        choice = found.candidates[int(ties(found).mean(axis=0).argmax())]
        loss = truth.max() - truth[choice]
        held += int(truth.argmax()) in found.credible_set()
        bounded += loss <= found.loss_bound(choice)
        gap = found.advantage(choice, (choice + 1) % 8)
        covered += gap.low <= truth[choice] - truth[(choice + 1) % 8] <= gap.high
        said.append(found.expected_loss(choice))
        lost.append(loss)
    assert held >= 66
    assert bounded >= 66
    assert covered >= 70
    assert 0.5 < np.mean(said) / np.mean(lost) < 1.6


def test_shifting_all_accuracies_shifts_all_scores_alike() -> None:
    """Images that all networks get right are added: every score rises, and who is better stays as probable."""
    networks, shown = search([0.5, 0.52, 0.51, 0.5])
    shown = hard(shown)
    easy = np.ones(120, bool)
    more = [replace(one, right=np.concatenate((one.right, easy))) for one in shown]
    before, after = known((networks, shown)), known((networks, more))
    assert np.allclose(after.mean - before.mean, 120 / 1320 * (1 - before.mean), atol=0.002)
    for number, probability in before.probability_best().items():
        assert after.probability_best()[number] == pytest.approx(probability, abs=0.05)


def test_a_factor_turns_accuracy_into_score() -> None:
    networks, shown = search([0.5, 0.52])
    half = [replace(network, factor=0.5) for network in networks]
    ours, theirs = known((networks, shown)), known((half, shown))
    assert theirs.mean == pytest.approx(ours.mean / 2, abs=2e-3)
    assert theirs.draws.std(axis=0) == pytest.approx(ours.draws.std(axis=0) / 2, rel=0.25)


def test_early_rungs_alone_decide_nothing() -> None:
    """Ten points behind after four epochs: less probable, not out; no answer before a training to the end."""
    networks, early = search([0.4, 0.5, 0.5, 0.5], seeds=2, epochs=4)
    assert posterior(networks, early, FULL) is None
    _, full = search([0.4, 0.5, 0.5, 0.5], seeds=2)
    found = known((networks, [*hard(early), *(one for one in hard(full) if one.number in (BASELINE, 1, 2, 3))]))
    assert found.numbers == (BASELINE, 0, 1, 2, 3)
    assert found.probability_best()[0] > 0.01
    assert found.advantage(1, 0).low < 0
    alone = known((networks, [one for one in hard(full) if one.number != 0]))
    assert 0 not in alone.numbers


def test_early_readings_tell_who_is_better_where_both_orders_agree() -> None:
    """Sixteen candidates of which half are trained to the end: the others are ordered by their early readings."""
    truth = np.linspace(0.44, 0.56, 16)
    networks, early = search(truth.tolist(), seeds=2, epochs=4)
    _, full = search(truth.tolist(), seeds=1, repeat=1)
    found = known((networks, [*hard(early), *(one for one in hard(full) if one.number % 2)]))
    means = dict(zip(found.numbers, found.mean.tolist(), strict=True))
    assert np.corrcoef([means[n] for n in range(0, 16, 2)], truth[::2])[0, 1] > 0.9


def test_a_failed_seed_removes_nobody() -> None:
    networks, shown = search([0.5, 0.5, 0.56, 0.5])
    found = known((networks, [one for one in shown if (one.number, one.seed) != (2, 1)]))
    assert found.credible_set() == (2,)


def test_one_seed_is_enough_for_an_answer_and_more_are_better() -> None:
    truth = [0.5, 0.505, 0.51, 0.5, 0.495]
    one, three = (known(search(truth, seeds)) for seeds in (1, 3))
    assert (ties(three).std(axis=0) < ties(one).std(axis=0)).all()
    assert 0 < three.seed_sd.low < three.seed_sd.value < three.seed_sd.high
    assert one.seed_sd.high - one.seed_sd.low > three.seed_sd.high - three.seed_sd.low


def test_soft_scores_narrow_what_is_known_and_leave_the_accuracy() -> None:
    networks, shown = search([0.5, 0.505, 0.51, 0.5, 0.495])
    without, soft = known((networks, hard(shown))), known((networks, shown))
    assert ties(soft).std(axis=0).mean() < 0.9 * ties(without).std(axis=0).mean()
    assert soft.mean[1:].mean() == pytest.approx(without.mean[1:].mean(), abs=0.003)
    partly = [replace(one, soft=None) if one.number == 1 else one for one in shown]
    assert np.array_equal(known((networks, partly)).draws, without.draws)


def test_constant_predictors_say_nothing_of_the_spread() -> None:
    """Guessing networks all name one class, so their seeds agree on every image."""
    networks, shown = search([0.5, 0.5, 0.5], seeds=1)
    guess = np.arange(IMAGES) % 10 == 0
    constant = [Shown(number, seed, FULL, guess) for number in (1, 2) for seed in range(3)]
    sole = [one for one in hard(shown) if one.number not in (1, 2)]
    assert known((networks, sole + constant)).seed_sd == known((networks, sole)).seed_sd


@pytest.mark.parametrize("images", [16, 200])
@pytest.mark.parametrize("seeds", [1, 2])
def test_all_right_on_every_image_is_no_certainty(images: int, seeds: int) -> None:
    networks, _ = search([0.5, 0.5, 0.5])
    right = np.ones(images, bool)
    shown = [Shown(one.number, seed, FULL, right) for one in networks for seed in range(seeds)]
    found = known((networks, shown))
    assert np.isfinite(found.draws).all()
    assert found.draws.std(axis=0).min() > 0.1 / images
    assert len(allocation(found, 4)) == 4


def test_what_is_trained_next_is_what_may_be_best_and_is_least_known() -> None:
    networks, shown = search([0.55, 0.55, 0.4, 0.4], seeds=3)
    found = known((networks, [one for one in shown if one.number != 1 or one.seed == 0]))
    assert allocation(found, 1) == (1,)
    assert set(allocation(found, 12)) == {0, 1}


def test_more_trainings_promise_less_loss() -> None:
    found = known(search([0.5, 0.505, 0.51, 0.508, 0.495], seeds=1))
    promised = [forecast(found, trainings) for trainings in (0, 4, 16, 64)]
    assert promised[0] == pytest.approx(min(map(found.expected_loss, found.candidates)), abs=1e-9)
    assert all(later < earlier for earlier, later in pairwise(promised))


def test_the_region_is_that_of_the_best_ones_values() -> None:
    found = known(search([0.5, 0.5, 0.55, 0.5]))
    values = {number: (1.0 + number, 2.0) for number in range(4)}
    depth, width = found.region(values)
    assert (depth.low, depth.high) == (3.0, 3.0)
    assert (width.value, width.low, width.high) == (2.0, 2.0, 2.0)


def test_networks_must_be_judged_on_the_same_images() -> None:
    networks, shown = search([0.5, 0.5])
    with pytest.raises(ScaleSearchError, match="same images"):
        posterior(networks, [*shown, Shown(0, 9, FULL, np.ones(7, bool))], FULL)


def test_who_is_far_behind_neither_widens_what_is_believed_of_the_others_nor_is_drawn_to_them() -> None:
    near = [0.5, 0.501, 0.499, 0.5, 0.502, 0.498, 0.5, 0.5]
    alone, beside = known(search(near)), known(search([*near, 0.15, 0.2, 0.25]))
    for number in alone.candidates:
        spread = [np.subtract(*np.quantile(one.of(number) - one.of(0), [0.95, 0.05])) for one in (alone, beside)]
        assert spread[1] <= 1.15 * spread[0]
    far = np.array([beside.score(number).value for number in (8, 9, 10)])
    assert far == pytest.approx([0.15, 0.2, 0.25], abs=0.05)
    assert beside.credible_set() == tuple(n for n in beside.credible_set() if n < 8)


def test_no_bound_lies_below_what_is_expected() -> None:
    leader = known(search([0.6, 0.55, 0.5, 0.5]))
    assert np.quantile(leader.draws[:, 1:].max(axis=1) - leader.of(0), 0.9) == 0  # so that the quantile alone would
    for number in leader.candidates:
        assert leader.loss_bound(number) >= leader.expected_loss(number)


def test_the_region_is_that_of_the_set() -> None:
    found = known(search([0.5, 0.51, 0.49, 0.6]))
    assert found.credible_set() == (3,)
    assert [(one.low, one.high) for one in found.region({0: (1.0,), 1: (2.0,), 2: (3.0,), 3: (4.0,)})] == [(4.0, 4.0)]
