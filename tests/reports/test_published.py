import pytest

from scalesearch.reports.family_figure import STYLES
from scalesearch.reports.published import SERIES, best_published, published_networks

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
