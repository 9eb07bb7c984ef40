import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.nets.modules import Block, build
from scalesearch.study.config import TrainConfig
from scalesearch.training.history import EpochRecord, best_epoch, exhausted
from scalesearch.training.sections import reset_tail, sections, trained, trained_sections
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, STEPS, ToyNet, fit, toy_batches

SPEC = replace(load_space("mbconv_small").baseline, classes=3, resolution=8, drop_path=0.2)
BLOCKS = sum(SPEC.depths)


def train(network: nn.Module, config: TrainConfig, until: int | None = None) -> None:
    fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU, until=until)


def test_sections_run_from_stem_to_classifier() -> None:
    network = build(SPEC, seed=0)
    found = sections(network)
    assert len(found) == 1 + BLOCKS + 1 + 1
    assert (found[0], found[-2], found[-1]) == (network.features[0], network.features[-1], network.classifier)
    held = [id(parameter) for section in found for parameter in section.parameters()]
    assert held == [id(parameter) for parameter in network.parameters()]


@pytest.mark.parametrize(("name", "behind"), [("resnet18", 1), ("mobilenet_v3_small", 3), ("mbconv_small", 2)])
def test_the_tail_ends_with_the_last_block_whatever_follows_it(name: str, behind: int) -> None:
    network = build(replace(load_space(name).baseline, classes=3), seed=0)
    found = sections(network)
    assert len(found) == 1 + sum(network.spec.depths) + behind
    held = [id(parameter) for section in found for parameter in section.parameters()]
    assert held == [id(parameter) for parameter in network.parameters()]
    config = TrainConfig(epochs=1, strategy="tail", tail_blocks=2)
    assert [module for module in trained(network, config, 0) if isinstance(module, Block)] == list(
        found[-behind - 2 : -behind]
    )
    before = copy.deepcopy(network.state_dict())
    reset_tail(network, config)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    tail = found[-behind - 2 : -1]
    assert changed == {
        name for name, tensor in network.state_dict(keep_vars=True).items()
        if any(tensor is other for section in tail for other in section.state_dict(keep_vars=True).values())
        and name.endswith("weight") and tensor.ndim > 1
    }  # fmt: skip


def test_a_network_without_a_classifier_is_refused() -> None:
    with pytest.raises(UserError, match="no module named classifier"):
        sections(nn.Linear(2, 2))


@given(st.integers(1, 40), st.integers(3, 60), st.integers(0, 70))
def test_gradual_only_ever_adds_and_ends_with_everything(epochs: int, count: int, tail_blocks: int) -> None:
    config = TrainConfig(epochs=epochs, warmup_epochs=0, strategy="gradual", tail_blocks=tail_blocks)
    numbers = [trained_sections(config, count, epoch) for epoch in range(epochs)]
    assert numbers == sorted(numbers)
    assert numbers[-1] == count
    assert epochs == 1 or numbers[0] == 1
    assert epochs < 4 or len(set(numbers)) == (3 if 2 + tail_blocks < count else 2)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize(
    ("strategy", "until", "count"), [("head", None, 1), ("tail", None, 4), ("gradual", 1, 1), ("gradual", 2, 4)]
)
def test_what_is_frozen_stays_bit_for_bit_and_the_rest_learns(
    strategy: str, until: int | None, count: int, ema_decay: float
) -> None:
    network = build(SPEC, seed=0)
    before = copy.deepcopy(network.state_dict())
    config = TrainConfig(
        epochs=4, strategy=strategy, tail_blocks=2, lr=0.05, warmup_epochs=0, ema_decay=ema_decay
    )  # fmt: skip
    train(network, config, until)
    found = sections(network)
    learnt = {
        id(tensor) for section in found[len(found) - count :] for tensor in section.state_dict(keep_vars=True).values()
    }
    for name, tensor in network.state_dict(keep_vars=True).items():
        assert torch.equal(tensor, before[name]) != (id(tensor) in learnt), name
    assert any(name.endswith("running_var") for name in before)


