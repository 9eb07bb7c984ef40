"""Built networks against torchvision, timm and hand-computed pads."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import StochasticDepth

from scalesearch.design.scaling import multiply, published_spec
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec, Padding, Stage
from scalesearch.nets.modules import SameConv2d, build, same_padding
from scalesearch.nets.torchvision_peer import torchvision_module
from tests.nets.specs import efficientnet_v2_s, images, randomise, tiny

EFFICIENTNETS = ("efficientnet_b0", "efficientnet_b3", "efficientnet_b5", "efficientnet_v2_s")


def spec_of(name: str) -> NetSpec:
    if name == "efficientnet_v2_s":
        return efficientnet_v2_s()
    return published_spec(load_space("efficientnet_b0"), name.removeprefix("efficientnet_"))


def torchvision_network(name: str) -> nn.Module:
    return torchvision.models.get_model(name, weights=None)


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_same_state_same_logits_as_torchvision(name: str) -> None:
    theirs, ours = randomise(torchvision_network(name)), build(spec_of(name), seed=1)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    batch = images(2, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(batch), theirs(batch))
        again = torchvision_network(name)
        again.load_state_dict(ours.state_dict(), strict=True)
        torch.testing.assert_close(again.eval()(batch), theirs(batch), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("space", "width"), [("mobilenet_v3_large", 0.75), ("mobilenet_v3_small", 0.75), ("mobilenet_v3_small", 0.5)]
)
def test_narrower_mobilenets_v3_have_the_inner_widths_of_timms(space: str, width: float) -> None:
    def inner(network: nn.Module) -> list[int]:
        return [one.in_channels for one in network.modules() if isinstance(one, nn.Conv2d) and one.groups > 1]

    theirs = timm.create_model(f"{space.replace('mobilenet_', 'mobilenet')}_{round(100 * width):03d}")
    ours = multiply(load_space(space).baseline, 1, width, 1)
    assert inner(build(ours))[1:] == inner(theirs)[1:]  # the first block's are the stem's, which timm does not halve
    built = torchvision_module(ours).state_dict()
    assert sum(map(torch.numel, built.values())) == sum(map(torch.numel, build(ours).state_dict().values()))


def test_same_initial_weights_as_torchvision_and_the_global_state_is_kept() -> None:
    torch.manual_seed(7)
    theirs = torchvision_network("efficientnet_b0").state_dict()
    before = torch.get_rng_state()
    ours = build(spec_of("efficientnet_b0"), seed=7).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert list(ours) == list(theirs)
    alike = [name for name in theirs if name != "classifier.1.weight"]
    assert all(torch.equal(ours[name], theirs[name]) for name in alike)
    torch.manual_seed(7)
    unseeded = build(spec_of("efficientnet_b0")).state_dict()
    assert all(torch.equal(unseeded[name], ours[name]) for name in ours)


@pytest.mark.parametrize("space", ["efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "resnet18"])
def test_linear_layers_start_as_those_of_torchvisions_mobilenets(space: str) -> None:
    network = build(load_space(space).baseline, seed=0)
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == (2 if space == "mobilenet_v3_small" else 1)
    for layer in layers:
        assert abs(layer.weight.std().item() / 0.01 - 1) < 0.01
        assert not layer.bias.any()


def test_training_mode_drops_the_same_paths_as_torchvision() -> None:
    theirs = torchvision_network("efficientnet_b0")
    ours = build(spec_of("efficientnet_b0"))
    ours.load_state_dict(theirs.state_dict())
    logits = []
    for network in (theirs, ours):
        torch.manual_seed(3)
        logits.append(network.train()(images(4, 32)))
    torch.testing.assert_close(logits[1], logits[0])
    drops = [[m.p for m in net.modules() if isinstance(m, StochasticDepth)] for net in (ours, theirs)]
    assert drops[0] == drops[1]
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())  # running statistics moved alike


def test_batch_norm_settings_come_from_the_spec() -> None:
    settings = {
        (m.eps, m.momentum) for m in build(spec_of("efficientnet_b5")).modules() if isinstance(m, nn.BatchNorm2d)
    }
    assert settings == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, (0, 1)),
        (224, 5, 2, (1, 2)),
        (225, 3, 2, (1, 1)),
        (225, 5, 2, (2, 2)),
        (7, 7, 3, (3, 3)),
        (8, 5, 3, (1, 2)),
        (10, 1, 2, (0, 0)),
        (1, 3, 2, (1, 1)),
    ],
)
def test_same_padding_by_hand(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == pads


@settings(deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 5, 7]), st.integers(1, 4), st.integers(0, 2**32 - 1)
)
def test_same_convolution_equals_timm(height: int, width: int, kernel: int, stride: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 2, height, width, generator=generator)
    ours, theirs = SameConv2d(2, 4, kernel, stride, groups=2), Conv2dSame(2, 4, kernel, stride, groups=2)
    theirs.load_state_dict(ours.state_dict())
    result = ours(image)
    torch.testing.assert_close(result, theirs(image))
    assert result.shape[-2:] == (-(-height // stride), -(-width // stride))


def test_same_padding_changes_the_answer_only_where_the_pads_differ() -> None:
    spec = tiny()
    symmetric, same = (build(replace(spec, padding=padding), seed=0).eval() for padding in ("symmetric", "same"))
    with torch.inference_mode():
        odd, even = images(1, 33), images(1, 32)  # 33 → 17 → 9 → 5: odd all the way, so both pad alike
        torch.testing.assert_close(symmetric(odd), same(odd))
        assert not torch.allclose(symmetric(even), same(even))


@pytest.mark.parametrize(
    ("activation", "kind"),
    [("silu", nn.SiLU), ("relu6", nn.ReLU6), ("relu", nn.ReLU), ("hardswish", nn.Hardswish)],
)
def test_activation_is_the_specs_inside_squeeze_excitation_too(activation: str, kind: type[nn.Module]) -> None:
    network = build(replace(tiny(), activation=activation), seed=0)
    assert isinstance(network.features[0][2], kind)
    assert isinstance(network.features[1][0].block[1].activation, kind)
    assert isinstance(network.features[1][0].block[1].scale_activation, nn.Sigmoid)


def test_other_input_channels_and_classes() -> None:
    spec = replace(tiny(), in_channels=1, classes=7, stages=(Stage(8, 1),))
    assert build(spec, seed=0).eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 7)


def scripted(network: nn.Module, images: Tensor) -> nn.Module:
    return torch.jit.script(network)


def traced(network: nn.Module, images: Tensor) -> nn.Module:
    return torch.jit.trace(network, images)


def symbolic(network: nn.Module, images: Tensor) -> nn.Module:
    return torch.fx.symbolic_trace(network)


def exported(network: nn.Module, images: Tensor) -> nn.Module:
    free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    return torch.export.export(network, (images,), dynamic_shapes=(free,)).module()


@pytest.mark.filterwarnings("ignore")  # of torch about its own tracing and scripting
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("made", [scripted, traced, symbolic, exported], ids=lambda made: made.__name__)
def test_other_forms_of_a_network_compute_the_same_at_other_sizes(
    made: Callable[[nn.Module, Tensor], nn.Module], padding: Padding
) -> None:
    spec = replace(tiny(), padding=padding, resolution=32)
    network = build(spec, seed=0).eval()
    with torch.inference_mode(False), torch.no_grad():
        other = made(network, torch.randn(2, 3, 32, 32))
        for height, width in ((32, 32), (36, 36), (33, 49)):
            images = torch.randn(2, 3, height, width)
            torch.testing.assert_close(other(images), network(images))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_features_can_be_taken_out(padding: Padding) -> None:
    network = build(replace(tiny(), padding=padding), seed=0).eval()
    features = create_feature_extractor(network, {"features.1": "early", "avgpool": "pooled"})
    assert set(features(torch.randn(1, 3, 33, 32))) == {"early", "pooled"}


@given(st.integers(1, 300), st.sampled_from([1, 3, 5, 7, 9]), st.integers(1, 8))
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    assert same_padding(size, kernel, stride) == (total // 2, total - total // 2)
