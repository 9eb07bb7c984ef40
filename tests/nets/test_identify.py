"""State dicts of torchvision, timm and (by its rule of naming) efficientnet_pytorch, recognised and computed alike."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.peers.networks import judge
from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.nets.identify import distance, identify
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import build
from scalesearch.nets.names import lukemelas_names, rename
from scalesearch.nets.sources import Stated, nearest_published, open_weights
from scalesearch.nets.weights import save_network
from tests.nets.test_inherit import SMALL, trained

DATA = Path(os.environ.get("SCALESEARCH_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
B0 = load_space("efficientnet_b0").baseline
with_weights = pytest.mark.skipif(
    not (DATA / "weights").is_dir(), reason=f"no ImageNet weights under SCALESEARCH_DATA ({DATA})"
)


def randomised(network: nn.Module) -> nn.Module:
    """Every tensor moved away from its initial value, so that a mixed-up name shows in the logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=generator)).add_(0.01)
    return network.eval()


def same_logits(peer: nn.Module, state: Mapping[str, Tensor], expected_name: str) -> None:
    found = identify(state, "weights")
    assert found.spec.name == expected_name
    network = build(found.spec, seed=0).eval()
    network.load_state_dict(found.state, strict=False)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(network(images), peer(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["efficientnet_b0", "efficientnet_b3", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18",
     "resnet50"],
)  # fmt: skip
def test_torchvisions_networks(name: str) -> None:
    peer = randomised(torchvision.models.get_model(name))
    same_logits(peer, peer.state_dict(), name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("efficientnet_b1", "efficientnet_b1"), ("efficientnet_lite0", "efficientnet_lite0"),
     ("mobilenetv2_100", "mobilenet_v2"), ("resnet34", "resnet34")],
)  # fmt: skip
def test_timms_networks(name: str, expected: str) -> None:
    peer = randomised(timm.create_model(name, num_classes=7))
    same_logits(peer, peer.state_dict(), expected)


NETWORKS = {
    "timm:mobilenetv3_small_050": ("mobilenet_v3_small", False), "timm:tinynet_e": ("efficientnet_b0", False),
    "timm:semnasnet_075": ("semnasnet", False), "timm:mnasnet_small": ("semnasnet", False),
    "timm:resnet26": ("resnet50", False), "timm:tf_efficientnetv2_b0": ("efficientnet_v2_s", False),
    "timm:mobilenetv2_110d": ("mobilenet_v2", False),
    "torchvision:mnasnet0_5": ("mnasnet1_0", False), "torchvision:mnasnet1_0": ("mnasnet1_0", True),
    "torchvision:efficientnet_v2_s": ("efficientnet_v2_s", True),
}  # fmt: skip


@pytest.mark.parametrize("named", NETWORKS)
def test_shapes_are_read_from_the_tensors(named: str) -> None:
    library, _, name = named.partition(":")
    verdict = judge(named, timm.create_model(name) if library == "timm" else torchvision.models.get_model(name))
    known, same = NETWORKS[named]
    assert verdict.told is not None, verdict.read_as
    assert verdict.told <= 1e-5
    if named != "timm:mnasnet_small":  # nearest to several
        assert verdict.read_as == (known if same else f"{known}, another shape")


REFUSED = {
    "resnet50d": "conv1.0.weight", "resnet50_gn": "'s, but bn1.running_mean is missing",
    "efficientnet_b0_gn": "running_mean is missing",
    "resnext50_32x4d": "is 128×4×3×3, not 128×128×3×3", "mixnet_s": "no known network",
    "mobilenetv3_rw": "se.conv_reduce.weight is 18×72×1×1, not 24×72×1×1", "seresnet18": "has no place",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_expressed_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UserError) as caught:
        identify(timm.create_model(name).state_dict(), "weights.pth")
    assert REFUSED[name] in str(caught.value)


def test_the_targets_own_network_is_tried_first() -> None:
    own = replace(SMALL, stages=tuple(replace(stage, kernel=7, se_ratio=0.5) for stage in SMALL.stages), name="mine")
    state = trained(own).state_dict()
    found = identify(state, "weights", [own])
    assert (found.spec, found.same) == (own, True)
    wide = replace(load_space("wide_resnet50_2").baseline, classes=3, name="wide")
    assert identify(build(wide, seed=0).state_dict(), "weights", [wide]).spec == wide


