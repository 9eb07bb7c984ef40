import pytest

from scalesearch.reports import tables
from scalesearch.reports.scaled import PRINTED, reasons, scaled

# depths rounded up, widths by MobileNet's rule: what fvcore counts of the modules built from these specs
COUNTED = {
    ("MobileNetV2", "baseline"): (224, 300_774_272), ("MobileNetV2", "depth"): (224, 1_219_587_776),
    ("MobileNetV2", "width"): (224, 1_137_428_224), ("MobileNetV2", "resolution"): (448, 1_199_257_088),
    ("MobileNetV2", "compound"): (291, 1_442_045_088), ("ResNet-50", "baseline"): (224, 4_089_184_256),
    ("ResNet-50", "depth"): (224, 14_570_749_952), ("ResNet-50", "width"): (224, 16_116_613_120),
    ("ResNet-50", "resolution"): (448, 16_350_593_024), ("ResNet-50", "compound"): (291, 15_787_841_632),
    ("EfficientNet-B0", "baseline"): (224, 385_814_752), ("EfficientNet-B0", "depth"): (224, 1_575_132_640),
    ("EfficientNet-B0", "width"): (224, 1_449_958_848), ("EfficientNet-B0", "resolution"): (448, 1_537_537_408),
    ("EfficientNet-B0", "compound"): (291, 1_800_091_280),
}  # fmt: skip


def test_scaled_networks_are_counted() -> None:
    rows = {(one.network, one.by): one for one in scaled()}
    assert {key: (one.resolution, one.flops.counted) for key, one in rows.items() if one.flops} == COUNTED
    assert {one.network for one in scaled() if one.flops is None} == {"MobileNetV1"}
    assert len(rows) == sum(map(len, PRINTED.values())) == 19
    assert rows["EfficientNet-B0", "compound"].ratio == pytest.approx(4.6657, abs=1e-4)


def test_where_the_paper_s_figures_differ() -> None:
    off = {
        (one.network, one.by): round(100 * one.flops.difference, 1)
        for one in scaled()
        if one.flops and not one.flops.agrees
    }
    assert off == {
        ("MobileNetV2", "compound"): 10.9, ("ResNet-50", "depth"): -10.1, ("ResNet-50", "width"): 9.6,
        ("ResNet-50", "compound"): -5.5, ("EfficientNet-B0", "depth"): -12.5, ("EfficientNet-B0", "width"): -19.4,
        ("EfficientNet-B0", "resolution"): -19.1,
    }  # fmt: skip


def test_reasons_carry_the_numbers() -> None:
    said = "\n".join(reasons(scaled()))
    assert "our count rounded for 8 of the 15 networks that can be expressed here. MobileNetV1 cannot" in said
    assert "0.301G × 1.4·1.2²·1.3² is 1.02G, and depths rounded up make it 1.44G" in said
    assert "16.2B and 14.7B are our 16.1G and 14.6G to 1 %, but for each other's row" in said
    assert "4 × 0.386G is 1.54G and cannot give 1.8–1.9B, which would be 4.7 to 4.9 × the baseline" in said
    assert "compound scaling gives 1.80G, 14–24 % more" in said


def test_the_table_as_it_is_shown() -> None:
    rows = tables.scaled_networks(scaled()).texts
    assert rows[0] == ["MobileNetV1", "–", "1/1/1", "–", "70.6 %", "0.6B", "–", "not here", "–"]
    assert rows[8] == ["MobileNetV2", "compound", "1.4/1.2/1.3", "291", "77.4 %", "1.3B", "1.442G", "+10.9 %", "4.79"]
    assert rows[12] == ["ResNet-50", "resolution", "1/1/2", "448", "77.5 %", "16.4B", "16.351G", "rounds", "4.00"]
