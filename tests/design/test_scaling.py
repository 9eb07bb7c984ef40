import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalesearch.design.budget import RESOLUTION_SLACK, Target, round_to_budget, spread_depths
from scalesearch.design.cost import cost
from scalesearch.design.family import family
from scalesearch.design.scaling import (
    MEASUREMENTS,
    PAPER,
    Coefficients,
    meet_seconds,
    published_spec,
    realised,
    scale,
    size_baseline,
)
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import NetSpec, reshape, round_width, shape_of
from scalesearch.errors import UserError

B0 = load_space("efficientnet_b0")
FACTOR = st.floats(1.0, 1.6)


@given(st.floats(1, 4000), st.sampled_from([1, 2, 4, 8, 16]))
def test_round_width_is_a_multiple_near_the_wanted_width(width: float, divisor: int) -> None:
    rounded = round_width(width, divisor)
    assert rounded % divisor == 0
    assert rounded >= 0.9 * width
    assert rounded - width <= divisor


def test_round_width_known_values() -> None:
    # 0.9 rule: 8-rounding 35.2 down to 32 would lose more than a tenth of 36
    assert [round_width(w, 8) for w in (32 * 1.1, 16 * 1.1, 24 * 1.2, 320 * 1.8, 3)] == [32, 16, 32, 576, 8]


def test_phi_zero_is_the_baseline_itself() -> None:
    for rounding in ("budget", "efficientnet"):
        assert scale(B0.baseline, PAPER, 0, rounding) == B0.baseline


@given(phi=st.floats(-2, 5), alpha=FACTOR, beta=FACTOR, gamma=FACTOR)
@settings(max_examples=40, deadline=None)
def test_any_real_phi_gives_a_network(phi: float, alpha: float, beta: float, gamma: float) -> None:
    for rounding in ("budget", "efficientnet"):
        spec = scale(B0.baseline, Coefficients(alpha, beta, gamma), phi, rounding)
        assert min(spec.depths) >= 1
        assert all(width % 8 == 0 and width > 0 for width in spec.widths)
        assert spec.resolution >= 1


@given(phi=st.floats(0.3, 4), alpha=FACTOR, beta=FACTOR, gamma=FACTOR)
@example(phi=1.25, alpha=1.0, beta=1.0, gamma=1.25)  # 288 px cost 5.6 % too little, 290 px too much
@settings(max_examples=40, deadline=None)
def test_budget_meets_the_real_flops(phi: float, alpha: float, beta: float, gamma: float) -> None:
    coefficients = Coefficients(alpha, beta, gamma)
    spec = scale(B0.baseline, coefficients, phi)
    wanted = cost(B0.baseline).macs * coefficients.nominal_ratio**phi
    resolution_alone = alpha == beta == 1  # then depth and width may not make up for the staircase of strides
    assert math.isclose(cost(spec).macs, wanted, rel_tol=0.07 if resolution_alone else 0.05)
    assert abs(spec.resolution / (224 * gamma**phi) - 1) <= RESOLUTION_SLACK + 0.01


@pytest.mark.parametrize("name", space_names())
def test_budget_table_agrees_with_the_closed_form(name: str) -> None:
    spec = load_space(name).baseline
    base = cost(spec).macs
    targets = [Target(d, w, r, 2 * base) for d in (1.0, 1.3) for w in (1.0, 1.17, 0.8) for r in (1.0, 1.21)]
    together = round_to_budget(spec, targets)
    for target, rounded in zip(targets, together, strict=True):
        assert rounded.cost == cost(reshape(spec, rounded.shape)).macs
        assert round_to_budget(spec, [target]) == [rounded]  # one alone is as one among many


def test_single_dimension_networks_stay_single() -> None:
    base = cost(B0.baseline).macs
    depth, width, resolution = (
        rounded.shape
        for rounded in round_to_budget(
            B0.baseline, [Target(2, 1, 1, 2 * base), Target(1, 1.4, 1, 2 * base), Target(1, 1, 1.4, 2 * base)]
        )
    )
    assert depth.widths == B0.baseline.widths
    assert width.depths == B0.baseline.depths
    assert resolution.widths == B0.baseline.widths
    assert resolution.depths == B0.baseline.depths
    assert resolution.resolution > 300


@given(depth=st.floats(0.3, 4), extra=st.integers(0, 3))
def test_spread_depths(depth: float, extra: int) -> None:
    wanted = sum(B0.baseline.depths) * depth
    total = math.floor(wanted) + extra
    spread = spread_depths(B0.baseline, depth, total)
    floor = B0.baseline.depths if depth >= 1 else (1,) * 7
    assert all(n >= low for n, low in zip(spread, floor, strict=True))
    assert sum(spread) >= total or depth < 1
    floors = [max(low, math.floor(n * depth)) for n, low in zip(B0.baseline.depths, floor, strict=True)]
    assert sum(spread) == max(total, sum(floors))


