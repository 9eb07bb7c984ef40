"""Short trainings of a copy: which learning rate suits, and how long a step takes here."""

import copy
import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from scalesearch.study.config import TrainConfig
from scalesearch.training.device import epoch_seed
from scalesearch.training.loop import Task
from scalesearch.training.optim import set_lr
from scalesearch.training.recording import WARM_UP, RecordedGradients, recordable
from scalesearch.training.step import Loss, Training, classification_loss, gradients, start, update

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


def lr_range(network: nn.Module, task: Task, config: TrainConfig, device: torch.device, steps: int = STEPS) -> LrRange:
    """Trains a copy of ``network`` for ``steps`` steps, or until it diverges; the network itself stays as it is.

    Source: Smith 2017, "Cyclical Learning Rates" (arXiv:1506.01186), section 3.3, with the rate rising exponentially;
    what is trained is what the first epoch of ``config.strategy`` trains.
    """
    training = start(copy.deepcopy(network), config, device)
    training.network.train()
    lrs, losses, average = [], [], 0.0
    endless = itertools.chain.from_iterable(task.batches(epoch) for epoch in itertools.count())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(epoch_seed(config.seed, 0))
        for step, (images, labels) in zip(range(steps), endless, strict=False):
            lr = LOW * (HIGH / LOW) ** (step / max(1, steps - 1))
            set_lr(training.optimizer, lr / config.lr)
            value = float(gradients(training, images.to(device), labels.to(device), task.loss))
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


WARMUP_STEPS = 2


def seconds_per_step(
    network: nn.Module, image_size: int, batch_size: int, device: torch.device, *, steps: int = 5,
    config: TrainConfig | None = None,
) -> float:  # fmt: skip
    """Median seconds of a training step on random images, after two steps that are not counted, and where steps are
    recorded (see ``recording``) after those that precede a recording.

    Args:
        network: images (N, 3, image_size, image_size) → logits (N, classes); a copy is trained, itself it stays.
        image_size: side in pixels.
        batch_size: images of a step, at least 2 for batch norm.
        steps: steps that are timed.
        config: what the step consists of (optimizer, average, precision, strategy); its batch size is not used.
    """
    config = dataclasses.replace(config or TrainConfig(epochs=1), batch_size=batch_size)
    training, loss = start(copy.deepcopy(network), config, device), classification_loss(config)
    run: Callable[..., torch.Tensor] = gradients
    first = WARMUP_STEPS
    if recordable(training, loss):
        run, first = RecordedGradients(training), WARM_UP + 1
    # no generator of its own would reach the network's dropout, so torch's state is put back instead
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        training.network.train()
        seconds = [timed_step(training, image_size, step, loss, run) for step in range(first + steps)]
    return statistics.median(seconds[first:])


def timed_step(
    training: Training, image_size: int, step: int, loss: Loss, run: Callable[..., torch.Tensor] = gradients
) -> float:
    """Seconds of one step on fresh random images, which are made before the clock starts."""
    device, batch_size = training.device, training.config.batch_size
    images = torch.randn(batch_size, 3, image_size, image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    wait(device)
    began = time.perf_counter()
    run(training, images, labels, loss)
    update(training, step)
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
