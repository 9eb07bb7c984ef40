"""Trained weights for torchvision's networks: files as published, fitted to other classes and sizes, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model

from scalesearch.design.spec import TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.nets.torchvision_net import network_of
from scalesearch.nets.torchvision_weights import torchvision_state, transfer
from scalesearch.nets.weights import class_names, digest, pixel_numbers

IMAGENET_MEAN = (0.485, 0.456, 0.406)


def spec_of(name: str, resolution: int = 32, classes: int = 3) -> TorchvisionSpec:
    return TorchvisionSpec(name, resolution, classes, macs=1, params=1, activations=1)


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def changed(network: nn.Module, state: dict[str, Tensor], last: str) -> list[str]:
    now = network.state_dict()
    return [name for name in state if not torch.equal(now[name], state[name]) and not name.startswith(last)]


def as_published(name: str, classes: int = 7, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return dict(get_model(name, weights=None, num_classes=classes, **options).state_dict())


def test_a_body_is_taken_over_and_the_classifier_is_fresh(tmp_path: Path) -> None:
    spec, state = spec_of("shufflenet_v2_x0_5"), as_published("shufflenet_v2_x0_5")
    found = torchvision_state(spec, str(saved(tmp_path / "w.pth", {f"module.{k}": v for k, v in state.items()})))
    assert (found.name, found.licence) == (str(tmp_path / "w.pth"), "")
    assert pixel_numbers(found.metadata) == (IMAGENET_MEAN, (0.229, 0.224, 0.225))
    network = network_of(spec, seed=0)
    transfer(network, found.state, classifier=False)
    assert changed(network, state, "fc.") == []
    assert 0.005 < float(network.fc.weight.detach().std()) < 0.02
    assert not network.fc.bias.any()


def test_the_classifier_is_kept_where_the_classes_agree(tmp_path: Path) -> None:
    state, path = as_published("squeezenet1_1", 3), tmp_path / "w.safetensors"
    pixels = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    said = {"classes": json.dumps(["a", "b", "c"]), "pixel_statistics": json.dumps(pixels)}
    safetensors.torch.save_file(state, path, metadata=said)
    spec = spec_of("squeezenet1_1")
    found = torchvision_state(spec, str(path))
    assert (class_names(found.metadata), found.digest) == (("a", "b", "c"), digest(state))
    assert pixel_numbers(found.metadata) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    for kept in (True, False):
        network = network_of(spec, seed=0)
        transfer(network, found.state, classifier=kept)
        assert torch.equal(network.classifier[1].weight, state["classifier.1.weight"]) is kept
        assert changed(network, state, "classifier.1") == []


@pytest.mark.parametrize(("name", "resolution"), [("googlenet", 32), ("inception_v3", 75)])
def test_weights_of_tensorflow_see_the_pixels_that_they_were_trained_on(
    tmp_path: Path, name: str, resolution: int
) -> None:
    """torchvision's network with its weights rescales images of ImageNet's statistics, which ours need not."""
    theirs = get_model(name, weights=None, num_classes=3, init_weights=True, transform_input=True).eval()
    for module in theirs.modules():  # statistics of images, so that outputs depend on them
        if isinstance(module, nn.BatchNorm2d):
            module.train().momentum = 1.0
    theirs(torch.randn(4, 3, resolution, resolution))
    theirs.eval().requires_grad_(False)
    spec = spec_of(name, resolution)
    found = torchvision_state(spec, str(saved(tmp_path / "w.pth", dict(theirs.state_dict()))))
    ours = network_of(spec, seed=0).eval().requires_grad_(False)
    transfer(ours, found.state, classifier=True)
    pixels = torch.rand(2, 3, resolution, resolution)
    normalised = [
        (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        for mean, std in (pixel_numbers(found.metadata) or (), (IMAGENET_MEAN, (0.229, 0.224, 0.225)))
    ]
    expected = theirs(normalised[1])
    apart = [float((ours(images) - expected).norm() / expected.norm()) for images in normalised]
    assert apart[0] < 1e-4 < 1e-2 < apart[1]


def test_names_of_former_torchvisions_are_known(tmp_path: Path) -> None:
    state = as_published("densenet121")
    old = {
        k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in k else k: state[k] for k in state
    }
    assert old.keys() != state.keys()
    found = torchvision_state(spec_of("densenet121"), str(saved(tmp_path / "w.pth", old)))
    assert found.state.keys() == state.keys()


def test_a_vision_transformer_at_another_size_and_by_its_old_names(tmp_path: Path) -> None:
    state = as_published("vit_b_32", image_size=96)
    old = {k.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): v for k, v in state.items()}
    spec = spec_of("vit_b_32", 64)
    found = torchvision_state(spec, str(saved(tmp_path / "w.pth", old)))
    network = network_of(spec, seed=0)
    transfer(network, found.state, classifier=True)
    assert changed(network, {k: v for k, v in state.items() if "pos_embedding" not in k}, "heads.") == []
    assert network.encoder.pos_embedding.shape == (1, 5, 768)
    assert torch.equal(network.encoder.pos_embedding, found.state["encoder.pos_embedding"])


def test_tensors_of_another_network_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", as_published("resnet18"))
    with pytest.raises(UserError, match=r"do not fit torchvision's resnet34: .*layer1\.2.*missing"):
        torchvision_state(spec_of("resnet34"), str(path))
    with pytest.raises(UserError, match="do not fit torchvision's vit_b_32: "):
        torchvision_state(spec_of("vit_b_32"), str(path))


def test_of_a_folder_the_one_that_fits(tmp_path: Path) -> None:
    spec = spec_of("mnasnet0_5")
    with pytest.raises(UserError, match="no file fits mnasnet0_5"):
        torchvision_state(spec, str(tmp_path))
    saved(tmp_path / "other.pth", as_published("squeezenet1_1"))
    one = saved(tmp_path / "one.pth", as_published("mnasnet0_5"))
    found = torchvision_state(spec, str(tmp_path))
    assert found.name == str(one)
    transfer(network_of(spec, seed=0), found.state, classifier=False)  # whose own loader asks for a version
    saved(tmp_path / "two.pth", as_published("mnasnet0_5"))
    with pytest.raises(UserError, match=r"several files fit mnasnet0_5: one\.pth, two\.pth"):
        torchvision_state(spec, str(tmp_path))


def test_published_weights_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetched(weights: WeightsEnum, named: str) -> dict[str, Tensor]:
        asked.append(str(weights))
        return as_published("resnet50", 1000)

    monkeypatch.setattr("scalesearch.nets.torchvision_weights.downloaded", fetched)
    spec = spec_of("resnet50")
    found = [
        torchvision_state(spec, named) for named in ("imagenet", "IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V1")
    ]
    assert asked == [one.name for one in found]
    assert asked == ["ResNet50_Weights.IMAGENET1K_V2", *["ResNet50_Weights.IMAGENET1K_V1"] * 2]
    assert "BSD-3-Clause" in found[0].licence
    assert class_names(torchvision_state(spec_of("resnet50", classes=1000), "imagenet").metadata)[0] == "tench"
    with pytest.raises(UserError, match=r"ResNet18_Weights\.IMAGENET1K_V1.*has of resnet50"):
        torchvision_state(spec, "ResNet18_Weights.IMAGENET1K_V1")


def test_without_a_network_it_is_said_where_a_file_may_be_put_and_a_file_there_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda *given, **named: (_ for _ in ()).throw(OSError("off")),
    )
    with pytest.raises(UserError, match=r"cannot be fetched.*no file .*checkpoints/googlenet.*\.pth"):
        torchvision_state(spec_of("googlenet"), "imagenet")
    file = tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir()
    state = as_published("squeezenet1_1", 1000)
    saved(file, state)
    found = torchvision_state(spec_of("squeezenet1_1"), "imagenet")
    assert (found.digest, found.state.keys()) == (digest(state), state.keys())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"squeezenet1_1-b8a52dc0\.pth.*no plain state dict"):
        torchvision_state(spec_of("squeezenet1_1"), "imagenet")
