"""Folders of the Hugging Face Hub: timm's read here, ours read by timm, and back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import save_for_hf
from torch import nn

from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.nets.hub import config_of, write_hub
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.sources import open_weights, trained_network
from scalesearch.nets.timm_model import timm_call
from scalesearch.nets.weights import PIXELS, class_names, framing_values, pixel_numbers
from tests.nets.specs import images, randomise, tiny

B0 = load_space("efficientnet_b0").baseline
NAMES = ["cat", "dog", "owl"]
STATED = {PIXELS: json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}), "classes": json.dumps(NAMES)}


def same_logits(ours: nn.Module, theirs: nn.Module, channels: int = 3) -> None:
    with torch.inference_mode():
        for size in (64, 75):
            batch = images(2, size)[:, :channels]
            torch.testing.assert_close(ours(batch), theirs(batch), rtol=1e-5, atol=1e-5)


def changed(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("tf_efficientnet_lite0", {}), ("mobilenetv3_small_100", {}), ("resnet18", {"layers": (1, 2, 1, 1)}),
     ("efficientnet_b0", {"bn_eps": 1e-3, "pad_type": "same", "act_layer": "relu", "in_chans": 1})],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_timms_folders_compute_what_timm_computes(
    name: str, arguments: dict[str, Any], safe: bool, tmp_path: Path
) -> None:
    peer = randomise(timm.create_model(name, num_classes=3, **arguments))
    save_for_hf(peer, str(tmp_path), model_config={"label_names": NAMES}, safe_serialization=safe)
    network, metadata, said = trained_network(str(tmp_path))
    same_logits(network, peer, arguments.get("in_chans", 3))
    assert class_names(metadata) == tuple(NAMES)
    assert said == ""
    theirs = resolve_model_data_config(peer)
    assert network.spec.resolution == theirs["input_size"][1]
    if "in_chans" in arguments:
        assert PIXELS not in metadata
        return
    assert pixel_numbers(metadata) == (theirs["mean"], theirs["std"])
    assert framing_values(metadata) == (int(theirs["input_size"][1] / theirs["crop_pct"]), theirs["interpolation"])
    assert open_weights(str(tmp_path), B0).stated


@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_another_preprocessing_is_read_as_it_says(tmp_path: Path) -> None:
    peer = randomise(timm.create_model("efficientnet_b0", num_classes=3))
    data = {"input_size": (3, 96, 96), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "crop_pct": 0.9,
            "interpolation": "bilinear"}  # fmt: skip
    save_for_hf(peer, str(tmp_path), data_config=data, safe_serialization=True)
    network, metadata, _ = trained_network(str(tmp_path))
    assert network.spec.resolution == 96
    assert pixel_numbers(metadata) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    assert framing_values(metadata) == (106, "bilinear")
    assert class_names(metadata) == ()
    changed(tmp_path, label_names={"0": "a", "1": "b", "2": "c"})
    assert class_names(trained_network(str(tmp_path))[1]) == ("a", "b", "c")
    config = json.loads((tmp_path / "config.json").read_text())
    changed(tmp_path, pretrained_cfg={**config["pretrained_cfg"], "crop_mode": "squash"})
    assert "crop_mode 'squash'" in trained_network(str(tmp_path))[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"architecture": "vit_base_patch16_224"}, "is none of the networks of timm"),
     ({"architecture": "efficientnet_b1"}, "its body has"),
     ({"model_args": {"output_stride": 8}}, r"model_args.output_stride.*no place"),
     ({"model_args": {"pad_type": "valid"}}, r"model_args.pad_type.*no place"),
     ({"model_args": {"act_layer": "gelu"}}, r"model_args.act_layer.*no place"),
     ({"model_args": [1]}, "a table should be here"),
     ({"pretrained_cfg": {"crop_pct": "wide"}}, "damaged"),
     ({"pretrained_cfg": {"input_size": 7}}, "damaged"),
     ({"pretrained_cfg": {"input_size": [3, 10**9, 10**9]}}, "resolution: 1000000000 is not a whole number"),
     ({"model_args": {"bn_eps": -1}}, "batch_norm.eps: -1"),
     ({"label_names": ["one"]}, "1 label_names are not those of a network of 3"),
     ({"label_names": ["a", "a", "b"]}, "the name of two classes"),
     ({"label_names": {"0": "a", "2": "b"}}, "class names are damaged")],
)  # fmt: skip
def test_what_would_compute_something_else_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_for_hf(timm.create_model("efficientnet_b0", num_classes=3), str(tmp_path), safe_serialization=True)
    changed(tmp_path, **changes)
    with pytest.raises(UserError, match=f"(?s){message}"):
        trained_network(str(tmp_path))


def test_a_folder_without_weights_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "efficientnet_b0"}')
    with pytest.raises(UserError, match=r"neither model.safetensors nor pytorch_model.bin"):
        open_weights(str(tmp_path), B0)


def written(network: MBConvNet, folder: Path, text: str = "") -> str:
    worst, code = write_hub(network, folder, STATED, text)
    assert worst <= 1e-5
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    return code


def test_a_network_of_timms_is_loaded_by_timm_and_here(tmp_path: Path) -> None:
    norm = replace(B0.batch_norm, eps=1e-3)
    ours = randomise(build(replace(B0, classes=3, resolution=64, batch_norm=norm), seed=0))
    assert isinstance(ours, MBConvNet)
    code = written(ours, tmp_path / "hub", "# Owls\n")
    assert code == f"timm.create_model('local-dir:{tmp_path / 'hub'}', pretrained=True)"
    theirs = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
    same_logits(ours, theirs)
    seen = resolve_model_data_config(theirs)
    assert (list(seen["input_size"]), seen["crop_pct"], list(seen["mean"])) == ([3, 64, 64], 1.0, [0.1, 0.2, 0.3])
    assert list(theirs.pretrained_cfg["label_names"]) == NAMES
    back, metadata, _ = trained_network(str(tmp_path / "hub"))
    same_logits(back, ours)
    assert (class_names(metadata), back.spec.resolution) == (tuple(NAMES), 64)
    assert back.spec.batch_norm.eps == 1e-3
    assert pixel_numbers(metadata) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_network_that_timm_has_not_is_a_model_of_ours(tmp_path: Path) -> None:
    ours = randomise(build(replace(tiny(), classes=3), seed=0))
    assert isinstance(ours, MBConvNet)
    with pytest.raises(UserError, match="timm has no model"):
        timm_call(ours.spec)
    assert "scalesearch.load_model" in written(ours, tmp_path / "hub")
    back, metadata, _ = trained_network(str(tmp_path / "hub"))
    assert back.spec == ours.spec
    same_logits(back, ours)
    assert class_names(metadata) == tuple(NAMES)
    changed(tmp_path / "hub", spec=replace(ours.spec, resolution=64).to_dict())
    with pytest.raises(UserError, match=r"it is not the network in model.safetensors"):
        trained_network(str(tmp_path / "hub"))


def test_the_card_is_one_that_the_hub_reads(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="no huggingface_hub")
    network = build(replace(tiny(), classes=3), seed=0)
    write_hub(network, tmp_path, STATED, "# Owls\n\nA classifier.\n")
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("scalesearch", "image-classification")
    assert card.text.strip().startswith("# Owls")
    assert "load_model" in card.text


@pytest.mark.parametrize("resize_px", range(225, 300, 7))
def test_a_crop_comes_back_as_it_went(resize_px: int) -> None:
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_px": resize_px, "interpolation": "lanczos"}
    config = config_of(B0, None, {PIXELS: json.dumps(pixels)})["pretrained_cfg"]
    assert (int(224 / config["crop_pct"]), config["interpolation"]) == (resize_px, "lanczos")
