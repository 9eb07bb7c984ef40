"""Which learning rate suits: the loss while the rate rises from far too small to far too large."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.study.config import TrainConfig
from scalesearch.training.device import epoch_seed
from scalesearch.training.loss import Loss
from scalesearch.training.optim import set_lr
from scalesearch.training.step import gradients, start, update

LOW, HIGH = 1e-5, 1.0
STEPS = 100
SMOOTHING = 0.9
DIVERGED = 2.0  # times the first loss
BELOW_LOWEST = 10.0


@dataclass(frozen=True)
class LrRange:
    """Smoothed losses by the head's learning rate, and the rate suggested: a tenth of the one with the lowest loss."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def lr_range(
    network: nn.Module,
    batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    config: TrainConfig,
    loss: Loss,
    device: torch.device,
    steps: int = STEPS,
) -> LrRange:
    """Trains a copy of ``network`` for ``steps`` steps, or until it diverges; the network itself stays as it is.

    Source: Smith 2017, "Cyclical Learning Rates" (arXiv:1506.01186), section 3.3, with the rate rising exponentially;
    what is trained is what the first epoch of ``config.strategy`` trains.

    Args:
        batches: epoch → its batches of images (N, C, H, W) and labels.
    """
    training = start(copy.deepcopy(network), config, device)
    training.network.train()
    lrs, losses, average = [], [], 0.0
    endless = itertools.chain.from_iterable(batches(epoch) for epoch in itertools.count())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(epoch_seed(config.seed, 0))
        for step, (images, labels) in zip(range(steps), endless, strict=False):
            lr = LOW * (HIGH / LOW) ** (step / max(1, steps - 1))
            set_lr(training.optimizer, lr / config.lr)
            value = float(gradients(training, images.to(device), labels.to(device), loss))
            if not math.isfinite(value):
                break
            average = SMOOTHING * average + (1 - SMOOTHING) * value
            lrs.append(lr)
            losses.append(average / (1 - SMOOTHING ** (step + 1)))
            if losses[-1] > DIVERGED * losses[0]:
                break
            update(training, step)
    return LrRange(tuple(lrs), tuple(losses), suggested(lrs, losses))


def suggested(lrs: list[float], losses: list[float]) -> float:
    """A tenth of the rate at the lowest loss, to two digits; the lowest rate where the first loss was not finite."""
    if not lrs:
        return LOW
    return float(f"{lrs[int(np.argmin(losses))] / BELOW_LOWEST:.1e}")
