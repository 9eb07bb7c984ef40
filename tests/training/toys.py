"""Tiny networks and a tiny problem that can be learnt, shared by the tests of training."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from scalesearch.study.config import TrainConfig
from scalesearch.training import loop
from scalesearch.training.history import History, Watcher
from scalesearch.training.step import Loss

CPU = torch.device("cpu")
CLASSES = 3
STEPS = 4
BATCH = 12


class Residual(nn.Module):
    """A convolution with batch norm, dropped at random."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU())
        self.stochastic_depth = StochasticDepth(0.3, "row")

    def forward(self, input: Tensor) -> Tensor:
        return input + self.stochastic_depth(self.block(input))


class ToyNet(nn.Module):
    """Everything that makes resuming hard: batch norm, stochastic depth, dropout, channels-last convolutions."""

    def __init__(self, seed: int = 0, width: int = 8, classes: int = CLASSES) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(3, width, 3, bias=False), nn.BatchNorm2d(width), nn.SiLU(), Residual(width)
            )
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean((2, 3)))


def toy_batches(epoch: int, *, steps: int = STEPS, classes: int = CLASSES) -> Iterator[tuple[Tensor, Tensor]]:
    """Noise whose brightest colour channel is its class; a function of the epoch alone."""
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(steps):
        labels = torch.randint(classes, (BATCH,), generator=generator)
        images = 0.3 * torch.randn(BATCH, 3, 6, 6, generator=generator)
        images[torch.arange(BATCH), labels] += 1
        yield images.contiguous(memory_format=torch.channels_last), labels


def tensor_hash(network: nn.Module) -> str:
    """sha256 over every tensor of a network, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fit(
    network: nn.Module,
    batches: loop.Batches,
    steps: int,
    config: TrainConfig,
    *,
    loss: Loss,
    device: torch.device,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    checkpoint: Path | None = None,
    until: int | None = None,
    **told: object,
) -> History:
    """``loop.fit`` of a task made of these; ``on_step``, ``on_epoch`` and ``on_note`` are told."""
    watcher = Watcher(**{name.removeprefix("on_"): one for name, one in told.items()})  # type: ignore[arg-type]
    task = loop.Task(batches, steps, loss, evaluate)
    return loop.fit(network, task, config, device, watcher=watcher, checkpoint=checkpoint, until=until)
