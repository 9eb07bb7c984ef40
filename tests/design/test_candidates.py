from collections import Counter
from dataclasses import astuple, replace
from itertools import combinations

import pytest

from scalesearch.design.candidates import NEAR, enumerate_candidates, nominal_triples
from scalesearch.design.cost import cost, score
from scalesearch.design.scaling import (
    PAPER,
    Coefficients,
    Multipliers,
    Step,
    meet,
    realised,
    scale,
    size_baseline,
)
from scalesearch.design.space import Grid, load_space, space_names
from scalesearch.design.spec import shape_of
from scalesearch.errors import UserError
from scalesearch.study.proxy import SHRINKING, choose_proxy

FINE = Grid(0.05, 0.1)
B0 = load_space("efficientnet_b0")


def test_nominal_triples_meet_the_constraint() -> None:
    triples = nominal_triples(FINE)
    assert len(triples) == 109  # 108 by strict float comparison, and one exactly on the tolerance
    assert all(1 <= v <= 2 for t in triples for v in (t.alpha, t.beta, t.gamma))
    assert all(abs(t.nominal_ratio - 2) <= 0.1 + 1e-6 for t in triples)
    assert Coefficients(1.2, 1.1, 1.15, 2.0) in triples


@pytest.mark.parametrize("name", space_names())
@pytest.mark.parametrize("classes", [10, 1000])
def test_nearly_every_triple_gets_a_network_of_twice_the_cost(name: str, classes: int) -> None:
    baseline = size_baseline(load_space(name), None, classes)
    enumeration = enumerate_candidates(baseline, FINE)
    assert 1 - len(enumeration.dropped) / enumeration.nominal >= 0.95
    assert all(abs(c.real_ratio / 2 - 1) <= 0.05 for c in enumeration.candidates)


@pytest.mark.parametrize("rounding", ["budget", "efficientnet"])
def test_each_network_once_with_all_its_triples(rounding: str) -> None:
    enumeration = enumerate_candidates(B0.baseline, FINE, rounding, None)
    digests = Counter(c.spec.digest for c in enumeration.candidates)
    assert set(digests.values()) == {1}
    on_grid = set(nominal_triples(FINE))
    listed = [replace(triple, growth=None) for c in enumeration.candidates for triple in c.triples]
    # where rounding is literal, 2/1/1 stands for a network of its own beside the control
    assert len(listed) - len(set(listed)) == (2 if rounding == "efficientnet" else 1)  # the paper's is on the grid
    assert len({replace(triple, growth=None) for triple in on_grid} & set(listed)) == enumeration.nominal
    assert not enumeration.dropped
    assert len(set(listed) - {replace(triple, growth=None) for triple in on_grid}) == 2  # width, resolution alone: √2
    assert [c.index for c in enumeration.candidates] == list(range(len(enumeration.candidates)))
    for candidate in enumeration.candidates:
        assert candidate.macs == cost(candidate.spec).macs
        assert candidate.trained == candidate.spec
        for triple in candidate.triples if rounding == "efficientnet" and not candidate.control else ():
            assert scale(B0.baseline, triple, 1, rounding).digest == candidate.spec.digest


QUICK = ("efficientnet_b0", "mbconv_small", "mobilenet_v3_small", "resnet18", "semnasnet")  # of each family one


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in space_names()]
)
def test_what_is_trained_costs_twice_the_baseline_as_trained(name: str) -> None:
    baseline = size_baseline(load_space(name), None, 10)
    for shrinking in SHRINKING:
        small = choose_proxy(baseline, 1000, False, None, shrinking).baseline
        enumeration = enumerate_candidates(baseline, Grid(0.1, 0.1), trained=small)
        names = {c.control for c in enumeration.candidates} - {""}
        # pixels alone go in steps where the last maps are of one or two, which not every triple can meet
        assert names == {"depth", "width", "resolution", "paper"} or shrinking != "family"
        for candidate in enumeration.candidates:
            assert candidate.proxy_macs == cost(candidate.trained).macs
            assert candidate.proxy_ratio == candidate.proxy_macs / cost(small).macs
            assert abs(candidate.proxy_ratio / 2 - 1) <= 0.05
            assert abs(candidate.real_ratio / 2 - 1) <= 0.05
            assert candidate.multipliers == realised(small, candidate.trained)
            assert min(candidate.multipliers.depth, candidate.multipliers.resolution) >= 1


def test_the_papers_triple_is_in_every_search_and_near_duplicates_are_one() -> None:
    for step in (0.05, 0.1, 0.3):
        candidates = enumerate_candidates(B0.baseline, Grid(step, 0.1)).candidates
        (paper,) = (c for c in candidates if c.control == "paper")
        assert any((t.alpha, t.beta, t.gamma) == (1.2, 1.1, 1.15) for t in paper.triples)
        places = [Multipliers(*astuple(c.coefficients)[:3]).shares for c in candidates if not c.control]
        apart = [max(abs(a - b) for a, b in zip(p, q, strict=True)) for p, q in combinations(places, 2)]
        assert min(apart, default=1.0) >= NEAR


