"""All that the sheet takes from scalesearch; every other module of it imports from here alone."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, on_card, training_batches
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.cost import cost
from scalesearch.design.scaling import Coefficients, size_baseline
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.nets.modules import build
from scalesearch.running.executor import Executor, mapped
from scalesearch.running.processes import Processes
from scalesearch.running.provenance import hardware, versions
from scalesearch.running.trial import Assignment, Outcome, Setting, run_trial
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Trial
from scalesearch.training import loop
from scalesearch.training.memory import predict_memory
from scalesearch.training.recording import RecordedGradients
from scalesearch.training.sections import recomputing
from scalesearch.training.step import classification_loss, gradients, start, update

__all__ = [
    "Assignment", "Dataset", "Executor", "NetSpec", "Outcome", "Processes", "Setting", "TrainConfig", "build", "cost",
    "dataset", "hardware", "load_space", "mapped", "open_data", "predict_memory", "recomputing", "run_plainly",
    "run_trial", "size_baseline", "start", "versions",
]  # fmt: skip

Step = Callable[[Tensor, Tensor], object]


def spec_of(space: str, px: int) -> NetSpec:
    """A shipped baseline at another resolution."""
    return replace(load_space(space).baseline, resolution=px)


def our_step(
    network: nn.Module,
    config: TrainConfig,
    device: torch.device,
    called: nn.Module | None = None,
    recorded: bool = False,
) -> Step:
    """A step of the package's loop.

    Args:
        called: what stands for the network in the forward pass, e.g. compiled.
        recorded: whether forward and backward pass are replayed from a CUDA graph.
    """
    training, loss = start(network, config, device), classification_loss(config)
    training.network.train()
    run, count = RecordedGradients(training) if recorded else gradients, itertools.count()

    def step(images: Tensor, labels: Tensor) -> None:
        run(training, images, labels, loss, called)
        update(training, next(count))

    return step


def run_plainly(setting: Setting, job: Assignment, beat: Callable[[], None]) -> Outcome:
    """``run_trial`` without recorded steps."""
    loop.recordable = lambda training, loss: False
    return run_trial(setting, job, beat)


def trial_of(spec: NetSpec, config: TrainConfig, name: str) -> Assignment:
    """A training as a search gives it to a worker."""
    return Assignment(Trial(0, config.seed, name, spec, spec, Coefficients(1, 1, 1), config, config.epochs))


def setting_of(data: Dataset, device: str) -> Setting:
    """What the trials have in common."""
    return Setting(data.train, data.validation, Augment(flip=data.source.flip), device)


def input_batches(
    px: int, count: int, batch: int, device: torch.device, resident: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches as a search makes them, epoch after epoch, from ``count`` random images."""
    rng = np.random.default_rng(0)
    arrays = ImageArrays(rng.integers(0, 256, (count, px, px, 3), np.uint8), np.zeros(count, np.int64), "", Path())
    images = on_card(arrays, device) if resident else None
    for epoch in itertools.count():
        yield from training_batches(
            images or arrays, batch, seed=0, epoch=epoch, augment=Augment(), statistics=IMAGENET_STATISTICS,
            device=device,
        )  # fmt: skip
