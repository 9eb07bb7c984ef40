import pytest
import torch
from torch import Tensor

from scalesearch.study.config import TrainConfig
from scalesearch.training.loop import Task
from scalesearch.training.probes import HIGH, LOW, lr_range
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, STEPS, ToyNet, tensor_hash, toy_batches

CONFIG = TrainConfig(epochs=1)


def test_it_rises_falls_and_leaves_the_network_alone() -> None:
    network = ToyNet()
    before, state = tensor_hash(network), torch.get_rng_state()
    found = lr_range(network, Task(toy_batches, STEPS, classification_loss(CONFIG)), CONFIG, CPU, steps=60)
    assert tensor_hash(network) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert list(found.lrs) == sorted(found.lrs)
    assert found.lrs[0] == LOW
    assert found.lrs[-1] <= HIGH * 1.001
    assert min(found.losses) < found.losses[0]
    lowest = found.lrs[found.losses.index(min(found.losses))]
    assert found.suggestion == pytest.approx(lowest / 10, rel=0.06)
    again = lr_range(network, Task(toy_batches, STEPS, classification_loss(CONFIG)), CONFIG, CPU, steps=60)
    assert again == found


def test_it_stops_where_training_diverges() -> None:
    def explodes(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        return outputs.square().mean() * 0 + (10.0 if len(calls) > 20 else 1.0)

    calls: list[int] = []
    found = lr_range(ToyNet(), Task(toy_batches, STEPS, explodes), CONFIG, CPU, steps=60)
    assert len(found.lrs) < 30

    def nothing(outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.sum() * torch.nan

    assert lr_range(ToyNet(), Task(toy_batches, STEPS, nothing), CONFIG, CPU).suggestion == LOW


def test_a_frozen_body_stays_frozen() -> None:
    config = TrainConfig(epochs=1, strategy="head", lr=0.5)
    found = lr_range(ToyNet(), Task(toy_batches, STEPS, classification_loss(config)), config, CPU, steps=40)
    assert min(found.losses) < found.losses[0]
