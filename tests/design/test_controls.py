from dataclasses import replace

import pytest

from scalesearch.design.candidates import enumerate_candidates
from scalesearch.design.controls import EQUAL_COST, controls
from scalesearch.design.cost import cost
from scalesearch.design.scaling import size_baseline
from scalesearch.design.space import Grid, load_space, space_names
from scalesearch.design.spec import reshape, shape_of

SIZES = [
    *((name, None) for name in space_names()),
    *(("mbconv_small", target) for target in (1e6, 3e6, 40e6)),
    ("efficientnet_b0", 40e6),
    ("mobilenet_v2", 40e6),
]


@pytest.mark.parametrize(("name", "target"), SIZES)
def test_controls_cost_the_same_within_three_percent(name: str, target: float | None) -> None:
    baseline = size_baseline(load_space(name), target, 10)
    budget = 2 * cost(baseline).macs
    sized = controls(baseline, budget)
    assert [control.dimension for control in sized] == ["depth", "width", "resolution"]
    for control in sized:
        assert control.cost == cost(reshape(baseline, control.shape)).macs
        assert abs(control.cost / budget - 1) <= EQUAL_COST


@pytest.mark.parametrize("name", space_names())
def test_a_control_changes_its_own_dimension_alone(name: str) -> None:
    baseline = replace(load_space(name).baseline, classes=10)
    own = shape_of(baseline)
    depth, width, resolution = (control.shape for control in controls(baseline, 2 * cost(baseline).macs))
    assert replace(depth, depths=own.depths) == own
    assert replace(width, widths=own.widths, stem=own.stem, head=own.head) == own
    assert replace(resolution, resolution=own.resolution) == own
    assert sum(depth.depths) > sum(own.depths)
    assert sum(width.widths) > sum(own.widths)
    assert resolution.resolution > own.resolution


def test_stages_that_may_not_grow_have_no_depth_control() -> None:
    baseline = load_space("mbconv_small").baseline
    fixed = replace(baseline, stages=tuple(replace(stage, depth_scaled=False) for stage in baseline.stages))
    assert [control.dimension for control in controls(fixed, 2 * cost(fixed).macs)] == ["width", "resolution"]


@pytest.mark.parametrize("step", [0.1, 0.15, 0.3])
def test_controls_are_in_every_search_once_and_stand_for_their_axis(step: float) -> None:
    baseline = size_baseline(load_space("mbconv_small"), 3e6, 10)
    enumeration = enumerate_candidates(baseline, Grid(step, 0.3))
    assert [c.control for c in enumeration.candidates[:4]] == ["depth", "width", "resolution", "paper"]
    assert not any(c.control for c in enumeration.candidates[4:])
    for candidate in enumeration.candidates[3:]:
        c = candidate.triples[0]
        assert sum(value > 1 for value in (c.alpha, c.beta, c.gamma)) > 1
    assert [c.coefficients.nominal_ratio for c in enumeration.candidates[:3]] == pytest.approx([2.0] * 3)


def test_paper_literal_rounding_keeps_its_own_networks_beside_the_controls() -> None:
    baseline = load_space("efficientnet_b0").baseline
    enumeration = enumerate_candidates(baseline, Grid(0.1, 0.1), "efficientnet", None)
    assert sum(bool(c.control) for c in enumeration.candidates) == 4
    assert any(not c.control and c.triples[0].beta == c.triples[0].gamma == 1 for c in enumeration.candidates)