def test_efficientnet_pytorchs_names_and_wrapped_ones() -> None:
    state = trained(replace(B0, classes=5)).state_dict()
    foreign = rename(state, lukemelas_names(B0))
    assert {"_conv_stem.weight", "_blocks.15._bn2.bias", "_blocks.1._se_expand.bias", "_fc.weight"} <= set(foreign)
    found = identify(foreign, "weights")
    assert (found.spec.name, found.spec.classes, found.naming) == ("efficientnet_b0", 5, "lukemelas")
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.state.items())


def test_another_width_is_measured_from_the_shapes() -> None:
    peer = torchvision.models.mobilenet_v2(width_mult=0.5)
    spec = identify(peer.state_dict(), "weights").spec
    assert spec.stem.width == 16
    assert spec.widths == (8, 16, 16, 32, 48, 80, 160)


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(UserError, match="tensors of no known network"):
        identify(torchvision.models.vgg11().state_dict(), "weights.pth")


@with_weights
@pytest.mark.parametrize(
    ("file", "name"),
    [("efficientnet_lite0_in1k_backbone.pth", "efficientnet_lite0"), ("mobilenet_v2_tfslim_in1k.pth", "mobilenet_v2"),
     ("mobilenet_v2_onnxzoo_in1k_backbone.pth", "mobilenet_v2")],
)  # fmt: skip
def test_real_weights_are_recognised(file: str, name: str) -> None:
    source = open_weights(str(DATA / "weights" / file), B0)
    assert source.spec.name == name
    _, plan = inherit(source.spec, source.state, source.spec, seed=0)
    assert plan.exact
    _, plan = inherit(source.spec, source.state, replace(scale(source.spec, PAPER, 1), classes=5), seed=0)
    assert plan.preserved == (source.spec.classes == 5 or "classifier.1.weight" not in source.state)


@with_weights
def test_a_folder_gives_the_nearest() -> None:
    for name in ("efficientnet_lite0", "mobilenet_v2"):
        target = scale(load_space(name).baseline, PAPER, 0.5)
        assert open_weights(str(DATA / "weights"), target).spec.name == name


def test_distance_is_nought_for_the_same_network_and_finds_the_nearest() -> None:
    assert distance(B0, B0) == 0
    assert nearest_published(B0) == "efficientnet_b0"
    assert nearest_published(load_space("mobilenet_v2").baseline) == "mobilenet_v2"
    assert nearest_published(scale(B0, PAPER, 4, "efficientnet")) in ("efficientnet_b4", "efficientnet_b5")
    for name in ("resnet18", "resnet50", "mobilenet_v3_large", "mobilenet_v3_small"):
        assert nearest_published(load_space(name).baseline) == name
        assert nearest_published(scale(load_space(name).baseline, PAPER, 0.1)) == name
    assert nearest_published(scale(B0, PAPER, -3)) == "efficientnet_b0"


def test_no_resnet_for_an_mbconv_network_whatever_its_number_of_stages() -> None:
    assert len(SMALL.stages) == len(load_space("resnet18").baseline.stages)
    assert nearest_published(SMALL) in ("efficientnet_b0", "mobilenet_v2")


def test_a_model_of_ours_brings_its_spec(tmp_path: Path) -> None:
    save_network(tmp_path / "model.safetensors", trained(SMALL), {"note": "x"}, classes=("a", "b", "c", "d"))
    source = open_weights(str(tmp_path / "model.safetensors"), B0, Stated("same"))
    assert source.spec == SMALL
    assert source.metadata["note"] == "x"


def test_torchvisions_names_download_or_say_which_file_to_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    for named in ("efficientnet_b0", "EfficientNet_B0_Weights.IMAGENET1K_V1", "imagenet"):
        with pytest.raises(UserError) as caught:
            open_weights(named, B0)
        assert "efficientnet_b0_rwightman" in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    file = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(torchvision.models.efficientnet_b0().state_dict(), tmp_path / "hub" / "checkpoints" / file)
    file = torchvision.models.ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "hub" / "checkpoints" / file)
    assert open_weights("resnet18", B0).spec == load_space("resnet18").baseline
    source = open_weights("efficientnet_b0", B0)
    assert source.spec == B0
    assert "0.485" in source.metadata["pixel_statistics"]


@pytest.mark.parametrize(
    ("named", "message"),
    [("efficientnet_b00", "Did you mean"), ("vgg16", "no network that this project can express"),
     ("EfficientNet_B0_Weights.IMAGENET1K_V9", "is neither a file, a folder"), ("none.pth", "there is nothing")],
)  # fmt: skip
def test_what_is_not_there_is_said(named: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_weights(named, B0)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file ending in"):
        open_weights(str(tmp_path), B0)
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other\.safetensors"):
        open_weights(str(tmp_path), B0)
