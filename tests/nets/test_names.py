"""Names of torchvision's MobileNetV2 and MNASNet: the foreign module is the oracle."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn

from scalesearch.design.space import load_space
from scalesearch.design.spec import Head, NetSpec, Stage
from scalesearch.errors import UserError
from scalesearch.nets.modules import build
from scalesearch.nets.names import (
    NAMES,
    Family,
    efficientnet_lite_names,
    mnasnet_names,
    mobilenet_v2_names,
    mobilenet_v3_names,
    rename,
    resnet_names,
    to_torchvision,
)
from tests.nets.specs import efficientnet_v2_s, images, mnasnet_b1, randomise, tiny, tiny_plain


def canonical(spec: NetSpec, state: Mapping[str, Tensor], family: Family) -> Mapping[str, Tensor]:
    return rename(state, {foreign: own for own, foreign in NAMES[family](spec).items()})


def mobilenet_v2() -> NetSpec:
    return load_space("mobilenet_v2").baseline


def baseline(name: str) -> NetSpec:
    return load_space(name).baseline


def half_mobilenet_v2() -> NetSpec:
    """Width ×0.5, rounded to multiples of 8; the head keeps 1280 (torchvision's width_mult=0.5)."""
    spec = mobilenet_v2()
    widths = (8, 16, 16, 32, 48, 80, 160)
    stages = tuple(replace(stage, width=width) for stage, width in zip(spec.stages, widths, strict=True))
    return replace(spec, stem=replace(spec.stem, width=16), stages=stages)


CASES = {
    "mobilenet_v2": (mobilenet_v2, "mobilenet_v2", torchvision.models.mobilenet_v2),
    "mobilenet_v2 ×0.5": (half_mobilenet_v2, "mobilenet_v2", lambda: torchvision.models.mobilenet_v2(width_mult=0.5)),
    "mnasnet1_0": (mnasnet_b1, "mnasnet", torchvision.models.mnasnet1_0),
    "efficientnet_v2_s": (efficientnet_v2_s, "efficientnet", torchvision.models.efficientnet_v2_s),
    **{
        name: (partial(baseline, name), family, partial(torchvision.models.get_model, name))
        for family, names in {
            "resnet": ("resnet18", "resnet50"),
            "mobilenet_v3": ("mobilenet_v3_large", "mobilenet_v3_small"),
        }.items()
        for name in names
    },
}


@pytest.mark.parametrize("case", CASES)
def test_state_goes_both_ways_with_the_same_logits(case: str) -> None:
    make_spec, family, make_theirs = CASES[case]
    spec, theirs = make_spec(), randomise(make_theirs())
    ours = build(spec, seed=1).eval()
    ours.load_state_dict(canonical(spec, theirs.state_dict(), family), strict=True)
    again = make_theirs().eval()
    again.load_state_dict(to_torchvision(spec, ours.state_dict(), family), strict=True)
    batch = images(2, 64)
    with torch.inference_mode():
        expected = theirs(batch)
        # MNASNet pools with mean, so the last digits may differ
        torch.testing.assert_close(ours(batch), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        torch.testing.assert_close(again(batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_batch_norm_settings_are_torchvisions(case: str) -> None:
    make_spec, _, make_theirs = CASES[case]

    def settings(network: nn.Module) -> set[tuple[float, float | None]]:
        return {(m.eps, m.momentum) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}

    assert settings(build(make_spec())) == settings(make_theirs())


@pytest.mark.parametrize("family", ["efficientnet", "efficientnet_lite", "mobilenet_v2", "mnasnet"])
def test_there_and_back_is_the_identity(family: Family) -> None:
    spec = tiny_plain()
    state = build(spec, seed=0).state_dict()
    there = to_torchvision(spec, state, family)
    assert (set(there) == set(state)) == (family == "efficientnet")
    back = canonical(spec, there, family)
    assert list(back) == list(state)
    assert all(back[name] is state[name] for name in state)


def test_lite_leaves_the_place_of_squeeze_excitation_empty() -> None:
    spec = replace(tiny(), stages=(Stage(8, 1, expand_ratio=1, se_ratio=0), Stage(8, 1), Stage(8, 1, se_ratio=0)))
    assert efficientnet_lite_names(spec) == {
        "features.1.0.block.1.0": "features.1.0.block.2.0",
        "features.1.0.block.1.1": "features.1.0.block.2.1",
        "features.3.0.block.2.0": "features.3.0.block.3.0",
        "features.3.0.block.2.1": "features.3.0.block.3.1",
    }


@pytest.mark.parametrize("names", [mobilenet_v2_names, mnasnet_names])
def test_squeeze_excitation_and_fused_blocks_have_no_foreign_name(names: object) -> None:
    with pytest.raises(UserError, match=r"stage 1: .*not for \"mbconv\" with se_ratio 0\.25"):
        names(load_space("efficientnet_b0").baseline)
    fused = replace(tiny(), stages=(Stage(8, 1, se_ratio=0, block="fused_mbconv"),))
    with pytest.raises(UserError, match="fused_mbconv"):
        names(fused)


@pytest.mark.parametrize(
    "stages",
    [
        (Stage(8, 2, expand_ratio=1, se_ratio=0),),
        (Stage(8, 1, expand_ratio=6, se_ratio=0),),
        (Stage(8, 1, expand_ratio=1, se_ratio=0), Stage(8, 1, expand_ratio=1, se_ratio=0)),
    ],
)
def test_mnasnet_needs_one_bare_block_first(stages: tuple[Stage, ...]) -> None:
    with pytest.raises(UserError, match="one block without expansion in stage 1"):
        mnasnet_names(replace(tiny(), stages=stages))


def test_mobilenet_v3_names_need_a_hidden_layer() -> None:
    with pytest.raises(UserError, match="a head with a hidden layer"):
        mobilenet_v3_names(load_space("efficientnet_b0").baseline)


def test_resnet_names_need_resnet_blocks_and_no_head() -> None:
    with pytest.raises(UserError, match="resnet weights have no head"):
        resnet_names(tiny())
    with pytest.raises(UserError, match='resnet weights have "basic" or "bottleneck" blocks'):
        resnet_names(replace(tiny(), head=Head(0)))
