import copy

import pytest
import torch

from scalesearch.study.config import TrainConfig
from scalesearch.training.sections import freeze
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, STEPS, ToyNet, fit, toy_batches


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_head_strategy_leaves_every_frozen_tensor_bit_for_bit(ema_decay: float) -> None:
    network = ToyNet()
    before = copy.deepcopy(network.state_dict())
    config = TrainConfig(epochs=1, strategy="head", lr=0.1, warmup_epochs=0, ema_decay=ema_decay)
    fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("features"), name
    assert "features.1.running_mean" in before
    assert "features.1.num_batches_tracked" in before


def test_train_cannot_wake_a_frozen_body_but_the_heads_dropout_works() -> None:
    network = ToyNet()
    network.classifier[0].p = 0.5
    freeze(network, [network.classifier])
    copied = copy.deepcopy(network)
    images = next(iter(toy_batches(0)))[0]
    for net in (network, copied):
        net.train()
        first, second = net.features(images), net.features(images)
        assert torch.equal(first, second)  # no stochastic depth, no new statistics
        assert net.features[1].num_batches_tracked == 0
        net.train()
        assert not torch.equal(net(images), net(images))
        assert net.classifier[0].training


def test_full_frees_what_head_froze() -> None:
    network = ToyNet()
    freeze(network, [network.classifier])
    freeze(network, [network.classifier])
    freeze(network, [network])
    network.train()
    network(next(iter(toy_batches(0)))[0])
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.features[1].num_batches_tracked == 1
