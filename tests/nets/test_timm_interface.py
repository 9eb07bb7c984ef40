"""What timm's users call, held against timm's own networks."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from scalesearch.design.scaling import published_spec
from scalesearch.design.space import load_space
from scalesearch.nets.modules import MBConvNet, build, feature_info
from scalesearch.nets.names import rename, timm_names
from scalesearch.nets.weights import save_network
from tests.nets.specs import images, randomise, small_resnet, tiny
from tests.training.test_recompute import saved_bytes

SPACES = {"efficientnet_b0": "efficientnet_b0", "mobilenet_v2": "mobilenetv2_100", "resnet50": "resnet50"}


@pytest.fixture(scope="module")
def pair() -> tuple[MBConvNet, nn.Module]:
    """B0 as ours and as timm's, with one state."""
    theirs = randomise(timm.create_model("efficientnet_b0", num_classes=1000))
    spec = load_space("efficientnet_b0").baseline
    ours = build(replace(spec, batch_norm=replace(spec.batch_norm, eps=1e-5)), seed=0).eval()
    names = {foreign: own for own, foreign in timm_names(spec).items()}
    ours.load_state_dict(dict(rename(theirs.state_dict(), names)))
    return ours, theirs


def both(pair: tuple[MBConvNet, nn.Module]) -> tuple[MBConvNet, nn.Module]:
    ours, theirs = pair
    return copy.deepcopy(ours), copy.deepcopy(theirs)


def test_the_parts_of_forward_are_timms(pair: tuple[MBConvNet, nn.Module]) -> None:
    ours, theirs = pair
    batch = images(2, 64)
    with torch.inference_mode():
        maps, expected = ours.forward_features(batch), theirs.forward_features(batch)
        torch.testing.assert_close(maps, expected)
        for pre_logits in (False, True):
            found = ours.forward_head(maps, pre_logits=pre_logits)
            torch.testing.assert_close(found, theirs.forward_head(expected, pre_logits=pre_logits))
        torch.testing.assert_close(ours(batch), ours.forward_head(maps), rtol=0, atol=0)
    for name in ("num_classes", "num_features", "head_hidden_size"):
        assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize(("classes", "pool"), [(7, None), (7, "avg"), (0, None), (0, "avg"), (0, "")])
def test_a_reset_classifier_is_timms(pair: tuple[MBConvNet, nn.Module], classes: int, pool: str | None) -> None:
    ours, theirs = both(pair)
    ours.reset_classifier(classes, global_pool=pool)
    theirs.reset_classifier(classes, global_pool=pool)
    if classes:
        theirs.get_classifier().load_state_dict(ours.get_classifier().state_dict())
    assert ours.num_classes == theirs.num_classes == classes
    assert type(ours.get_classifier()) is type(theirs.get_classifier())
    assert not ours.classifier.training
    with torch.inference_mode():
        torch.testing.assert_close(ours(images(2, 64)), theirs(images(2, 64)))
    if classes:
        assert ours.spec.classes == 7
        assert ours.state_dict().keys() == build(ours.spec, seed=0).state_dict().keys()


def test_a_classifier_comes_back_with_the_pooling() -> None:
    network = build(tiny(), seed=0).eval().half()
    network.reset_classifier(0, "")
    assert network(images(2, 33).half()).shape == (2, 24, 5, 5)
    network.reset_classifier(0)
    assert network(images(2, 33).half()).shape == (2, 24, 5, 5)  # as it was
    network.reset_classifier(9, "avg")
    assert (network(images(2, 33).half()).shape, network.spec.classes) == ((2, 9), 9)
    assert network.get_classifier().weight.dtype == torch.float16


@pytest.mark.parametrize(("classes", "pool"), [(5, ""), (5, "max"), (0, "max")])
def test_other_poolings_are_refused(classes: int, pool: str) -> None:
    network = build(tiny(), seed=0)
    with pytest.raises(ValueError, match="global_pool"):
        network.reset_classifier(classes, pool)
    assert network.num_classes == network.spec.classes == 5
    if classes:
        network.reset_classifier(0, "")
        with pytest.raises(ValueError, match="global_pool"):
            network.reset_classifier(classes)