@pytest.mark.parametrize(
    "single", [Coefficients(2, 1, 1, 2.0), Coefficients(1, 2**0.5, 1, 2.0), Coefficients(1, 1, 2**0.5, 2.0)]
)
@pytest.mark.parametrize(
    ("name", "target"), [("efficientnet_lite0", 60e6), ("mbconv_small", 2e6), ("efficientnet_b0", None)]
)
def test_a_family_of_one_dimension_doubles_in_real_flops(name: str, target: float | None, single: Coefficients) -> None:
    """Depth alone needs more blocks than α^φ: stem, head and stages that keep their depth do not grow with it."""
    baseline = size_baseline(load_space(name), target, 5)
    for item in family(baseline, single, "budget")[1:]:
        assert item.ratio == pytest.approx(2**item.phi, rel=0.05)
        grown = realised(baseline, item.spec).shares
        place = (single.alpha, single.beta, single.gamma).index(max(single.alpha, single.beta, single.gamma))
        assert grown[place] == pytest.approx(sum(grown))  # and in nothing else
        assert place == 1 or item.spec.widths == baseline.widths


def test_one_dimension_that_hardly_grows_changes_nothing_else() -> None:
    for phi in (0.01, 0.05, 0.2, 0.5):
        for single in (Coefficients(2, 1, 1), Coefficients(1, 1, 2**0.5)):
            assert scale(B0.baseline, single, phi).widths == B0.baseline.widths


def test_lite_keeps_stem_head_and_outer_depths() -> None:
    lite = load_space("efficientnet_lite0")
    for rounding in ("budget", "efficientnet"):
        spec = scale(lite.baseline, PAPER, 3, rounding)
        assert (spec.stem.width, spec.head.width, spec.depths[0], spec.depths[-1]) == (32, 1280, 1, 1)
        assert spec.widths[0] > 16


def test_reshape_round_trip() -> None:
    spec = replace(B0.baseline, padding="same", classes=7, dropout=0.3)
    assert reshape(spec, shape_of(spec)) == spec


@pytest.mark.parametrize(
    ("coefficients", "phi", "where"),
    [
        (Coefficients(0.9, 1.1, 1.1), 1, "--alpha"),
        (Coefficients(1.2, float("nan"), 1.1), 1, "--beta"),
        (Coefficients(1.2, 1.1, 9), 1, "--gamma"),
        (PAPER, float("inf"), "--phi"),
        (PAPER, 400, "--phi"),
    ],
)
def test_bad_coefficients_are_named(coefficients: Coefficients, phi: float, where: str) -> None:
    with pytest.raises(UserError) as error:
        scale(B0.baseline, coefficients, phi)
    assert error.value.where == where


def test_unknown_published_member_lists_the_known() -> None:
    with pytest.raises(UserError, match="b0, b1"):
        published_spec(B0, "b9")


def test_a_phi_whose_powers_overflow_is_refused() -> None:
    with pytest.raises(UserError, match="--phi"):
        scale(B0.baseline, Coefficients(2.0, 1.0, 1.0), 5000)


class Clock:
    """Seconds of a network: an overhead, and some for each of its multiply-adds."""

    def __init__(self, overhead: float) -> None:
        self.overhead, self.asked = overhead, 0

    def __call__(self, spec: NetSpec) -> float:
        self.asked += 1
        return self.overhead + cost(spec).macs * 1e-10


@pytest.mark.parametrize("overhead", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("target", [0.03, 0.04, 0.1, 1.0])
def test_a_time_is_met_in_few_measurements(overhead: float, target: float) -> None:
    clock = Clock(overhead)
    member = meet_seconds(B0.baseline, PAPER, target, "budget", clock)
    assert member.cost == Clock(overhead)(member.spec)
    assert member.cost == pytest.approx(target, rel=0.05)
    assert member.spec == scale(B0.baseline, PAPER, member.phi)
    assert clock.asked <= MEASUREMENTS + 1


def test_a_time_below_the_overhead_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"--latency: .* cannot be .* to 1 ms; the nearest is 2\d(\.\d)? ms at φ = -"):
        meet_seconds(B0.baseline, PAPER, 0.001, "budget", Clock(0.02))


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(target: float) -> None:
    with pytest.raises(UserError, match="--latency"):
        meet_seconds(B0.baseline, PAPER, target, "budget", Clock(0.0))
