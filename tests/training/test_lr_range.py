import pytest
import torch
from torch import Tensor

from scalesearch.study.config import TrainConfig
from scalesearch.training.loss import classification_loss
from scalesearch.training.lr_range import HIGH, LOW, lr_range
from tests.training.toys import CPU, ToyNet, tensor_hash, toy_batches

CONFIG = TrainConfig(epochs=1)


def test_it_rises_falls_and_leaves_the_network_alone() -> None:
    network = ToyNet()
    before, state = tensor_hash(network), torch.get_rng_state()
    found = lr_range(network, toy_batches, CONFIG, classification_loss(CONFIG), CPU, steps=60)
    assert tensor_hash(network) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert list(found.lrs) == sorted(found.lrs)
    assert found.lrs[0] == LOW
    assert found.lrs[-1] <= HIGH * 1.001
    assert min(found.losses) < found.losses[0]
    lowest = found.lrs[found.losses.index(min(found.losses))]
    assert found.suggestion == pytest.approx(lowest / 10, rel=0.06)
    again = lr_range(network, toy_batches, CONFIG, classification_loss(CONFIG), CPU, steps=60)
    assert again == found


def test_it_stops_where_training_diverges() -> None:
    def explodes(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        return outputs.square().mean() * 0 + (10.0 if len(calls) > 20 else 1.0)

    calls: list[int] = []
    found = lr_range(ToyNet(), toy_batches, CONFIG, explodes, CPU, steps=60)
    assert len(found.lrs) < 30

    def nothing(outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.sum() * torch.nan

    assert lr_range(ToyNet(), toy_batches, CONFIG, nothing, CPU).suggestion == LOW


def test_a_frozen_body_stays_frozen() -> None:
    config = TrainConfig(epochs=1, strategy="head", lr=0.5)
    found = lr_range(ToyNet(), toy_batches, config, classification_loss(config), CPU, steps=40)
    assert min(found.losses) < found.losses[0]
