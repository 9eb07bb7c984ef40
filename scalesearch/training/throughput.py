"""How long a training step takes here: the number a search's duration is estimated from."""

import copy
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from scalesearch.study.config import TrainConfig
from scalesearch.training.loss import Loss, classification_loss
from scalesearch.training.recording import WARM_UP, RecordedGradients, recordable
from scalesearch.training.step import Training, gradients, start, update

WARMUP_STEPS = 2


def seconds_per_step(
    network: nn.Module,
    image_size: int,
    batch_size: int,
    device: torch.device,
    *,
    steps: int = 5,
    config: TrainConfig | None = None,
) -> float:
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
    run, first = gradients, WARMUP_STEPS
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