def test_multipliers_share_out_the_doubling() -> None:
    for candidate in enumerate_candidates(B0.baseline, Grid(0.1, 0.1)).candidates:
        if candidate.control == "paper":  # stands for itself, whatever it was rounded to
            assert candidate.coefficients == replace(PAPER, growth=2.0)
        else:
            assert candidate.coefficients.nominal_ratio == pytest.approx(2)
        assert sum(candidate.multipliers.shares) == pytest.approx(1, abs=0.25)  # blocks differ in what they cost
    assert realised(B0.baseline, B0.baseline) == Multipliers(1, 1, 1)


@pytest.mark.parametrize("small", [None, 8e6])
def test_phi_1_is_the_network_that_was_compared(small: float | None) -> None:
    baseline = size_baseline(B0, 100e6, 10)
    trained = None if small is None else choose_proxy(baseline, 1000, False, small).baseline
    for candidate in enumerate_candidates(baseline, Grid(0.2, 0.1), trained=trained).candidates:
        step = Step(shape_of(baseline), shape_of(candidate.spec))
        found = replace(candidate.coefficients, growth=2.0, searched=step)
        assert scale(baseline, found, 1) == candidate.spec
        assert scale(baseline, found, 0) == baseline
        assert scale(B0.baseline, found, 1).resolution >= B0.baseline.resolution  # another φ = 0: by the factors


def test_paper_literal_grid_is_as_unequal_as_known() -> None:
    enumeration = enumerate_candidates(B0.baseline, FINE, "efficientnet", None)
    ratios = [c.real_ratio for c in enumeration.candidates if not c.control]
    assert len(ratios) == 64  # and the paper's own triple, which is on the grid
    assert (round(min(ratios), 2), round(max(ratios), 2)) == (1.93, 3.33)


def test_tolerance_that_leaves_nothing() -> None:
    with pytest.raises(UserError, match="no triple of this grid") as error:
        nominal_triples(Grid(0.1, 0.000_01, 1.3))
    assert error.value.where == "--tolerance"
    with pytest.raises(UserError, match="were dropped"):
        enumerate_candidates(B0.baseline, Grid(0.2, 0.1), "efficientnet", 0.0001)


def test_grid_too_fine_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(UserError, match="--step"):
        nominal_triples(Grid(0.001, 0.1, 8.0))


def test_sizing_keeps_b0_for_400m_and_scales_otherwise() -> None:
    assert size_baseline(B0, 400e6) == B0.baseline
    assert size_baseline(B0, None, 10).classes == 10
    for target in (20e6, 100e6, 1.2e9):
        assert abs(cost(size_baseline(B0, target)).macs / target - 1) < 0.05


@pytest.mark.parametrize("target", [1e3, 1e15, -1.0, float("nan")])
def test_sizing_out_of_reach(target: float) -> None:
    with pytest.raises(UserError, match="--target-flops"):
        size_baseline(B0, target)


@pytest.mark.parametrize("rounding", ["budget", "efficientnet"])
def test_meet_solves_for_phi(rounding: str) -> None:
    member = meet(B0.baseline, PAPER, 1.8e9, rounding)
    assert abs(member.cost / 1.8e9 - 1) < 0.05
    assert scale(B0.baseline, PAPER, member.phi, rounding) == member.spec
    assert member.cost == cost(member.spec).macs


def test_score_by_hand_and_t_cannot_change_the_order() -> None:
    assert score(0.8, 400e6, 400e6) == 0.8
    assert round(score(0.8, 800e6, 400e6) / 0.8, 4) == 0.9526  # 2^-0.07
    pairs = [(0.7, 3e8), (0.75, 6e8), (0.72, 4e8)]
    orders = {tuple(sorted(range(3), key=lambda i: score(*pairs[i], t))) for t in (1e6, 4e8, 1e12)}
    assert len(orders) == 1


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (Grid(0.01, 0.9), "more than the 20000 triples"),
        (Grid(0.004, 1.0), "more than the 20000 triples"),
        (Grid(1e-7, 0.1), "10000001 values from 1 to 2, and a search lists at most 310"),
        (Grid(0.0, 0.1), "grid.step"),
        (Grid(float("nan"), 0.1), "grid.step"),
        (Grid(0.1, 0.1, 1e300), "grid.maximum"),
    ],
)
def test_a_grid_that_no_search_could_list_is_refused(grid: Grid, says: str) -> None:
    with pytest.raises(UserError, match=says):
        nominal_triples(grid)