def test_a_tail_that_is_longer_than_the_body_is_everything() -> None:
    network = build(SPEC, seed=0)
    config = TrainConfig(epochs=1, strategy="tail", tail_blocks=1000)
    assert len(trained(network, config, 0)) == len(sections(network))


def test_resetting_the_tail_leaves_the_body_and_the_head() -> None:
    network = build(SPEC, seed=0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(tensor + 1)
    before = copy.deepcopy(network.state_dict())
    reset_tail(network, TrainConfig(epochs=1, strategy="tail", tail_blocks=2))
    found = sections(network)
    new = {id(tensor) for section in found[-4:-1] for tensor in section.state_dict(keep_vars=True).values()}
    for name, tensor in network.state_dict(keep_vars=True).items():
        assert torch.equal(tensor, before[name]) != (id(tensor) in new), name


class Plain(nn.Module):
    """No batch norm, no dropout: batches can be split."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(3, 3)
        nn.init.eye_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(images.mean((2, 3)))


@pytest.mark.parametrize("accumulate", [2, 5, 12])
def test_micro_batches_add_up_to_the_batch(accumulate: int) -> None:
    whole, split = Plain(), Plain()
    config = TrainConfig(epochs=2, batch_size=12, lr=0.1)
    train(whole, config)
    train(split, replace(config, accumulate=accumulate))
    assert torch.allclose(whole.classifier.weight, split.classifier.weight, atol=1e-5)
    assert not torch.equal(whole.classifier.weight, Plain().classifier.weight)


def test_batch_norm_sees_one_micro_batch_at_a_time() -> None:
    network = ToyNet()
    train(network, TrainConfig(epochs=1, batch_size=12, accumulate=3))
    assert network.features[1].num_batches_tracked == 3 * STEPS


def record(epoch: int, top1: float, loss: float = 1.0) -> EpochRecord:
    return EpochRecord(epoch, 1.0, 0.1, 1.0, {"top1": top1, "loss": loss})


def test_best_epoch_and_patience() -> None:
    history = (record(0, 0.5), record(1, 0.7, 0.9), record(2, 0.7, 0.8), record(3, 0.7, 0.8), record(4, 0.6))
    assert best_epoch(history) == 2
    assert [exhausted(history[:n], 2) for n in range(6)] == [False, False, False, False, False, True]
    assert not exhausted(history, 0)
    assert not exhausted((), 1)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_patience_stops_and_keeps_the_best_epoch(ema_decay: float) -> None:
    scores = iter([0.2, 0.9, 0.3, 0.4, 0.95])
    seen: list[dict[str, torch.Tensor]] = []

    def judge(network: nn.Module) -> dict[str, float]:
        seen.append(copy.deepcopy(network.state_dict()))
        return {"top1": next(scores)}

    network = ToyNet()
    config = TrainConfig(epochs=5, patience=2, lr=0.05, ema_decay=ema_decay)
    history = fit(
        network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU, evaluate=judge
    )  # fmt: skip
    assert len(history) == 4
    assert all(torch.equal(tensor, seen[1][name]) for name, tensor in network.state_dict().items())
    assert not torch.equal(seen[1]["classifier.1.weight"], seen[3]["classifier.1.weight"])


def test_the_best_epoch_survives_an_interruption(tmp_path: Path) -> None:
    scores = [0.2, 0.9, 0.3, 0.4]

    def go(network: nn.Module, epochs: range, checkpoint: Path | None = None) -> None:
        given = iter(scores[epochs.start : epochs.stop])
        config = TrainConfig(epochs=4, patience=3, lr=0.05)
        fit(
            network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU, checkpoint=checkpoint,
            evaluate=lambda _: {"top1": next(given)}, until=epochs.stop,
        )  # fmt: skip

    straight, resumed = ToyNet(), ToyNet(seed=9)
    go(straight, range(4))
    go(ToyNet(), range(2), tmp_path / "run.safetensors")
    go(resumed, range(2, 4), tmp_path / "run.safetensors")
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in straight.state_dict().items())
