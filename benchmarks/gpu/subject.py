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
from scalesearch.design.scaling import Coefficients
from scalesearch.design.sizing import size_baseline
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.nets.modules import build
from scalesearch.running.executor import mapped
from scalesearch.running.processes import Processes
from scalesearch.running.provenance import hardware, versions
from scalesearch.running.trial import Assignment, Outcome, Setting, run_trial
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Trial
from scalesearch.training.loss import classification_loss
from scalesearch.training.memory import predict_memory
from scalesearch.training.recompute import recomputing
from scalesearch.training.step import Training, gradients, start, update

__all__ = [
    "Assignment", "Dataset", "NetSpec", "Outcome", "Processes", "Setting", "TrainConfig", "build", "cost", "dataset",
    "hardware", "load_space", "mapped", "open_data", "predict_memory", "recomputing", "run_trial", "size_baseline",
    "start", "versions",
]  # fmt: skip

Step = Callable[[Tensor, Tensor], object]


def spec_of(space: str, px: int) -> NetSpec:
    """A shipped baseline at another resolution."""
    return replace(load_space(space).baseline, resolution=px)


def our_step(network: nn.Module, config: TrainConfig, device: torch.device, called: nn.Module | None = None) -> Step:
    """A step of the package's loop; ``called``: what stands for the network in the forward pass, e.g. compiled."""
    training, loss = start(network, config, device), classification_loss(config)
    training.network.train()
    count = itertools.count()

    def step(images: Tensor, labels: Tensor) -> None:
        gradients(training, images, labels, loss, called)
        update(training, next(count))

    return step


def graphed_step(network: nn.Module, config: TrainConfig, images: Tensor, labels: Tensor) -> Step:
    """The same with forward and backward pass recorded once as a CUDA graph, so that the host hardly takes part."""
    training, loss = start(network, config, images.device), classification_loss(config)
    training.network.train()
    graph, (kept, known) = torch.cuda.CUDAGraph(), (images.clone(), labels.clone())
    record(graph, training, lambda: gradients(training, kept, known, loss))
    count = itertools.count()

    def step(images: Tensor, labels: Tensor) -> None:
        kept.copy_(images)
        known.copy_(labels)
        graph.replay()
        update(training, next(count))

    return step


def record(graph: torch.cuda.CUDAGraph, training: Training, run: Callable[[], object]) -> None:
    """As torch's documentation asks for it: warmed up on a stream of its own."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    training.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        run()


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
            arrays, batch, seed=0, epoch=epoch, augment=Augment(), statistics=IMAGENET_STATISTICS, device=device,
            resident=images,
        )  # fmt: skip
