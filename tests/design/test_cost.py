import json
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.design.cost import block_operators, cost, operators, parts
from scalesearch.design.scaling import PAPER, published_spec, scale
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import Stage, expanded_width, squeeze_width

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "efficientnet.json").read_text())
RESNETS = json.loads((Path(__file__).parent.parent / "golden" / "resnet.json").read_text())["networks"]
MOBILENETS_V3 = json.loads((Path(__file__).parent.parent / "golden" / "mobilenet_v3.json").read_text())["networks"]
B0 = load_space("efficientnet_b0")


@pytest.mark.parametrize("name", GOLDEN["published"])
def test_published_members_cost_what_everybody_counts(name: str) -> None:
    total = cost(published_spec(B0, name))
    assert {"params": total.params, "macs": total.macs} == GOLDEN["published"][name]


@pytest.mark.parametrize("phi", GOLDEN["formula"])
def test_formula_taken_literally(phi: str) -> None:
    spec = scale(B0.baseline, PAPER, int(phi), "efficientnet")
    total = cost(spec)
    expected = GOLDEN["formula"][phi]
    assert {"resolution": spec.resolution, "params": total.params, "macs": total.macs} == expected


def test_mobilenet_v2_and_lite0_totals() -> None:
    # torchvision's meta: 3 504 872 parameters, 0.301 GFLOPs
    total = cost(load_space("mobilenet_v2").baseline)
    assert total.params == 3_504_872
    assert round(total.macs / 1e9, 3) == 0.301
    # tensorflow/tpu's table of Lite: 4.652M parameters for lite0, 13.006M for lite4
    lite = load_space("efficientnet_lite0")
    assert cost(lite.baseline).params == 4_652_008
    assert round(cost(published_spec(lite, "lite4")).params / 1e6, 1) == 13.0


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_cost_what_torchvision_says(name: str) -> None:
    total = cost(load_space(name).baseline)
    assert {"params": total.params, "macs": total.macs, "gflops": round(total.macs / 1e9, 3)} == RESNETS[name]


@pytest.mark.parametrize("name", MOBILENETS_V3)
def test_mobilenets_v3_cost_what_torchvision_says(name: str) -> None:
    total = cost(load_space(name).baseline)
    # torchvision rounds the 56.51M of the small one up
    assert total.params == MOBILENETS_V3[name]["params"]
    assert total.macs / 1e9 == pytest.approx(MOBILENETS_V3[name]["gflops"], abs=0.0006)


def test_mobilenet_v3s_expanded_widths_are_those_of_its_table() -> None:
    spec = load_space("mobilenet_v3_large").baseline
    inputs = (spec.stem.width, *spec.widths)
    widths = [
        expanded_width(stage, width_in if index == 0 else stage.width)
        for stage, width_in in zip(spec.stages, inputs, strict=False)
        for index in range(stage.depth)
    ]
    assert widths == [16, 64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960]
    assert [squeeze_width(spec.stages[i], inputs[i]) for i in (3, 7, 8)] == [24, 120, 168]


def test_a_bottleneck_by_hand() -> None:
    stage = Stage(32, 1, 3, 2, expand_ratio=0.25, se_ratio=0, block="bottleneck")
    counts = {op.name: op.macs for op in block_operators(stage, width_in=12, stride=2, size=15)}
    assert counts == {
        "block.0.0": 12 * 8 * 15**2, "block.1.0": 9 * 8 * 8 * 8**2, "block.2.0": 8 * 32 * 8**2,
        "shortcut.0": 12 * 32 * 8**2,
    }  # fmt: skip
    same = replace(stage, stride=1)
    assert "shortcut.0" not in {op.name for op in block_operators(same, 32, 1, 8)}


@pytest.mark.parametrize("name", space_names())
def test_names_are_unique(name: str) -> None:
    names = [op.name for op in operators(load_space(name).baseline)]
    assert len(names) == len(set(names))


def test_first_operator_by_hand() -> None:
    stem = next(operators(B0.baseline))
    assert stem.name == "features.0.0"
    assert stem.macs == 3 * 3 * 3 * 32 * 112 * 112
    assert stem.params == 3 * 3 * 3 * 32 + 2 * 32
    assert stem.activations == 32 * 112 * 112


@pytest.mark.parametrize("name", space_names())
def test_parts_add_up_to_the_network(name: str) -> None:
    spec = load_space(name).baseline
    listed = parts(spec)
    for what in ("macs", "params", "activations"):
        assert sum(getattr(part.cost, what) for part in listed) == getattr(cost(spec), what)
    assert sum(part.depth for part in listed[1:-1]) == sum(spec.depths)


def test_sizes_follow_the_strides() -> None:
    listed = parts(load_space("efficientnet_b0").baseline)
    assert [part.size for part in listed] == [112, 112, 56, 28, 14, 14, 7, 7, 1]
    assert listed[2].block == "MBConv6 3×3 /2"
