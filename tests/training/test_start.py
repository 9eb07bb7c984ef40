import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import Augment
from scalesearch.design.scaling import PAPER, scale
from scalesearch.nets.sources import WeightSource
from scalesearch.study.config import TrainConfig
from scalesearch.training.recipe import Recipe, augmentation, choose_strategy
from scalesearch.training.start import from_scratch, from_source, settled, start_of
from scalesearch.training.step import balanced_weights, classification_loss
from tests.nets.test_inherit import SMALL, logits, pictures, trained

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c", "d")


def arrays(count: int = 40) -> ImageArrays:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return ImageArrays(pixels, np.arange(count, dtype=np.int64) % 4, "key", Path())


def source(classes: tuple[str, ...] = CLASSES) -> WeightSource:
    metadata = {
        "classes": json.dumps(classes),
        "pixel_statistics": json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}),
    }
    return WeightSource("run", SMALL, trained(SMALL).state_dict(), "digest", metadata)


def test_the_same_network_on_the_same_classes_is_the_source_itself() -> None:
    start = from_source(SMALL, source(), arrays(), CLASSES, CPU, seed=0)
    assert start.statistics.mean == (0.1, 0.2, 0.3)
    assert torch.equal(logits(start.network, pictures(SMALL)), logits(trained(SMALL), pictures(SMALL)))


def test_other_classes_have_a_fresh_classifier_whose_first_loss_is_near_log_classes() -> None:
    start = from_source(SMALL, source(("w", "x", "y", "z")), arrays(), CLASSES, CPU, seed=0)
    assert start.plan is not None
    assert start.plan.coverage == 1
    first = logits(start.network, pictures(SMALL))
    labels = torch.arange(len(first)) % 4
    assert float(F.cross_entropy(first, labels)) == pytest.approx(math.log(4), abs=0.01)


@pytest.mark.parametrize("phi", [-1, 1])
def test_repair_is_done_unless_told_not_to(phi: int) -> None:
    spec = replace(scale(SMALL, PAPER, phi), resolution=16)
    repaired = from_source(spec, source(), arrays(), CLASSES, CPU, seed=0)
    plain = from_source(spec, source(), arrays(), CLASSES, CPU, seed=0, repair=False)
    assert repaired.network.training
    differing = [
        name
        for name, tensor in repaired.network.state_dict().items()
        if not torch.equal(tensor, plain.network.state_dict()[name])
    ]
    assert differing


def test_scratch_is_normalised_by_its_own_images() -> None:
    start = from_scratch(SMALL, arrays(), seed=0)
    assert start.statistics.mean == pytest.approx((0.5, 0.5, 0.5), abs=0.02)
    assert start.plan is None


def test_slow_statistics_are_made_to_follow_a_short_training() -> None:
    slow = replace(SMALL, batch_norm=replace(SMALL.batch_norm, momentum=0.01))
    assert settled(slow, 100).batch_norm.momentum == 0.1
    assert settled(slow, 2000) == slow
    assert settled(SMALL, 5) == SMALL


@pytest.mark.parametrize("inherits", [False, True])
def test_they_are_so_whatever_a_training_starts_from(inherits: bool) -> None:
    slow = replace(SMALL, batch_norm=replace(SMALL.batch_norm, momentum=0.01), classes=4)
    config, given = TrainConfig(epochs=5), source() if inherits else None
    for steps, momentum in ((2, 0.1), (1000, 0.01)):
        network = start_of(slow, given, arrays(), CLASSES, config, steps, CPU, repair=False).network
        assert {one.momentum for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)} == {momentum}


@pytest.mark.parametrize(
    ("images", "coverage", "strategy", "reset", "reason"),
    [
        (10, None, "full", False, "no weights"),
        (20, 1.0, "tail", False, "5 training images a class"),
        (800, 0.9, "tail", True, "200 training images a class"),
        (8000, 0.9, "full", False, "2000 training images a class"),
        (5000, 0.1, "full", False, "10 % of the body"),
    ],
)
def test_auto_says_what_and_why(images: int, coverage: float | None, strategy: str, reset: bool, reason: str) -> None:
    choice = choose_strategy(images, 4, coverage)
    assert (choice.strategy, choice.reset_tail) == (strategy, reset)
    assert reason in choice.why


def test_balanced_weights_give_every_class_the_same_share() -> None:
    weights = balanced_weights([30, 10, 20])
    assert [w * n for w, n in zip(weights, (30, 10, 20), strict=True)] == pytest.approx([20, 20, 20])
    loss = classification_loss(TrainConfig(epochs=1, label_smoothing=0), torch.tensor(weights))
    given = torch.zeros(2, 3)
    assert float(loss(given, torch.tensor([0, 1]))) == pytest.approx(np.log(3))


def test_recipes_grow_stronger() -> None:
    light, medium, strong = (augmentation(strength, flip=False) for strength in ("light", "medium", "strong"))
    assert light == Augment(flip=False)
    assert (medium.randaugment, medium.mixup) == (7, 0)
    assert (strong.randaugment, strong.mixup, strong.cutmix) == (9, 0.2, 1)
    assert json.loads(json.dumps(Recipe(TrainConfig(epochs=1), strong).to_dict()))["augment"]["cutmix"] == 1
