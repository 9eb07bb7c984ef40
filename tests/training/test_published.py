"""torchvision's networks in the one loop: every one learns, body and head at rates of their own, and goes on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import list_models

from scalesearch.design.spec import TorchvisionSpec
from scalesearch.nets.torchvision_net import counted, last_layer, network_of
from scalesearch.nets.torchvision_weights import TorchvisionWeights
from scalesearch.nets.weights import digest
from scalesearch.study.config import TrainConfig
from scalesearch.training.loop import Task, fit
from scalesearch.training.memory import checkpoint_bytes, least_memory, predict_memory
from scalesearch.training.optim import parameter_groups
from scalesearch.training.start import published_start
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, tensor_hash

SIDE, STEPS = 32, 2
CONFIG = TrainConfig(epochs=3, batch_size=6, lr=1e-3, warmup_epochs=0, body_lr_ratio=0.3, ema_decay=0.9)
SMALLEST = {  # sizes and, of each kind, the quickest
    "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "googlenet": 32, "inception_v3": 75,
    "mnasnet0_5": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "regnet_y_400mf": 32, "resnet18": 32,
    "resnext50_32x4d": 32, "shufflenet_v2_x0_5": 32, "squeezenet1_1": 32, "swin_t": 32, "swin_v2_t": 32, "vgg11_bn": 32,
    "vit_b_32": 64,
}  # fmt: skip


def spec_of(name: str, side: int) -> TorchvisionSpec:
    return TorchvisionSpec(name, side, 3, macs=1, params=1, activations=1)


def batches(epoch: int, side: int = SIDE) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(STEPS):
        labels = torch.randint(3, (CONFIG.batch_size,), generator=generator)
        yield torch.randn(CONFIG.batch_size, 3, side, side, generator=generator), labels


def train(network: nn.Module, checkpoint: Path | None = None, until: int | None = None, side: int = SIDE) -> None:
    task = Task(lambda epoch: batches(epoch, side), STEPS, classification_loss(CONFIG))
    fit(network, task, CONFIG, CPU, checkpoint=checkpoint, until=until)


@pytest.mark.parametrize("name", ["googlenet", "mnasnet0_5"])
def test_a_paused_training_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    spec = spec_of(name, SIDE)
    straight, paused, resumed = (network_of(spec, seed) for seed in (0, 0, 1))
    train(straight)
    train(paused, tmp_path / "state.safetensors", until=2)
    train(resumed, tmp_path / "state.safetensors")
    assert tensor_hash(resumed) == tensor_hash(straight)
    assert tensor_hash(paused) != tensor_hash(straight)


@pytest.mark.parametrize("name", SMALLEST)
def test_the_head_learns_at_its_rate_and_all_else_at_the_bodys(name: str) -> None:
    network = network_of(spec_of(name, SMALLEST[name]), seed=0)
    groups = parameter_groups(network, CONFIG)
    rates = {id(parameter): group["base_lr"] for group in groups for parameter in group["params"]}
    head = {name for name, one in network.named_parameters() if rates[id(one)] == CONFIG.lr}
    assert len(rates) == len(list(network.parameters()))
    assert f"{last_layer(network)[0]}.weight" in head
    assert len({name.partition(".")[0] for name in head}) == 1
    assert sorted(set(rates.values())) == pytest.approx([0.3 * CONFIG.lr, CONFIG.lr])
    first = next(network.parameters())
    assert rates[id(first)] == pytest.approx(0.3 * CONFIG.lr)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_every_kind_of_network_learns(name: str) -> None:
    network = network_of(spec_of(name, SMALLEST[name]), seed=0)
    before = last_layer(network)[1].weight.detach().clone()
    train(network, until=1, side=SMALLEST[name])
    assert not torch.equal(before, last_layer(network)[1].weight)


@pytest.mark.slow
def test_no_classifier_has_a_head_of_another_name() -> None:
    """Of all that torchvision lists: one of a family stands for it where it cannot be built without memory."""
    from scalesearch.training.sections import classifier

    for name in list_models(module=torchvision.models):
        with torch.device("cpu" if name.startswith("regnet") else "meta"):
            if name.startswith("regnet") and name != "regnet_x_400mf":
                continue
            network = network_of(spec_of(name, 224))
        layer = last_layer(network)[1]
        assert any(layer is module for module in classifier(network).modules()), name
        assert layer.weight.shape[0] == 3


def test_memory_is_predicted() -> None:
    spec = counted("googlenet", SIDE, 3)
    least, predicted = least_memory(spec, CONFIG), predict_memory(network_of(spec, seed=0), CONFIG, SIDE)
    assert 0 < least < predicted
    assert checkpoint_bytes(spec, CONFIG) == 4 * 4 * spec.params  # weights, their average, two moments


class Arrays:
    """Images of noise, as ``pixel_statistics`` reads them."""

    def __len__(self) -> int:
        return 8

    def batches(self, rows: list[np.ndarray]) -> Iterator[np.ndarray]:
        yield np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)


def test_a_start_from_weights_is_normalised_as_they_expect_and_settles() -> None:
    spec, arrays = spec_of("mnasnet0_5", SIDE), Arrays()
    state = network_of(spec, seed=5).state_dict()
    numbers = '{"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}'
    source = TorchvisionWeights("w", state, digest(state), {"pixel_statistics": numbers, "classes": '["a", "b", "c"]'})
    fresh = published_start(spec, None, arrays, ("a", "b", "c"), CONFIG, STEPS)
    kept = published_start(spec, source, arrays, ("a", "b", "c"), CONFIG, STEPS)
    other = published_start(spec, source, arrays, ("a", "b", "d"), CONFIG, STEPS)
    assert kept.statistics.std == (0.25, 0.25, 0.25)
    assert fresh.statistics.std != kept.statistics.std
    assert digest(kept.network.state_dict()) == digest(state)
    assert torch.equal(other.network.layers[0].weight, state["layers.0.weight"])
    assert not torch.equal(other.network.classifier[1].weight, state["classifier.1.weight"])
    assert {m.momentum for m in kept.network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    assert {m.momentum for m in fresh.network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
