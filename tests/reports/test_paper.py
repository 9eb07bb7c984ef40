import pytest

from scalesearch.reports.paper import TABLE_2, derived, explanations, released

# torchvision 0.29.2's num_params; fvcore's convolution + linear count of its modules at the paper's resolutions
COUNTED = {
    "b0": (5_288_548, 385_814_752), "b1": (7_794_184, 686_802_832), "b2": (9_109_994, 993_561_872),
    "b3": (12_233_232, 1_827_141_392), "b4": (19_341_616, 4_393_771_024), "b5": (30_389_784, 10_266_384_752),
    "b6": (43_040_704, 19_067_593_536), "b7": (66_347_960, 37_745_884_192),
}  # fmt: skip
# width 1.1^φ, depth 1.2^φ, round(224 · 1.15^φ) px, divisor 8, depths rounded up: built and counted elsewhere
FORMULA = {
    1: (258, 9_109_994, 992_629_472), 2: (296, 12_233_232, 1_809_892_064), 3: (341, 16_338_888, 3_250_498_024),
    4: (392, 25_940_032, 6_321_019_376), 5: (451, 33_702_516, 11_372_628_704),
    6: (518, 45_477_208, 20_095_347_776), 7: (596, 68_741_810, 39_663_901_696),
}  # fmt: skip


def test_released_networks_count_as_torchvision_counts_them() -> None:
    family = released()
    assert {one.name: (one.ours.params, one.ours.macs) for one in family} == COUNTED
    assert {one.name: one.torchvision.params for one in family} == {
        name: params for name, (params, _) in COUNTED.items()
    }
    for one in family:
        assert round(one.there.macs / 1e9, 3) == pytest.approx(one.torchvision.macs / 1e9, abs=1e-9)
    assert [one.name for one in family if one.torchvision.resolution != one.resolution] == ["b2"]


def test_formula_s_family() -> None:
    assert {one.phi: (one.resolution, one.cost.params, one.cost.macs) for one in derived() if one.phi} == FORMULA


def test_where_the_paper_s_figures_differ() -> None:
    family = released()
    assert TABLE_2.keys() == {one.name for one in family}
    off = {one.name: round(100 * one.flops.difference, 1) for one in family if not one.flops.agrees}
    assert off == {"b1": -1.9, "b4": 4.6, "b5": 3.7, "b7": 2.0}
    assert [one.name for one in family if not one.params.agrees] == ["b2"]


def test_explanations_carry_the_numbers() -> None:
    said = "\n".join(explanations(released(), derived()))
    assert "exactly for 8 of 8 networks" in said
    assert "b4 4.2B in print, 4.39 counted (+4.6 %), b5 9.9B in print, 10.3 counted (+3.7 %)" in said
    assert "b2: torchvision counts at 288 px, the paper at 260; at 288 px we count 1.088 G" in said
    assert "the first step cost 2.57 ×; its widths and depths are those of the released b2" in said
