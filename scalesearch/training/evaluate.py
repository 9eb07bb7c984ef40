"""A network judged on labelled images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.errors import UserError
from scalesearch.study.config import Precision
from scalesearch.training.device import autocast

TOP = 5


@dataclass(frozen=True)
class Evaluation:
    """What a network said about ``n`` images, in the order of the batches.

    Args:
        top1: share of images whose label is the first guess.
        top5: share whose label is among the first five guesses (all classes, where there are fewer).
        loss: mean cross-entropy, without label smoothing.
        labels: int64 (n,).
        predictions: int64 (n,), the first guesses.
        probabilities: float32 (n,), softmax of the first guess.
    """

    top1: float
    top5: float
    loss: float
    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


@torch.inference_mode()
def evaluate(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, precision: Precision = "auto"
) -> Evaluation:
    """Judge a network in eval mode; every module's own mode is put back afterwards.

    Args:
        network: images (N, C, H, W) → logits (N, classes).
        batches: (images, labels int64 (N,)), moved to the network's device.

    Raises UserError when there is no image.
    """
    device = next(network.parameters()).device
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        parts = [judge(network, images.to(device), labels.to(device), precision) for images, labels in batches]
    finally:
        for module, mode in modes:
            module.training = mode
    if not parts:
        raise UserError("evaluation", "no image", "at least one")
    # one transfer at the end: the GPU never waits for the host between batches
    labels, predictions, hits, losses, probabilities = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Evaluation(
        top1=float((labels == predictions).double().mean()),
        top5=float(hits.double().mean()),
        loss=float(losses.double().mean()),
        labels=labels.numpy(),
        predictions=predictions.numpy(),
        probabilities=probabilities.numpy(),
    )


def judge(network: nn.Module, images: Tensor, labels: Tensor, precision: Precision) -> tuple[Tensor, ...]:
    """Labels, first guesses, top-5 hits, losses and probabilities of one batch, each (N,)."""
    with autocast(images.device, precision):
        logits = network(images)
    logits = logits.float()
    guesses = logits.topk(min(TOP, logits.shape[1])).indices
    hits = (guesses == labels.unsqueeze(1)).any(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    return labels, guesses[:, 0], hits, losses, logits.softmax(1).amax(1)
