"""What families come to, against numbers counted by hand and worlds whose truth is known."""

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from scalesearch.study.family_answer import FamilyAnswer, Lead, compare
from scalesearch.study.family_plan import FamilyPlan, MemberTrial
from scalesearch.study.family_record import FamilyRecord
from scalesearch.study.statistics import Evidence, contrasts, sample, seed_spread, weigh
from tests.family_runs import plan_of, usual, written


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[FamilyRecord, FamilyAnswer]:
    record = written(tmp_path_factory.mktemp("full"), plan_of())
    return record, answered(record)


def answered(record: FamilyRecord) -> FamilyAnswer:
    answer = compare(record)
    assert answer is not None
    return answer


def means(record: FamilyRecord) -> dict[str, float]:
    """Mean accuracy of each contender, straight from what its trainings got right."""
    return {one.name: float(record.right(n).mean()) for n, one in enumerate(record.plan.contenders)}


def lead(leads: tuple[Lead, ...], over: str, *phis: float) -> Lead:
    return next(one for one in leads if one.over == over and (not phis or one.phis == phis))


def test_points_are_the_trainings_on_the_test_images(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    assert {one.name: one.accuracy.value for one in answer.points} == pytest.approx(means(record))
    assert {one.seeds for one in answer.points} == {3}
    first = answer.points[0]
    assert first.families == ("found", "paper", "depth", "width", "resolution")
    assert [one.name for one in answer.curve("found")] == ["b0", "b1", "b2", "b3"]
    assert record.latencies is not None
    assert first.latency_ms == record.latencies.milliseconds["b0"]
    for one in answer.points:
        assert 0 <= one.accuracy.low < one.accuracy.value < one.accuracy.high <= 1


def test_leads_are_differences_at_equal_phi_and_their_mean(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    accuracy = means(record)
    gaps = [accuracy[f"b{phi}"] - accuracy[f"paper-b{phi}"] for phi in (1, 2, 3)]
    assert lead(answer.leads, "paper").interval.value == pytest.approx(np.mean(gaps))
    assert lead(answer.leads, "paper").phis == (1.0, 2.0, 3.0)
    assert [lead(answer.leads_at, "paper", phi).interval.value for phi in (1.0, 2.0, 3.0)] == pytest.approx(gaps)
    for one in (*answer.leads, *answer.leads_at):
        assert one.decided == (not one.interval.low <= 0 <= one.interval.high)
    assert lead(answer.leads, "depth").decided
    assert 0.9 < min(one.ratio for one in answer.leads_at) < max(one.ratio for one in answer.leads_at) < 1.2


def test_a_published_network_is_met_on_the_line_at_its_own_flops(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    macs = {one.name: one.macs for one in answer.points}
    share = np.log2(macs["mobilenet_v2"] / macs["b1"]) / np.log2(macs["b2"] / macs["b1"])
    accuracy = means(record)
    line = (1 - share) * accuracy["b1"] + share * accuracy["b2"]
    assert lead(answer.leads, "mobilenet_v2").interval.value == pytest.approx(line - accuracy["mobilenet_v2"])
    assert answer.outside == ("googlenet",)  # 2G FLOPs lie beyond b3
    assert "googlenet" not in {one.over for one in answer.leads}


def test_slopes_are_least_squares_over_doublings(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    _, answer = full
    points = answer.curve("width")
    fitted = np.polyfit(np.log2([one.macs for one in points]), [one.accuracy.value for one in points], 1)[0]
    (slope,) = [one.interval for one in answer.slopes if one.family == "width"]
    assert slope.value == pytest.approx(fitted)
    assert slope.low < slope.value < slope.high
    assert [one.family for one in answer.slopes] == ["found", "paper", "depth", "width", "resolution"]


def test_prices_count_what_is_shared_for_each_and_in_all_once(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    record, answer = full
    prices = {one.family: one for one in answer.prices}
    of_found = [row for row in record.rows if "found" in row.families]
    assert prices["found"].seconds == pytest.approx(sum(row.seconds for row in of_found))
    assert prices["found"].choosing == pytest.approx(sum(row.seconds for row in of_found if row.seed == 0))
    assert prices["found"].trainings == len(of_found)
    assert answer.seconds == pytest.approx(sum(row.seconds for row in record.rows))
    assert sum(one.seconds for one in answer.prices) > answer.seconds


def test_the_best_at_a_phi_are_those_that_nobody_beats(full: tuple[FamilyRecord, FamilyAnswer]) -> None:
    _, answer = full
    assert [one.phi for one in answer.best] == [1.0, 2.0, 3.0]
    assert answer.best[-1].families[0] == "found"
    assert "depth" not in answer.best[-1].families
    assert answer.best[-1].compared == ("found", "paper", "depth", "width", "resolution")


def test_crossing_curves_cross_where_they_do_and_a_shared_network_is_no_crossing(tmp_path: Path) -> None:
    def level(one: MemberTrial, plan: FamilyPlan) -> float:
        place = plan.contenders[one.contender].places[0]
        return 0.5 + 0.1 * (place.phi or 0) + (0.3 - 0.2 * (place.phi or 0)) * (one.name.startswith("depth"))

    plan = plan_of(("found", "depth"), 2, (), rates=(1e-3,), images=2000)
    (crossing,) = answered(written(tmp_path, plan, level=level)).crossings
    assert crossing.share == 1.0
    assert crossing.cost is not None
    assert crossing.low is not None
    assert crossing.high is not None
    assert crossing.low < crossing.cost < crossing.high
    assert 9e6 < crossing.cost < 12e6  # half a doubling above φ = 1, 7.4M

    apart = answered(written(tmp_path / "apart", plan, level=lambda one, plan: 0.5 + 0.3 * one.name.startswith("b")))
    assert (apart.crossings[0].cost, apart.crossings[0].share) == (None, 0.0)


def test_partial_results_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    plan = plan_of(("found", "depth"), 2, ("resnet18",))
    nothing = written(tmp_path / "none", plan, most=3)
    assert compare(nothing) is None
    assert nothing.left
    some = answered(written(tmp_path / "some", plan, most=12))
    assert 0 < len(some.points) < len(plan.contenders)
    for most in range(4, 24, 3):
        record = written(tmp_path / str(most), plan, most=most)
        answer = compare(record)
        if answer is not None:
            known = {one.name for one in answer.points}
            for one in answer.leads_at:
                assert {f"b{one.phis[0]:g}", f"depth-b{one.phis[0]:g}"} <= known


def test_a_family_of_the_same_networks_has_no_lead(tmp_path: Path) -> None:
    plan = plan_of(("found", "paper", "width"), 2, (), same={"paper": "found"}, rates=(1e-3,))
    answer = answered(written(tmp_path, plan))
    assert answer.same == ("paper",)
    assert [one.over for one in answer.leads] == ["width"]
    assert all(one.families != ("found", "paper") for one in answer.crossings)


def test_one_seed_shows_nothing_of_seeds(tmp_path: Path) -> None:
    plan = plan_of(("found", "width"), 1, (), rates=(1e-3,))
    assert answered(written(tmp_path / "one", plan, 1)).seed_sd is None
    assert answered(written(tmp_path / "two", plan, 2)).seed_sd is not None


def test_guessing_is_no_learning(tmp_path: Path) -> None:
    plan = plan_of(("found", "width"), 1, (), rates=(1e-3,))
    answer = answered(written(tmp_path / "all", plan, level=lambda one, plan: 0.25))
    assert not answer.learnt
    answer = answered(written(tmp_path / "one", plan, level=lambda one, plan: 0.25 + 0.3 * (one.name == "b1")))
    assert answer.learnt
    assert [one.name for one in answer.points if not one.learnt] == ["b0", "width-b1"]


def test_what_failed_is_no_point(tmp_path: Path) -> None:
    plan = plan_of(("found", "width"), 2, (), rates=(1e-3,))
    answer = answered(written(tmp_path, plan, failed=("width-b1",)))
    assert [one.name for one in answer.points] == ["b0", "b1", "b2"]  # width-b2 inherits from the one that failed
    assert answer.leads == ()


def test_members_that_inherit_have_no_narrower_intervals(tmp_path: Path) -> None:
    """Seeds may move all members of a curve alike; then their mean varies as one does."""
    inherits = plan_of(("found", "width"), 3, (), rates=(1e-3,))
    alone = replace(inherits, contenders=tuple(replace(one, parent=None) for one in inherits.contenders))
    widths = []
    for name, plan in (("inherits", inherits), ("alone", alone)):
        record = written(tmp_path / name, plan, level=usual, seed_sd=0.04)
        interval = answered(record).leads[0].interval
        widths.append(interval.high - interval.low)
    assert widths[0] > 1.2 * widths[1]


def test_contrasts_of_one_claim_reach_as_far_as_its_draws() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 3))
    evidence = Evidence(np.array([3.0, 1.0, 0.0]), draws, np.ones(3, np.int64), 0.0, None)
    (alone,) = contrasts([evidence], [[1.0, -1.0, 0.0]], together=True)
    assert alone.value == 2.0
    assert alone.high - alone.value == pytest.approx(1.96 * 2**0.5, rel=0.05)
    several = contrasts([evidence], np.eye(3), together=True)
    # of three independent ones: Φ⁻¹((1 + 0.95^(1/3)) / 2)
    assert several[0].high - 3.0 == pytest.approx(NormalDist().inv_cdf((1 + 0.95 ** (1 / 3)) / 2), rel=0.05)
    assert contrasts([evidence], np.eye(3), together=False)[0].high - 3.0 == pytest.approx(1.96, rel=0.05)
    assert contrasts([evidence], [], together=True) == ()


def test_groups_share_what_a_seed_moves() -> None:
    right = np.random.default_rng(0).random((3, 2, 300)) < 0.7
    samples = [sample(one) for one in right]
    spread = seed_spread(samples)
    shared = weigh(samples, [1.0] * 3, spread, [0, 0, 7])
    seeds = shared.deviations - weigh(samples, [1.0] * 3, None).deviations
    assert np.allclose(seeds[:, 0], seeds[:, 1])
    assert abs(np.corrcoef(seeds[:, 0], seeds[:, 2])[0, 1]) < 0.1


def test_simultaneous_intervals_hold_all_true_leads() -> None:
    """Four rivals, three φ, three seeds, 400 images shared by all: the leads' means, all at once."""
    rng, worlds, held = np.random.default_rng(7), 200, 0
    truth = np.array([[0.70, 0.75, 0.78], [0.70, 0.75, 0.78], [0.68, 0.72, 0.74], [0.71, 0.73, 0.75], [0.5, 0.6, 0.7]])
    weights = np.zeros((4, 15))
    weights[:, :3] = 1 / 3
    for rival in range(4):
        weights[rival, 3 * (rival + 1) : 3 * (rival + 2)] = -1 / 3
    cuts = np.array([NormalDist().inv_cdf(share) for share in np.linspace(0.01, 0.99, 981)])
    for _ in range(worlds):
        shares = truth.ravel()[:, None] + 0.015 * rng.standard_normal((15, 3))
        limits = cuts[np.clip(((shares - 0.01) * 1000).round().astype(int), 0, 980)]
        hard, luck = rng.standard_normal(400), rng.standard_normal((15, 3, 400))
        samples = [sample(one) for one in 0.8 * hard + 0.6 * luck < limits[:, :, None]]
        evidence = weigh(samples, [1.0] * 15, seed_spread(samples))
        intervals = contrasts([evidence], weights, together=True)
        held += all(
            one.low <= lead <= one.high for one, lead in zip(intervals, weights @ truth.ravel(), strict=True)
        )  # fmt: skip
    assert held >= 0.93 * worlds
