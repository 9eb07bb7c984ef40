"""What is exported is run by the programs it is for."""

import importlib.util
import io
from dataclasses import replace
from pathlib import Path

import pytest
import timm  # noqa: F401 (the calls that are tested name it)
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.space import load_space
from scalesearch.design.spec import BatchNorm, NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.nets import export as module
from scalesearch.nets.export import Format, export
from scalesearch.nets.timm_model import timm_call
from tests.nets.test_inherit import SMALL, trained

B0 = replace(load_space("efficientnet_b0").baseline, resolution=32)


def spec_of(name: str) -> NetSpec:
    return replace(load_space(name).baseline, resolution=64)


def agree(spec: NetSpec, peer: nn.Module, ours: nn.Module) -> bool:
    images = torch.randn(2, spec.in_channels, spec.resolution, spec.resolution)
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


def told(name: str, **changes: object) -> NetSpec:
    """A space's baseline with the eps and padding that timm's network has, unless they are among the changes."""
    spec = replace(spec_of(name), batch_norm=BatchNorm(1e-5, 0.1), padding="symmetric")
    return replace(spec, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (told("efficientnet_b0"), "'efficientnet_b0'"),
        (told("efficientnet_b0", padding="same", batch_norm=BatchNorm(1e-3, 0.01)), "'tf_efficientnet_b0'"),
        (told("efficientnet_b0", activation="relu6", classes=7), "'efficientnet_b0', num_classes=7, act_layer='relu6'"),
        (told("efficientnet_lite0", batch_norm=BatchNorm(1e-3, 0.01)), "'efficientnet_lite0', bn_eps=0.001"),
        (told("mobilenet_v2", padding="same"), "'mobilenetv2_100', pad_type='same'"),
        (told("mobilenet_v3_small"), "'mobilenetv3_small_100'"),
        (told("semnasnet"), "'semnasnet_100'"),
        (told("resnet18", in_channels=1), "'resnet18', in_chans=1"),
    ],
    ids=lambda value: "" if isinstance(value, NetSpec) else value,
)
def test_timms_own_model_takes_it_by_the_call_that_is_named(spec: NetSpec, code: str, tmp_path: Path) -> None:
    ours, file = trained(spec), tmp_path / "m.safetensors"
    export(ours, file, "timm", {})
    call = timm_call(spec).code(file)
    assert call == f"timm.create_model({code}, checkpoint_path={str(file)!r})"
    assert agree(spec, eval(call), ours)


def test_timm_makes_resnets_of_other_depths_too(tmp_path: Path) -> None:
    spec = spec_of("resnet18")
    spec = replace(spec, stages=tuple(replace(stage, depth=2 + n % 2) for n, stage in enumerate(spec.stages)))
    export(trained(spec), tmp_path / "m.safetensors", "timm", {})
    assert timm_call(spec).options == {"layers": (2, 3, 2, 3)}


@pytest.mark.parametrize(
    "spec",
    [spec_of("mbconv_small"), scale(told("efficientnet_b0"), PAPER, 1.5), told("resnet18", padding="same"),
     told("mobilenet_v3_small", activation="silu"), replace(scale(spec_of("resnet18"), PAPER, -2), resolution=64)],
    ids=lambda spec: spec.name,
)  # fmt: skip
def test_what_timm_has_no_model_for_is_refused_and_nothing_is_left(spec: NetSpec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="timm has no model"):
        export(trained(spec), tmp_path / "m.safetensors", "timm", {})
    assert list(tmp_path.iterdir()) == []


def test_without_timm_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs timm.*pip install timm"):
        timm_call(told("efficientnet_b0", classes=3))


@pytest.mark.parametrize(
    ("format", "padding"),
    [
        ("onnx", "symmetric"), ("onnx", "same"), ("torch-export", "symmetric"),
        pytest.param("torch-export", "same", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_graphs_take_images_of_any_size(format: Format, padding: Padding, tmp_path: Path) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    spec, file = replace(SMALL, padding=padding), tmp_path / "m"
    network = trained(spec)
    export(network, file, format, {}, dynamic_size=True)
    written = module.WAYS[format][1](spec, file)
    for height, width in ((spec.resolution, spec.resolution), (41, 41), (40, 57), (72, 65)):
        images = torch.randn(2, 3, height, width)
        with torch.inference_mode():
            torch.testing.assert_close(written(images), network(images), rtol=1e-4, atol=1e-5)


def test_a_free_size_that_cannot_be_is_refused(tmp_path: Path) -> None:
    small = replace(B0, resolution=32)
    with pytest.raises(UserError, match=r"at the network's 32 px its last map is one pixel.*it needs 33 px"):
        export(trained(small), tmp_path / "m", "torch-export", {}, dynamic_size=True)
    with pytest.raises(UserError, match=r"--dynamic-size: a state dict, as --format timm"):
        export(trained(small), tmp_path / "m", "timm", {}, dynamic_size=True)
    assert list(tmp_path.iterdir()) == []


OTHERS = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18", "resnet50", "efficientnet_v2_s")


@pytest.mark.parametrize("name", OTHERS)
def test_other_families_go_to_torchvision_too(name: str, tmp_path: Path) -> None:
    spec = spec_of(name)
    ours, peer = trained(spec), torchvision.models.get_model(name)
    export(ours, tmp_path / "m.safetensors", "torchvision", {})
    peer.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert agree(spec, peer, ours)


def test_torchvisions_mnasnet_finds_its_version(tmp_path: Path) -> None:
    spec = spec_of("mnasnet1_0")
    ours, peer = trained(spec), torchvision.models.mnasnet1_0()
    export(ours, tmp_path / "m.pth", "torchvision", {})
    peer.load_state_dict(torch.load(tmp_path / "m.pth", weights_only=True))
    assert agree(spec, peer, ours)
    with pytest.raises(UserError, match=r"ends in \.pth"):
        export(ours, tmp_path / "m.safetensors", "torchvision", {})


@pytest.mark.parametrize("spec", [spec_of("efficientnet_lite0"), replace(B0, padding="same")], ids=lambda s: s.padding)
def test_what_torchvision_has_no_module_for_is_refused_and_nothing_is_left(spec: NetSpec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format torchvision"):
        export(trained(spec), tmp_path / "m.safetensors", "torchvision", {})
    assert list(tmp_path.iterdir()) == []


def test_a_resnet_of_other_widths_goes_to_graphs_but_not_to_torchvision(tmp_path: Path) -> None:
    spec = replace(scale(replace(spec_of("resnet18"), classes=5), PAPER, -2), resolution=64)
    assert export(trained(spec), tmp_path / "m.pt2", "torch-export", {}) < 1e-3
    with pytest.raises(UserError, match="torchvision has no module for"):
        export(trained(spec), tmp_path / "other.safetensors", "torchvision", {})


def test_a_file_with_other_logits_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(network: nn.Module, suffix: str, metadata: object, dynamic_size: bool) -> bytes:
        other = dict(network.state_dict())
        other["classifier.1.bias"] = other["classifier.1.bias"] + 1
        content = io.BytesIO()
        torch.save(other, content)
        return content.getvalue()

    monkeypatch.setitem(module.WAYS, "torchvision", (encode, module.WAYS["torchvision"][1]))
    with pytest.raises(UserError, match="logits that differ by"):
        export(trained(B0), tmp_path / "m.pth", "torchvision", {})
    assert list(tmp_path.iterdir()) == []
