"""Which networks are trained side by side: equal FLOPs on those that are trained, each once."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.design.cost import cost
from scalesearch.design.family import regularised
from scalesearch.design.scaling import PAPER, Coefficients, realised
from scalesearch.design.space import load_space
from scalesearch.design.spec import DIMENSIONS, NetSpec
from scalesearch.errors import UserError
from scalesearch.study.lineup import RIVALS, PublishedNetwork, contenders, scaled_specs

SMALL = replace(load_space("mbconv_small").baseline, classes=10)
FOUND = Coefficients(1.3, 1.1, 1.13, 2.0)


@pytest.mark.parametrize("space", ["mbconv_small", "resnet18", "mobilenet_v2"])
def test_at_each_phi_all_families_cost_the_same(space: str) -> None:
    baseline = load_space(space).baseline
    specs = scaled_specs(baseline, FOUND, "budget", (0, 1, 2, 3), RIVALS)
    assert tuple(specs) == ("found", *RIVALS)
    for phi in (1, 2, 3):
        macs = {family: cost(by_phi[phi]).macs for family, by_phi in specs.items()}
        assert macs["found"] == pytest.approx(2**phi * cost(baseline).macs, rel=0.06)
        for family, its in macs.items():
            assert its == pytest.approx(macs["found"], rel=0.06), (family, phi)
        for dimension in DIMENSIONS:  # which grows by its own dimension, but for a step or a few of channels
            grown = realised(baseline, specs[dimension][phi]).shares
            assert grown[DIMENSIONS.index(dimension)] > 0.8 * sum(grown)


def test_dropout_grows_as_released() -> None:
    b0 = load_space("efficientnet_b0").baseline
    released = [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    assert [regularised(b0, phi).dropout for phi in range(8)] == released
    assert regularised(replace(b0, dropout=0.6), 7).dropout == 0.6
    specs = scaled_specs(SMALL, FOUND, "budget", (0, 2), RIVALS)
    assert {by_phi[2].dropout for by_phi in specs.values()} == {SMALL.dropout + 0.1}


def test_each_network_once_parents_first_and_a_rate_for_each_curve() -> None:
    specs = scaled_specs(SMALL, FOUND, "budget", (0, 1, 2), ("paper", "depth"))
    resnet = PublishedNetwork("resnet18", load_space("resnet18").baseline)
    lined = contenders(specs, [resnet], 8, 4, None)
    assert [one.name for one in lined] == [
        "b0", "b1", "paper-b1", "depth-b1", "b2", "paper-b2", "depth-b2", "resnet18"
    ]  # fmt: skip
    assert [place.family for place in lined[0].places] == ["found", "paper", "depth"]
    assert [one.parent for one in lined] == [None, 0, 0, 0, 1, 2, 3, None]
    assert [one.tuned_by for one in lined] == [0, 1, 2, 3, 1, 2, 3, 7]
    assert [one.epochs for one in lined] == [8, 4, 4, 4, 4, 4, 4, 8]
    scratch = contenders(specs, [], 8, None, None)
    assert {one.parent for one in scratch} == {None}
    assert {one.epochs for one in scratch} == {8}


@pytest.mark.parametrize("name", ["b1", "depth", "paper-b1", "found"])
def test_a_published_network_has_a_name_of_its_own(name: str) -> None:
    specs = scaled_specs(SMALL, FOUND, "budget", (0, 1), ("paper",))
    with pytest.raises(UserError, match="would be called"):
        contenders(specs, [PublishedNetwork(name, SMALL)], 8, None, None)
    with pytest.raises(UserError, match="would be called"):
        contenders(specs, [PublishedNetwork("own", SMALL)] * 2, 8, None, None)


def test_found_coefficients_that_are_the_papers_are_one_curve() -> None:
    specs = scaled_specs(SMALL, replace(PAPER, growth=2.0), "budget", (0, 1, 2), ("paper",))
    lined = contenders(specs, [], 8, None, None)
    assert [one.name for one in lined] == ["b0", "b1", "b2"]
    assert all([place.family for place in one.places] == ["found", "paper"] for one in lined)


def test_a_family_that_begins_above_zero_has_rates_of_its_own() -> None:
    lined = contenders(scaled_specs(SMALL, FOUND, "budget", (1, 2), ("width",)), [], 8, 4, None)
    assert [(one.name, one.parent, one.tuned_by) for one in lined] == [
        ("b1", None, 0), ("width-b1", None, 1), ("b2", 0, 0), ("width-b2", 1, 1)
    ]  # fmt: skip


def test_a_dimension_that_cannot_grow_is_said() -> None:
    stages = tuple(replace(stage, depth_scaled=False) for stage in SMALL.stages)
    with pytest.raises(UserError, match="depth alone cannot be grown to φ = 1") as caught:
        scaled_specs(replace(SMALL, stages=stages), Coefficients(1.0, 1.2, 1.2, 2.0), "budget", (0, 1), ("depth",))
    assert caught.value.where == "--against depth"


@settings(max_examples=8, deadline=None)
@given(st.floats(1, 1.6), st.floats(1, 1.3), st.floats(1, 1.3), st.sampled_from([(0, 1), (0, 1, 2), (0, 2, 3)]))
def test_any_coefficients_line_up(alpha: float, beta: float, gamma: float, phis: tuple[int, ...]) -> None:
    found = Coefficients(alpha, beta, gamma, 2.0)
    if found.nominal_ratio < 1.5:
        return
    specs = scaled_specs(SMALL, found, "budget", phis, RIVALS)
    lined = contenders(specs, [], 4, 2, None)
    for number, one in enumerate(lined):
        assert one.parent is None or one.parent < number
        assert lined[one.tuned_by].tuned_by == one.tuned_by
        assert isinstance(one.spec, NetSpec)
    assert len({one.name for one in lined}) == len(lined)
    assert sum(len(one.places) for one in lined) == len(phis) * (1 + len(RIVALS))
