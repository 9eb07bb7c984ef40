"""What is exported is run by the programs it is for."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets import export as module
from scalesearch.nets.export import Format, export
from tests.nets.test_inherit import SMALL, trained

B0 = replace(load_space("efficientnet_b0").baseline, resolution=32)


def spec_of(name: str) -> NetSpec:
    return replace(load_space(name).baseline, resolution=64)


def agree(spec: NetSpec, peer: nn.Module, ours: nn.Module) -> bool:
    images = torch.randn(2, 3, spec.resolution, spec.resolution)
    with torch.inference_mode():
        return torch.allclose(peer.eval()(images), ours.eval()(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("format", ["torch-export", "onnx"])
def test_programs_take_any_batch(format: Format, tmp_path: Path) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    network = trained(SMALL)
    assert export(network, tmp_path / "m", format, {"classes": "[]"}) < 1e-3
    assert (tmp_path / "m").stat().st_size > 10_000


def test_torchvisions_own_b0_takes_it(tmp_path: Path) -> None:
    ours, peer = trained(B0), torchvision.models.efficientnet_b0()
    export(ours, tmp_path / "m.pth", "torchvision", {})
    peer.load_state_dict(torch.load(tmp_path / "m.pth", weights_only=True))
    assert agree(B0, peer, ours)


@pytest.mark.parametrize("phi", [-1, 0.5])
def test_torchvision_takes_found_members(phi: float, tmp_path: Path) -> None:
    spec = replace(scale(B0, PAPER, phi), classes=5, resolution=32)
    assert export(trained(spec), tmp_path / "m.safetensors", "torchvision", {"classes": "x"}) < 1e-3
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert file.metadata()["classes"] == "x"


@pytest.mark.parametrize(
    ("space", "name"),
    [("efficientnet_b0", "efficientnet_b0"), ("efficientnet_lite0", "efficientnet_lite0"),
     ("mobilenet_v2", "mobilenetv2_100"), ("resnet18", "resnet18"), ("resnet50", "resnet50"),
     ("mobilenet_v3_large", "mobilenetv3_large_100"), ("mobilenet_v3_small", "mobilenetv3_small_100")],
)  # fmt: skip
def test_timms_own_networks_take_it(space: str, name: str, tmp_path: Path) -> None:
    spec, peer = spec_of(space), timm.create_model(name)
    for layer in peer.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = spec.batch_norm.eps
    ours = trained(spec)
    export(ours, tmp_path / "m.safetensors", "timm", {})
    peer.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert agree(spec, peer, ours)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18", "resnet50"])
def test_other_families_go_to_torchvision_too(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    ours, peer = trained(spec), torchvision.models.get_model(name)
    export(ours, tmp_path / "m.safetensors", "torchvision", {})
    peer.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert agree(spec, peer, ours)


@pytest.mark.parametrize("spec", [spec_of("efficientnet_lite0"), replace(B0, padding="same")], ids=lambda s: s.padding)
def test_what_torchvision_has_no_module_for_is_refused_and_nothing_is_left(spec: NetSpec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format torchvision"):
        export(trained(spec), tmp_path / "m.safetensors", "torchvision", {})
    assert list(tmp_path.iterdir()) == []


def test_a_resnet_of_other_widths_goes_everywhere_but_to_torchvision(tmp_path: Path) -> None:
    spec = replace(scale(replace(spec_of("resnet18"), classes=5), PAPER, -2), resolution=64)
    assert export(trained(spec), tmp_path / "m.safetensors", "timm", {}) < 1e-3
    assert export(trained(spec), tmp_path / "m.pt2", "torch-export", {}) < 1e-3
    with pytest.raises(UserError, match="torchvision has no module for"):
        export(trained(spec), tmp_path / "other.safetensors", "torchvision", {})


def test_a_file_with_other_logits_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(network: nn.Module, suffix: str, metadata: object) -> bytes:
        other = dict(network.state_dict())
        other["classifier.1.bias"] = other["classifier.1.bias"] + 1
        content = io.BytesIO()
        torch.save(other, content)
        return content.getvalue()

    monkeypatch.setitem(module.WAYS, "torchvision", (encode, module.WAYS["torchvision"][1]))
    with pytest.raises(UserError, match="logits that differ by"):
        export(trained(B0), tmp_path / "m.pth", "torchvision", {})
    assert list(tmp_path.iterdir()) == []