def test_a_hidden_layer_reads_what_is_pooled() -> None:
    network = build(load_space("mobilenet_v3_small").baseline, seed=0).eval()
    with torch.inference_mode():
        maps = network.forward_features(images(1, 64))
        assert maps.shape[1] == network.num_features == 576
        assert network.forward_head(maps, pre_logits=True).shape[1] == network.head_hidden_size == 1024
    with pytest.raises(ValueError, match="global_pool"):
        network.reset_classifier(0, "")


def test_a_network_without_classifier_is_no_model(tmp_path: Path) -> None:
    network = build(tiny(), seed=0)
    network.reset_classifier(0)
    with pytest.raises(ValueError, match="not the one of its spec"):
        save_network(tmp_path / "model.safetensors", network)


@pytest.mark.parametrize("space", SPACES)
def test_features_are_listed_as_timm_lists_them(space: str) -> None:
    info = timm.create_model(SPACES[space]).feature_info
    expected = [(row["num_chs"], row["reduction"]) for row in info]
    spec = load_space(space).baseline
    found = feature_info(spec)
    assert [(row["num_chs"], row["reduction"]) for row in found] == expected
    if space != "resnet50":
        assert [row["stage"] for row in found] == [row["stage"] for row in info]
    network, seen = build(spec, seed=0).eval(), {}
    for row in found:
        network.get_submodule(str(row["module"])).register_forward_hook(
            lambda _module, _given, maps, name=row["module"]: seen.__setitem__(name, tuple(maps.shape))
        )
    with torch.inference_mode():
        network(images(1, 64))
    assert [seen[row["module"]] for row in found] == [(1, wide, 64 // by, 64 // by) for wide, by in expected]


def test_features_of_a_released_member_are_timms() -> None:
    spec = published_spec(load_space("efficientnet_b0"), "b3")
    theirs = timm.create_model("efficientnet_b3").feature_info
    assert [row["num_chs"] for row in feature_info(spec)] == [row["num_chs"] for row in theirs]


def gradients(network: MBConvNet, batch: Tensor) -> list[dict[str, Tensor]]:
    torch.manual_seed(0)
    network.train()(batch).square().sum().backward()
    return [network.state_dict(), {name: one.grad for name, one in network.named_parameters() if one.grad is not None}]


@pytest.mark.parametrize("spec", [tiny(), small_resnet("resnet18")], ids=["mbconv", "resnet"])
def test_gradient_checkpointing_changes_no_number(spec: object) -> None:
    plain, checkpointed = build(spec, seed=1), build(spec, seed=1)  # type: ignore[arg-type]
    checkpointed.set_grad_checkpointing()
    for one, other in zip(gradients(plain, images(4, 33)), gradients(checkpointed, images(4, 33)), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    checkpointed.set_grad_checkpointing(False)
    assert not checkpointed.grad_checkpointing


def test_gradient_checkpointing_keeps_less() -> None:
    network, batch = build(tiny(), seed=1).train(), images(4, 33)
    plain = saved_bytes(network, batch)
    network.set_grad_checkpointing()
    assert saved_bytes(network, batch) < plain / 2


@pytest.mark.parametrize("inside", ["relu", "relu6", "silu", "hardswish"])
def test_a_hidden_layer_trains_with_every_activation(inside: str) -> None:
    spec = replace(tiny(), activation=inside, head=replace(tiny().head, hidden=16))  # type: ignore[arg-type]
    network = build(spec, seed=0).train()
    network(images(4, 33)).square().sum().backward()
    assert network.hidden[0].weight.grad is not None


@pytest.mark.filterwarnings("ignore")  # of torch about its own scripting
@pytest.mark.parametrize("classes", [0, 4])
def test_a_reset_network_can_be_scripted_and_exported(classes: int) -> None:
    network = build(tiny(), seed=0).eval()
    network.reset_classifier(classes)
    network.set_grad_checkpointing()
    batch = images(2, 33)
    scripted, symbolic = torch.jit.script(network), torch.fx.symbolic_trace(network)
    program = torch.export.export(network, (batch,)).module()
    with torch.no_grad():
        for other in (scripted, symbolic, program):
            torch.testing.assert_close(other(batch), network(batch))
