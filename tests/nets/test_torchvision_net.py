"""torchvision's classifiers against what torchvision says of them: parameters and multiply-adds."""

import pytest
import torch
import torchvision
from torchvision.models import get_model_weights, list_models

from scalesearch.design.spec import TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.nets.torchvision_net import AUXILIARY, counted, last_layer, network_of, torchvision_name

FEW = ("googlenet", "resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5", "swin_t", "vit_b_32")
LARGEST = ("vit_h_14", "vit_l_16", "regnet_y_128gf")  # of gigabytes
INCEPTION_AUXILIARY = 3_326_696  # parameters; torchvision counts them there, not with GoogLeNet's


def check(name: str) -> None:
    meta = get_model_weights(name).DEFAULT.meta
    spec = counted(name, None, 1000)
    assert spec.params == meta["num_params"] - (INCEPTION_AUXILIARY if name == "inception_v3" else 0)
    assert spec.macs / 1e9 == pytest.approx(meta["_ops"], rel=1e-3, abs=6e-4)  # rounded to the third decimal


@pytest.mark.parametrize("name", FEW)
def test_a_classifier_costs_what_torchvision_says(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in list_models(module=torchvision.models) if n not in (*FEW, *LARGEST)])
def test_every_classifier_costs_what_torchvision_says(name: str) -> None:
    check(name)


@pytest.mark.parametrize(
    ("written", "name"),
    [("GoogLeNet", "googlenet"), ("mobilenet-v2", "mobilenet_v2"), ("ResNet-18", "resnet18"),
     ("squeezenet1.1", "squeezenet1_1"), ("regnet_x_1.6gf", "regnet_x_1_6gf"), (" Inception V3", "inception_v3")],
)  # fmt: skip
def test_names_are_taken_as_people_write_them(written: str, name: str) -> None:
    assert torchvision_name(written) == name


@pytest.mark.parametrize(
    ("written", "said"),
    [("resnet19", "resnet1"), ("regnetx16gf", "regnet_x_16gf or regnet_x_1_6gf"), ("qqq", "Known are"),
     ("fcn_resnet50", "not as a classifier"), ("quantized_resnet18", "not as a classifier"), ("", "Known are")],
)  # fmt: skip
def test_other_names_are_refused_with_the_nearest(written: str, said: str) -> None:
    with pytest.raises(UserError, match=f"torchvision:{written}") as caught:
        torchvision_name(written)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "resolution", "usual"),
    [("inception_v3", 74, 299), ("vit_b_32", 100, 224), ("maxvit_t", 64, 224), ("alexnet", 32, 224),
     ("convnext_tiny", 16, 224)],
)  # fmt: skip
def test_sizes_that_a_network_cannot_take_are_refused(name: str, resolution: int, usual: int) -> None:
    with pytest.raises(UserError, match=f"torchvision:{name} at {resolution} px.*cannot take.*made for {usual} px"):
        counted(name, resolution, 10)


def test_a_size_of_its_own_scales_the_cost() -> None:
    small, usual = counted("resnet18", 112, 10), counted("resnet18", None, 10)
    half, whole = counted("resnet18", 64, 10), counted("resnet18", 128, 10)
    assert (usual.resolution, small.resolution, small.params) == (224, 112, usual.params)
    assert 4 * (half.macs - 5120) == whole.macs - 5120  # but for the classifier, 512 × 10
    assert 4 * (half.activations - 10) == whole.activations - 10
    assert counted("vit_b_32", 64, 10).macs < counted("vit_b_32", 96, 10).macs


@pytest.mark.parametrize(("name", "resolution"), [("googlenet", 32), ("inception_v3", 75)])
def test_auxiliary_heads_are_gone_and_what_is_left_computes_the_same(name: str, resolution: int) -> None:
    ours = network_of(counted(name, resolution, 5), seed=0)
    images = torch.randn(2, 3, resolution, resolution)
    assert ours(images).shape == (2, 5)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=5, init_weights=True)
    state = theirs.state_dict()
    ours.load_state_dict({key: state[key] for key in state if not key.startswith(AUXILIARY[name])})
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize(
    ("name", "layer"),
    [("squeezenet1_1", "classifier.1"), ("googlenet", "fc"), ("swin_t", "head"), ("vgg11", "classifier.6")],
)
def test_the_last_layer_gives_the_logits(name: str, layer: str) -> None:
    with torch.device("meta"):
        network = network_of(TorchvisionSpec(name, 224, 5, macs=1, params=1, activations=1))
    assert last_layer(network)[0] == layer


def test_the_same_seed_draws_the_same_network_and_leaves_torchs_state() -> None:
    spec = counted("shufflenet_v2_x0_5", 32, 3)
    before = torch.get_rng_state()
    one, two, other = (network_of(spec, seed).fc.weight for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())
