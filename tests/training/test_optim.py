import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.training.optim import lr_factor, make_optimizer, parameter_groups, set_lr
from scalesearch.training.sections import freeze, trained
from tests.training.toys import ToyNet


def test_schedule_golden_values() -> None:
    factors = [lr_factor(step, total=10, warmup=2) for step in range(10)]
    cosine = [0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert factors == pytest.approx([1 / 3, 2 / 3, *cosine])
    assert factors[2] == 1
    assert factors[6] == pytest.approx(0.5)


def test_cosine_is_torchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    for step in range(30):
        assert lr_factor(step, total=30, warmup=0) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


@given(st.integers(1, 500), st.integers(0, 500))
def test_schedule_rises_then_falls_within_bounds(total: int, warmup: int) -> None:
    warmup = min(warmup, total)
    factors = [lr_factor(step, total, warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: warmup + 1] == sorted(factors[: warmup + 1])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


@pytest.mark.parametrize(("strategy", "ratio"), [("full", 1.0), ("full", 0.1), ("head", 1.0)])
def test_groups_hold_every_trainable_parameter_once(strategy: str, ratio: float) -> None:
    network = ToyNet()
    freeze(network, trained(network, TrainConfig(epochs=1, strategy=strategy), 0))
    groups = parameter_groups(network, TrainConfig(epochs=1, strategy=strategy, body_lr_ratio=ratio))
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_groups_rates_and_decay_by_name() -> None:
    network = ToyNet()
    config = TrainConfig(epochs=1, lr=0.5, weight_decay=0.3, body_lr_ratio=0.1)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        names[id(parameter)]: (group["base_lr"], group["weight_decay"])
        for group in parameter_groups(network, config)
        for parameter in group["params"]
    }
    assert found == {
        "features.0.weight": (0.05, 0.3),
        "features.1.weight": (0.05, 0.0),
        "features.1.bias": (0.05, 0.0),
        "features.3.block.0.weight": (0.05, 0.3),
        "features.3.block.1.weight": (0.05, 0.0),
        "features.3.block.1.bias": (0.05, 0.0),
        "classifier.1.weight": (0.5, 0.3),
        "classifier.1.bias": (0.5, 0.0),
    }


def test_each_section_further_from_the_head_learns_more_slowly() -> None:
    network = ToyNet()
    groups = parameter_groups(network, TrainConfig(epochs=1, lr=1.0, body_lr_ratio=0.5, layer_decay=0.1))
    rates = {id(parameter): group["base_lr"] for group in groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in network.named_parameters()}
    assert found["classifier.1.bias"] == 1
    assert found["features.3.block.0.weight"] == pytest.approx(0.05)  # the SiLU between is a section, too
    assert found["features.1.weight"] == pytest.approx(0.5e-3)
    assert found["features.0.weight"] == pytest.approx(0.5e-4)


def test_set_lr_keeps_the_ratio() -> None:
    optimizer = make_optimizer(ToyNet(), TrainConfig(epochs=1, lr=0.5, body_lr_ratio=0.1))
    set_lr(optimizer, 0.5)
    set_lr(optimizer, 0.2)
    assert sorted({round(group["lr"], 9) for group in optimizer.param_groups}) == [0.01, 0.1]


def test_no_classifier_or_nothing_to_train() -> None:
    network = nn.Linear(2, 2)
    assert parameter_groups(network, TrainConfig(epochs=1))
    with pytest.raises(UserError, match="no module named classifier"):
        parameter_groups(network, TrainConfig(epochs=1, body_lr_ratio=0.1))
    network.requires_grad_(False)
    with pytest.raises(UserError, match="no trainable parameter"):
        parameter_groups(network, TrainConfig(epochs=1))
