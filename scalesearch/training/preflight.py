"""What is likely to go wrong, said before a training starts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.data.batches import PixelStatistics
from scalesearch.data.dataset import Dataset
from scalesearch.data.overlap import overlap
from scalesearch.data.portrait import mislabelled, told
from scalesearch.study.config import TrainConfig
from scalesearch.training.evaluation import judging
from scalesearch.training.memory import available_memory, predict_memory
from scalesearch.training.sections import trained

FARTHEST = (0.4, 2.2)  # of the resolution that the weights were trained at
SMALL_BATCH = 8  # images; below that batch statistics are noise
LOSS_FACTOR, LOSS_MARGIN = 1.5, 0.5
BATCH_WORTH_A_LOOK = 8
UNSCALED = 20.0  # normalised pixels lie within about ±3
SHOWN = 3
NEARLY_ALL, TOO_MUCH = 0.9, 1.2  # times the free memory; the prediction is within a fifth (reports/LOG.md)


@dataclass(frozen=True)
class Finding:
    """One thing that does not look right; an "error" would waste the training."""

    check: str
    level: Literal["error", "warning"]
    problem: str
    do: str

    def __str__(self) -> str:
        return f"{self.problem} {self.do}"


def check_resolution(resolution: int, trained_at: int | None) -> Iterator[Finding]:
    """Against the resolution that inherited weights were trained at; None from scratch."""
    if trained_at is None:
        return
    low, high = (round(share * trained_at) for share in FARTHEST)
    if not low <= resolution <= high:
        yield Finding(
            "resolution", "warning", f"the images have {resolution} px, but the weights were trained at {trained_at} "
            f"px and serve {low} to {high}.", "Choose one with --resolution, or weights trained nearer to it.",
        )  # fmt: skip


def check_statistics(statistics: PixelStatistics, source: PixelStatistics | None) -> Iterator[Finding]:
    """Images must be normalised as the source's were."""
    if source is not None and statistics != source:
        yield Finding(
            "preprocessing", "error", f"images are normalised by {statistics}, but the weights were trained on images "
            f"normalised by {source}.", "Take the statistics from the weights.",
        )  # fmt: skip


def check_images(images: Tensor) -> Iterator[Finding]:
    """A normalised batch (N, C, H, W) should neither be in 0 to 255 nor be constant."""
    largest, deviation = float(images.abs().max()), float(images.std())
    if largest > UNSCALED or deviation < 1e-3:
        yield Finding(
            "preprocessing", "error", f"pixels of up to {largest:.3g} with a deviation of {deviation:.3g} are not "
            "normalised: those lie between about −3 and 3.", "Look at the images and how they are normalised.",
        )  # fmt: skip


def check_batch_norm(network: nn.Module, config: TrainConfig) -> Iterator[Finding]:
    """Batch norm that runs live (in trained sections) on too few images at a time."""
    micro = config.batch_size // config.accumulate
    parts = trained(network, config, config.epochs - 1)
    live = any(isinstance(module, nn.BatchNorm2d) for part in parts for module in part.modules())
    if live and micro < SMALL_BATCH:
        yield Finding(
            "batch norm", "warning", f"batch norm sees {micro} images at a time, fewer than {SMALL_BATCH}.",
            "Raise --batch-size, lower --accumulate, or train with --strategy head.",
        )  # fmt: skip


def check_trainable(network: nn.Module, config: TrainConfig) -> Iterator[Finding]:
    """Something must learn."""
    parts = trained(network, config, config.epochs - 1)
    if not any(parameter.numel() for part in parts for parameter in part.parameters()):
        yield Finding("trainable", "error", "no parameter is trained.", "Choose another strategy.")


def check_labels(labels: Tensor, classes: int) -> Iterator[Finding]:
    """A batch of one class teaches to answer that class."""
    if classes > 1 and len(labels) >= BATCH_WORTH_A_LOOK and bool((labels == labels[0]).all()):
        yield Finding(
            "labels", "warning", f"all {len(labels)} images of a batch are of one class.",
            "Shuffle the images, or look at the class folders.",
        )  # fmt: skip


@torch.inference_mode()
def check_first_loss(network: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Iterator[Finding]:
    """Before training the loss should be near log(classes): guessing. Modes stay as they are."""
    with judging(network):
        loss = float(functional.cross_entropy(network(images).float(), labels))
    guessing = math.log(max(2, classes))
    if not loss <= LOSS_FACTOR * guessing + LOSS_MARGIN:
        yield Finding(
            "first loss", "warning", f"the first loss is {loss:.2f}, not about log(classes) = {guessing:.2f}: the "
            "weights, the normalisation or the classifier's start do not fit.", "Try a lower --lr.",
        )  # fmt: skip


def check_memory(network: nn.Module, config: TrainConfig, resolution: int) -> Iterator[Finding]:
    """What a training will take, against what there is."""
    device = next(network.parameters()).device
    needed, there = predict_memory(network, config, resolution), available_memory(device)
    if needed > NEARLY_ALL * there:
        refused = needed > TOO_MUCH * there or device.type == "cpu"  # there a process is killed, and says nothing
        yield Finding(
            "memory", "error" if refused else "warning",
            f"a step needs about {needed / 1e9:.1f} GB, and {there / 1e9:.1f} GB are free on {device}.",
            "Lower --batch-size or --resolution, raise --accumulate, give --recompute, or train with --strategy head.",
        )  # fmt: skip


def check_overlap(data: Dataset, resolution: int) -> Iterator[Finding]:
    """Images of validation and test that the network is trained on."""
    train = data.train.comparable(resolution)
    for name, part in (("validation", data.validation), ("test", data.test)):
        copies = overlap(train, part.comparable(resolution))
        if copies:
            wrong = [pair for pair in copies if mislabelled(data, part, pair)]
            first = [*wrong, *(pair for pair in copies if pair not in wrong)][:SHOWN]
            pairs = "; ".join(told(data, part, pair) for pair in first)
            other = f", {len(wrong)} of them under another class" if wrong else ""
            yield Finding(
                "overlap", "warning",
                f"{len(copies)} of {len(part)} {name} images are in train, too{other} ({pairs}).",
                "Remove the copies: accuracy on them says nothing.",
            )  # fmt: skip


def preflight(
    network: nn.Module, data: Dataset, config: TrainConfig, resolution: int, statistics: PixelStatistics,
    batch: tuple[Tensor, Tensor], source: tuple[int, PixelStatistics] | None,
) -> tuple[Finding, ...]:  # fmt: skip
    """Every check on one training.

    Args:
        batch: the first: normalised images and labels (int64), on the network's device.
        source: resolution and normalisation of inherited weights.
    """
    images, labels = batch
    classes = len(data.classes)
    return (
        *check_resolution(resolution, source[0] if source else None),
        *check_statistics(statistics, source[1] if source else None), *check_images(images),
        *check_batch_norm(network, config), *check_trainable(network, config), *check_labels(labels, classes),
        *check_memory(network, config, resolution), *check_first_loss(network, images, labels, classes),
        *check_overlap(data, resolution),
    )  # fmt: skip
