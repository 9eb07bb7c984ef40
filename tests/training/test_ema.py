import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scalesearch.study.config import TrainConfig
from scalesearch.training.evaluation import evaluate
from scalesearch.training.optim import tensors_by_kind, update_average, warmed_decay
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, STEPS, ToyNet, fit, toy_batches


def test_average_is_torchs() -> None:
    """AveragedModel's first update copies the network; from there both must agree, buffers too."""
    network = ToyNet()
    ours = copy.deepcopy(network)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(network)
    with torch.random.fork_rng(devices=[]):
        for images, _ in toy_batches(0):
            network(images)  # moves the batch-norm statistics
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(torch.randn_like(parameter))
            update_average(tensors_by_kind(ours), tensors_by_kind(network), 0.9)
            theirs.update_parameters(network)
    for name, tensor in theirs.module.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(ours.state_dict()[name], tensor), name
        else:  # a counter: ours is the network's, not an average cut to a whole number
            assert ours.state_dict()[name] == network.state_dict()[name] == STEPS


def test_decay_warms_up_to_its_limit() -> None:
    assert warmed_decay(0.99, 0) == pytest.approx(0.1)
    assert warmed_decay(0.99, 10) == pytest.approx(11 / 20)
    assert warmed_decay(0.99, 10**6) == 0.99


def test_a_short_run_is_not_ruined_by_a_slow_decay() -> None:
    """With a constant 0.9999 the 32 steps below would leave 99.7 % of the first weights."""
    network = ToyNet()
    config = TrainConfig(epochs=8, lr=0.02, ema_decay=0.9999)
    fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
    assert evaluate(network, toy_batches(100)).top1 > 0.9
