from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.spec import reshape, shape_of
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.reconstruct import images_needed, reconstruct
from tests.nets.specs import small_resnet
from tests.nets.test_inherit import B0, SMALL, TOLERANCE, difference, pictures, trained

LARGER = reshape(SMALL, replace(shape_of(SMALL), stem=20, widths=(20, 28, 44, 88), depths=(2, 3, 2, 3)))
SMALLER = replace(scale(SMALL, PAPER, -1), resolution=16)


def images() -> Tensor:
    return 1 + 2 * torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def features(network: MBConvNet, given: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.eval().forward_head(network.forward_features(given), pre_logits=True)


def test_a_copy_stays_as_it_is() -> None:
    source = trained(SMALL)
    network, plan = inherit(SMALL, source.state_dict(), SMALL, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    reconstruct(network, plan, source, images())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_new_channels_are_measured_and_the_function_stays() -> None:
    source = trained(SMALL)
    network, plan = inherit(SMALL, source.state_dict(), LARGER, seed=0)
    network.train()
    reconstruct(network, plan, source, images())
    assert network.training
    assert source.training
    assert difference(source, pictures(SMALL), network, pictures(SMALL)) < TOLERANCE
    stem, old = network.features[0][1], SMALL.stem.width
    assert torch.equal(stem.running_mean[:old], source.features[0][1].running_mean)
    assert LARGER.stem.width > old
    expected = network.features[0][0](images()).mean((0, 2, 3))
    assert torch.allclose(stem.running_mean[old:], expected[old:], atol=1e-4)


def test_a_cut_network_comes_nearer_to_its_source() -> None:
    source = trained(SMALL)
    shape = shape_of(SMALL)
    target = reshape(SMALL, replace(shape, widths=tuple(width - 4 for width in shape.widths)))
    network, plan = inherit(SMALL, source.state_dict(), target, seed=0)
    assert not plan.preserved
    unseen = 1 + 2 * torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    expected = features(source, unseen)
    before = (features(network, unseen) - expected).square().mean()
    reconstruct(network, plan, source, images())
    after = (features(network, unseen) - expected).square().mean()
    assert after < 0.5 * before


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_cut_resnet_comes_nearer_to_its_source(name: str) -> None:
    spec = small_resnet(name)
    source = trained(spec)
    shape = shape_of(spec)
    target = reshape(spec, replace(shape, stem=6, widths=tuple(width * 3 // 4 for width in shape.widths)))
    network, _ = inherit(spec, source.state_dict(), target, seed=0)
    given, unseen = (torch.randn(64, 3, 33, 33, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4))
    kept = features(network, unseen).shape[1]
    expected = features(source, unseen)[:, :kept]  # the leading channels are those that were kept
    before = (features(network, unseen) - expected).square().mean()
    reconstruct(network, inherit(spec, source.state_dict(), target, seed=0)[1], source, given)
    assert (features(network, unseen) - expected).square().mean() < 0.7 * before


def test_a_projection_in_a_plain_shortcuts_place_is_left_as_it_is() -> None:
    spec = small_resnet("resnet18")
    source = trained(spec)
    shape = shape_of(spec)
    target = reshape(spec, replace(shape, stem=10, widths=(11, *shape.widths[1:])))
    network, plan = inherit(spec, source.state_dict(), target, seed=0)
    assert "features.1.0.shortcut.0.weight" in network.state_dict()
    reconstruct(network, plan, source, torch.randn(32, 3, 33, 33))
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE


def test_blocks_left_out_are_made_up_for_in_the_moments() -> None:
    deep = reshape(SMALL, replace(shape_of(SMALL), depths=(1, 4, 4, 2)))
    source = trained(deep)
    network, plan = inherit(deep, source.state_dict(), SMALL, seed=0)
    reconstruct(network, plan, source, images())
    last = len(SMALL.stages) + 1
    repaired, wanted = (net.features[:last](images()).detach() for net in (network.eval(), source.eval()))
    normed, expected = (net.features[last][:2](x).std((0, 2, 3)) for net, x in ((network, repaired), (source, wanted)))
    assert torch.allclose(normed, expected, rtol=0.1)


def test_any_other_network_is_repaired_without_a_hitch() -> None:
    source = trained(replace(B0, classes=4, resolution=32))
    for target in (SMALLER, replace(SMALL, in_channels=3, resolution=32)):
        network, plan = inherit(source.spec, source.state_dict(), target, seed=0)
        reconstruct(network, plan, source, torch.randn(16, 3, 32, 32))
        assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def test_images_fit_into_memory() -> None:
    assert images_needed(SMALL, 16) == 384
    assert 16 <= images_needed(B0, 224) < 100
    assert images_needed(B0, 2000) == 16
