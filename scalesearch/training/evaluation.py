"""What a network says about images, labelled or not, and how good that is."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.data.batches import PixelStatistics, normalised
from scalesearch.data.cache import least_px
from scalesearch.data.formats import shown_endings
from scalesearch.data.image import Framing, framed, read_rgb
from scalesearch.data.listing import listed, notes, require_readable, root_of, warn
from scalesearch.data.source import UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.nets.modules import MBConvNet
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
        soft: float32 (n,), 1 − Brier score / 2 of the whole softmax: 1 for a right answer given with certainty, 0 for a
            wrong one (Brier 1950, Monthly Weather Review 78(1)). It varies less between images than right and wrong do.
    """

    top1: float
    top5: float
    loss: float
    labels: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    soft: npt.NDArray[np.float32]


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """While it lasts, a network is in evaluation mode; every module's own mode is put back afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


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
    with judging(network):
        parts = [judge(network, images.to(device), labels.to(device), precision) for images, labels in batches]
    if not parts:
        raise UserError("evaluation", "there is no image to evaluate on.")
    # one transfer at the end: the GPU never waits for the host between batches
    columns = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    labels, predictions, hits, losses, probabilities, soft = columns
    return Evaluation(
        top1=float((labels == predictions).double().mean()), top5=float(hits.double().mean()),
        loss=float(losses.double().mean()), labels=labels.numpy(), predictions=predictions.numpy(),
        probabilities=probabilities.numpy(), soft=soft.numpy(),
    )  # fmt: skip


def judge(network: nn.Module, images: Tensor, labels: Tensor, precision: Precision) -> tuple[Tensor, ...]:
    """Labels, first guesses, top-5 hits, losses, probabilities and soft scores of one batch, each (N,)."""
    with autocast(images.device, precision):
        logits = network(images)
    logits = logits.float()
    guesses = logits.topk(min(TOP, logits.shape[1])).indices
    hits = (guesses == labels.unsqueeze(1)).any(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    shares = logits.softmax(1)
    right = shares.gather(1, labels.unsqueeze(1)).squeeze(1)
    soft = 1 - (shares.square().sum(1) - 2 * right + 1) / 2
    return labels, guesses[:, 0], hits, losses, shares.amax(1), soft


Labels = npt.NDArray[np.int64]


def confusion(labels: Labels, predictions: Labels, classes: int) -> Labels:
    """Counts (classes, classes): row the true class, column the predicted one. Raises ValueError on foreign classes."""
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be of one length")
    for values in (labels, predictions):
        if values.size and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"classes from {values.min()} to {values.max()} are not all from 0 to {classes - 1}")
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_accuracy(counts: Labels) -> npt.NDArray[np.float64]:
    """Share of each true class predicted right, from ``confusion``; NaN for a class without images."""
    totals = counts.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    np.divide(counts.diagonal(), totals, out=shares, where=totals > 0)
    return shares


def image_files(inputs: Sequence[str], follow_links: str | Path | None = None) -> list[str]:
    """Files as given, and all images below given folders, sorted; a warning tells what else is there.

    Raises UserError where there is none.
    """
    files: list[str] = []
    said: list[str] = []
    for given in inputs:
        path = Path(os.path.expanduser(given))
        if path.is_dir():
            found = listed(root_of(path, follow_links))
            require_readable(str(path), found)
            files += sorted(os.path.join(path, one.path) for one in found.images())
            said += notes(found.everything_left_out(), str(path))
        elif path.is_file():
            files.append(str(path))
        else:
            there = "this is a pipe or device" if path.exists() else "there is nothing of that name"
            raise UserError(given, f"{there}; give an image or a folder of images.")
    if not files:
        rest = f" ({'; '.join(said)})" if said else ""
        problem = f"there is no image: no file that ends in one of {shown_endings()}{rest}."
        raise UserError(", ".join(inputs), problem)
    warn(said)
    return files


def predictions(
    network: MBConvNet,
    statistics: PixelStatistics,
    files: Sequence[str],
    batch_size: int,
    device: torch.device,
    framing: Framing | None = None,
) -> Iterator[tuple[str, npt.NDArray[np.float32] | None, str]]:
    """Of each file in order: its name, probabilities float32 (classes,) or None, and why it could not be read.

    Images are cut and resized as for training and evaluation, or as ``framing`` says."""
    network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for start in range(0, len(files), batch_size):
        chunk = files[start : start + batch_size]
        read = [_read(file, network.spec.resolution, framing) for file in chunk]
        pixels = [item for item in read if not isinstance(item, str)]
        shares = iter(_probabilities(network, statistics, np.stack(pixels), device) if pixels else ())
        for file, item in zip(chunk, read, strict=True):
            known, error = (None, item) if isinstance(item, str) else (next(shares), "")
            yield file, known, error


def _read(file: str, size_px: int, framing: Framing | None) -> npt.NDArray[np.uint8] | str:
    try:
        return framed(read_rgb(file, least_px(size_px, framing)), size_px, framing)
    except UnreadableImageError as error:
        return error.reason


@torch.inference_mode()
def _probabilities(
    network: MBConvNet, statistics: PixelStatistics, pixels: npt.NDArray[np.uint8], device: torch.device
) -> npt.NDArray[np.float32]:
    """uint8 (N, S, S, 3) → float32 (N, classes)."""
    images: Tensor = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    with autocast(device, "auto"):
        logits = network(normalised(images, statistics))
    shares: npt.NDArray[np.float32] = logits.float().softmax(1).cpu().numpy()
    require_finite(shares)
    return shares


def require_finite(probabilities: npt.NDArray[np.float32]) -> None:
    """Raises UserError where a network's outputs are no numbers."""
    if bad := int((~np.isfinite(probabilities)).any(axis=tuple(range(1, probabilities.ndim))).sum()):
        problem = f"its outputs for {bad} of {len(probabilities)} images are not finite."
        raise UserError("model", problem, do="Its weights are damaged, or training diverged: train again.")
