"""Published ImageNet weights on real photos: wrong names, padding or activation would show as lost accuracy."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from timm.layers import Conv2dSame
from torch import nn
from torchvision.transforms import v2

from scalesearch.api.evaluate import evaluate
from scalesearch.design.space import load_space
from scalesearch.design.spec import Padding
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import Stated, open_weights
from scalesearch.nets.weights import read_state

DATA = Path(os.environ.get("SCALESEARCH_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "weights").is_dir(), reason=f"no ImageNet weights under SCALESEARCH_DATA ({DATA})"
)
PREPARE = v2.Compose(
    [
        v2.Resize(256),
        v2.CenterCrop(224),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ]
)


def mobilenet_v2(padding: str) -> MBConvNet:
    spec = replace(load_space("mobilenet_v2").baseline, padding=padding)
    source = open_weights(str(DATA / "weights" / "mobilenet_v2_tfslim_in1k.pth"), spec, Stated(padding))
    network, plan = inherit(source.spec, source.state, spec, seed=0)
    assert all(row.how == "copied" for row in plan.tensors)
    assert plan.unused == ()
    return network.eval()


def peer_mobilenet_v2() -> nn.Module:
    """torchvision's network with timm's SAME convolutions where the stride is 2: nothing of this project."""
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(read_state(DATA / "weights" / "mobilenet_v2_tfslim_in1k.pth"))
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                width, groups = layer.out_channels, layer.groups
                padded = Conv2dSame(layer.in_channels, width, layer.kernel_size, 2, groups=groups, bias=False)
                padded.load_state_dict(layer.state_dict())
                setattr(parent, name, padded)
    return network.eval()


def right_answers(network: nn.Module, every: int) -> list[bool]:
    """For every n-th photo; sorted folders are ImageNet's classes, one photo each."""
    folders = sorted(path for path in (DATA / "imagenet_sample" / "all").iterdir() if path.is_dir())
    assert len(folders) == 1000
    right = []
    with torch.inference_mode():
        for index in range(0, 1000, every):
            (photo,) = folders[index].iterdir()
            with Image.open(photo) as image:
                right.append(int(network(PREPARE(image.convert("RGB"))[None]).argmax()) == index)
    return right


def test_mobilenet_v2_knows_a_few_photos_and_answers_as_its_peers_do() -> None:
    ours = right_answers(mobilenet_v2("same"), every=17)
    assert sum(ours) / len(ours) >= 0.8
    assert ours == right_answers(peer_mobilenet_v2(), every=17)


@pytest.mark.slow
def test_mobilenet_v2_on_all_photos() -> None:
    same = right_answers(mobilenet_v2("same"), every=1)
    symmetric = right_answers(mobilenet_v2("symmetric"), every=1)
    # measured 877 (the peers' modules too) and 796; these are training photos, so this is no accuracy
    assert sum(same) == pytest.approx(877, abs=5)
    assert sum(symmetric) == pytest.approx(796, abs=8)
    assert same == right_answers(peer_mobilenet_v2(), every=1)
    asked = {"source": "timm:mobilenetv2_100", "source_padding": "same", "part": "all", "device": "cpu"}
    weights, photos = DATA / "weights" / "mobilenet_v2_tfslim_in1k.pth", DATA / "imagenet_sample" / "all"
    assert evaluate(weights, photos, **asked).values["correct"] == sum(same)


@pytest.mark.parametrize(
    ("file", "space", "padding"),
    [("efficientnet_lite0_in1k_backbone.pth", "efficientnet_lite0", "same"),
     ("mobilenet_v2_onnxzoo_in1k_backbone.pth", "mobilenet_v2", "symmetric")],
)  # fmt: skip
def test_a_backbone_leaves_only_the_classifier_fresh(file: str, space: str, padding: Padding) -> None:
    spec = replace(load_space(space).baseline, padding=padding)
    source = open_weights(str(DATA / "weights" / file), spec, Stated(padding))
    _, plan = inherit(source.spec, source.state, spec, seed=0)
    assert [row.name for row in plan.tensors if row.how != "copied"] == ["classifier.1.weight", "classifier.1.bias"]
    assert plan.exact
    assert plan.unused == ()
