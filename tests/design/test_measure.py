"""Costs: a measure says of a network what its parts come to, and sizing, searching and scaling keep to it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.design.budget import BudgetFit, Target, aim, round_to_budget
from scalesearch.design.candidates import enumerate_candidates, proxy_of
from scalesearch.design.controls import controls
from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS, Entering, Kind, Measure, Portion
from scalesearch.design.scaling import PAPER, meet, realised, scale, size_baseline
from scalesearch.design.space import Grid, load_space, space_names
from scalesearch.design.spec import NetSpec, reshape
from scalesearch.errors import UserError
from tests.devices import made_up_table

KINDS: tuple[Kind, ...] = ("flops", "params", "activations", "memory", "latency")
TABLE = made_up_table(space_names())
SMALL = load_space("mbconv_small").baseline
GRID = Grid(0.1, 0.1)


def of_kind(kind: Kind) -> Measure:
    return Measure(kind, table=TABLE if kind == "latency" else None)


def added_up(measure: Measure, spec: NetSpec) -> float:
    """A network's cost, part by part."""
    side = np.array([spec.resolution])
    meter, size, width_in = measure.meter, -(-side // spec.stem.reduction), spec.stem.width
    parts: list[Portion] = [meter.stem(spec, spec.stem.width, side)]
    for stage in spec.stages:
        given = Entering(width_in, size)
        for number in range(stage.depth):
            stride = 1 if number else stage.stride
            parts.append(meter.block(spec, stage, width_in, stride, size, given if number else None))
            size, width_in = -(-size // stride), stage.width
    parts += [meter.head(spec, width_in, spec.head.width, size), meter.classifier(spec, spec.pooled_width, size)]
    held = [part.held for part in parts if part.held is not None]
    total = meter.total(np.sum([part.added for part in parts], axis=0), np.max(held, axis=0) if held else None)
    return float(total[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", space_names())
def test_parts_come_to_the_whole(name: str, kind: Kind) -> None:
    measure = of_kind(kind)
    for resolution in (33, load_space(name).baseline.resolution):
        spec = replace(load_space(name).baseline, resolution=resolution)
        assert added_up(measure, spec) == pytest.approx(measure.of(spec), rel=1e-12)


@given(
    st.sampled_from(KINDS), st.sampled_from(["mbconv_small", "mobilenet_v3_small", "resnet18"]),
    st.floats(1, 1.8), st.floats(1, 1.5), st.floats(1, 1.5), st.floats(1.2, 4),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_rounding_costs_what_it_says(
    kind: Kind, name: str, depth: float, width: float, resolution: float, ratio: float
) -> None:
    measure, spec = of_kind(kind), load_space(name).baseline
    target = Target(depth, width, resolution, ratio * measure.of(spec))
    (fit,) = round_to_budget(spec, [target], measure)
    assert fit == BudgetFit(fit.shape, pytest.approx(measure.of(reshape(spec, fit.shape)), rel=1e-12))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["mbconv_small", "efficientnet_b0", "mobilenet_v3_small"])
def test_candidates_are_equal_in_what_is_measured(name: str, kind: Kind) -> None:
    baseline, measure = load_space(name).baseline, of_kind(kind)
    listed = enumerate_candidates(baseline, GRID, measure=measure)
    for one in listed.candidates:
        assert one.real_ratio == one.proxy_ratio == measure.of(one.spec) / measure.of(baseline)
        assert one.real_ratio == pytest.approx(2, rel=0.05)
        assert one.macs == cost(one.spec).macs
    grown = {one.control for one in listed.candidates if one.control} - {"paper"}
    assert grown == {"depth", "width", *(["resolution"] if kind != "params" else [])}
    assert len(listed.candidates) >= 6


def test_pixels_that_cost_nothing_stay() -> None:
    listed = enumerate_candidates(SMALL, GRID, measure=Measure("params"))
    assert {one.spec.resolution for one in listed.candidates} == {SMALL.resolution}
    assert aim(SMALL, (1.2, 1.1, 1.15), 2 * cost(SMALL).params, Measure("params")).resolution == 1
    assert size_baseline(load_space("mbconv_small"), 1e6, measure=Measure("params")).resolution == SMALL.resolution


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phi", [-1, 2, 3])
def test_a_family_grows_in_its_own_measure(kind: Kind, phi: int) -> None:
    measure = of_kind(kind)
    for one in enumerate_candidates(SMALL, GRID, measure=measure).candidates[2::3]:
        if one.control == "resolution":
            continue  # alone its steps are those of one pixel before strides
        member = scale(SMALL, one.coefficients, phi)
        if phi < 0:  # a stage keeps a block
            assert measure.of(member) < measure.of(SMALL)
            continue
        assert measure.of(member) == pytest.approx(2.0**phi * measure.of(SMALL), rel=0.12), one.coefficients


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.3, 3.0, 20.0])
def test_a_baseline_has_the_size_asked_for(kind: Kind, ratio: float) -> None:
    space, measure = load_space("efficientnet_b0"), of_kind(kind)
    target = ratio * measure.of(space.baseline)
    assert measure.of(size_baseline(space, target, measure=measure)) == pytest.approx(target, rel=0.05)


def test_a_size_that_cannot_be_had_is_refused_in_its_unit() -> None:
    family = replace(PAPER, growth=2.0, measure=Measure("params"))
    with pytest.raises(UserError, match=r"--target: .*parameters\) cannot be scaled to 10 parameters; the nearest is"):
        meet(SMALL, family, 10, "budget", "--target")


@pytest.mark.parametrize("kind", KINDS)
def test_controls_change_one_dimension(kind: Kind) -> None:
    measure = of_kind(kind)
    for one in controls(SMALL, 2 * measure.of(SMALL), measure):
        has = realised(SMALL, reshape(SMALL, one.shape))
        others = {"depth": has.depth, "width": has.width, "resolution": has.resolution}
        del others[one.dimension]
        assert list(others.values()) == pytest.approx([1, 1], abs=0.05)


def test_what_is_trained_has_the_multipliers_of_the_network_that_it_stands_for() -> None:
    baseline = load_space("efficientnet_b0").baseline
    small = meet(baseline, PAPER, 20e6, "budget").spec
    for one in enumerate_candidates(baseline, GRID, trained=small, measure=Measure("activations")).candidates:
        assert one.trained == proxy_of(one.spec, baseline, small)
        assert one.proxy_ratio == one.real_ratio == pytest.approx(2, rel=0.05)
        wanted, has = realised(baseline, one.spec), realised(small, one.trained)
        assert has.shares == pytest.approx(wanted.shares, abs=0.35)
        ratios = [cost(end).macs / cost(start).macs for end, start in ((one.spec, baseline), (one.trained, small))]
        assert ratios[1] == pytest.approx(ratios[0], rel=0.05)


def test_factors_of_flops_are_taken_as_they_are() -> None:
    assert aim(SMALL, (1.2, 1.1, 1.15), 5e6) == Target(1.2, 1.1, 1.15, 5e6)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("flops", "400M", 4e8),
        ("params", "5.3M", 5.3e6),
        ("activations", "6k", 6000.0),
        ("memory", "64 MB", 64e6),
        ("latency", "20 ms", 20.0),
    ],
)
def test_sizes_are_read_and_written(kind: Kind, text: str, value: float) -> None:
    unit = Measure(kind).unit
    assert unit.read(text, "--target") == value
    assert unit.short(value) == text
    with pytest.raises(UserError, match="--target"):
        unit.read("20 apples", "--target")


def test_flops_are_the_measure_where_none_is_named() -> None:
    values: dict[str, Any] = {"kind": "flops"}
    assert Measure(**values) == FLOPS == PAPER.measure
