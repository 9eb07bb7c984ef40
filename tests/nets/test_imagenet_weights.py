"""Published ImageNet weights on real photos: wrong names, padding or activation would show as lost accuracy."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from scalesearch.design.space import load_space
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.weights import load_state_into, read_state

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
    network = build(replace(load_space("mobilenet_v2").baseline, padding=padding), seed=0).eval()
    report = load_state_into(network, read_state(DATA / "weights" / "mobilenet_v2_tfslim_in1k.pth"))
    assert (report.fresh, report.unused) == ((), ())
    return network


def top1_percent(network: MBConvNet, every: int) -> float:
    """Share of right answers on every n-th photo; sorted folders are ImageNet's classes, one photo each."""
    folders = sorted(path for path in (DATA / "imagenet_sample" / "all").iterdir() if path.is_dir())
    assert len(folders) == 1000
    right = 0
    with torch.inference_mode():
        for index in range(0, 1000, every):
            (photo,) = folders[index].iterdir()
            with Image.open(photo) as image:
                right += int(network(PREPARE(image.convert("RGB"))[None]).argmax()) == index
    return 100 * right / len(range(0, 1000, every))


def test_mobilenet_v2_knows_a_few_photos() -> None:
    assert top1_percent(mobilenet_v2("same"), every=17) >= 80


@pytest.mark.slow
def test_mobilenet_v2_accuracy_on_all_photos_with_either_padding() -> None:
    assert top1_percent(mobilenet_v2("same"), every=1) == pytest.approx(90.7, abs=0.3)
    assert top1_percent(mobilenet_v2("symmetric"), every=1) == pytest.approx(82.4, abs=0.5)


def test_lite0_backbone_leaves_only_the_classifier_fresh() -> None:
    network = build(replace(load_space("efficientnet_lite0").baseline, padding="same"), seed=0)
    state = read_state(DATA / "weights" / "efficientnet_lite0_in1k_backbone.pth")
    report = load_state_into(network, state)
    assert report.fresh == ("classifier.1.weight", "classifier.1.bias")
    assert report.unused == ()
    assert len(report.copied) == len([name for name in state if not name.endswith("num_batches_tracked")])


def test_mobilenet_v2_backbone_leaves_only_the_classifier_fresh() -> None:
    network = build(load_space("mobilenet_v2").baseline, seed=0)
    report = load_state_into(network, read_state(DATA / "weights" / "mobilenet_v2_onnxzoo_in1k_backbone.pth"))
    assert report.fresh == ("classifier.1.weight", "classifier.1.bias")
    assert report.unused == ()
