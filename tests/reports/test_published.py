import pytest

from scalesearch.reports import tables
from scalesearch.reports.figures.members import STYLES
from scalesearch.reports.published import (
    SERIES,
    TABLE_2,
    best_published,
    derived,
    explanations,
    published_networks,
    released,
)

# torchvision 0.29.2's weight metadata: acc@1, multiply-adds, parameters, crop
GOLDEN = {
    ("efficientnet_b0", "IMAGENET1K_V1"): (0.77692, 386_000_000, 5_288_548, 224),
    ("efficientnet_b1", "IMAGENET1K_V2"): (0.79838, 687_000_000, 7_794_184, 240),
    ("efficientnet_b2", "IMAGENET1K_V1"): (0.80608, 1_088_000_000, 9_109_994, 288),
    ("efficientnet_b7", "IMAGENET1K_V1"): (0.84122, 37_746_000_000, 66_347_960, 600),
    ("efficientnet_v2_l", "IMAGENET1K_V1"): (0.85808, 56_080_000_000, 118_515_272, 480),
    ("googlenet", "IMAGENET1K_V1"): (0.69778, 1_498_000_000, 6_624_904, 224),
    ("resnet50", "IMAGENET1K_V1"): (0.76130, 4_089_000_000, 25_557_032, 224),
    ("resnet50", "IMAGENET1K_V2"): (0.80858, 4_089_000_000, 25_557_032, 224),
    ("mobilenet_v3_small", "IMAGENET1K_V1"): (0.67668, 57_000_000, 2_542_856, 224),
    ("mnasnet1_3", "IMAGENET1K_V1"): (0.76506, 526_000_000, 6_282_256, 224),
}
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


@pytest.mark.parametrize("key", GOLDEN)
def test_published_values(key: tuple[str, str]) -> None:
    entry = {(entry.network, entry.weights): entry for entry in published_networks()}[key]
    assert (entry.top1, entry.macs, entry.params, entry.resolution) == GOLDEN[key]


def test_one_entry_a_network_with_its_best_weights() -> None:
    best = {entry.network: entry for entry in best_published()}
    assert len(best) == len(best_published()) == sum(map(len, SERIES.values()))
    assert best["resnet50"].weights == "IMAGENET1K_V2"


def test_every_series_has_a_style() -> None:
    assert STYLES.keys() == SERIES.keys()


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
    assert "b2: torchvision counts at 288 px, the paper at 260; at 288 px we count 1.088G" in said
    assert "the first step cost 2.57 ×; its widths and depths are those of the released b2" in said


def test_both_families_as_tables() -> None:
    rows = {row[0]: row for row in tables.released(released()).texts}
    assert rows["b0"][4:11] == ["5.3M", "5,288,548", "5,288,548", "0.39B", "0.386G", "0.386G", "rounds to it"]
    assert rows["b2"][8] == "1.088G @288"
    assert rows["b4"][10] == "+4.6 %"
    assert tables.formula(derived()).texts[1] == ["1", "258", "9,109,994", "0.993G", "2.57", "2", "1.92"]
