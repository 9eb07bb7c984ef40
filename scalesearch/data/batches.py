"""Batches for the training loop: shuffled, augmented and normalised in whole-batch tensor operations."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scalesearch.data.arrays import ImageArrays, Images
from scalesearch.data.source import IntArray
from scalesearch.errors import UserError

Batch = tuple[Tensor, Tensor]
Share = tuple[int, int]
WHOLE: Share = (0, 1)
_SHORTEST_TRAINING_BATCH = 0.5  # of the batch size; below that a last batch's statistics are too noisy to learn from
_STATISTICS_IMAGES = 2048
_CARD_SHARE = 1 / 32  # of a GPU's free memory may hold a training's images: a quarter for eight that share the card


class Epochs(Protocol):
    """The batches of an epoch, less those that are done."""

    def __call__(self, epoch: int, done: int = 0, /) -> Iterator[Batch]:
        """From the batch after ``done`` on."""


@dataclass(frozen=True)
class Augment:
    """Random resized crop, flip and what torchvision's v2 transforms add.

    Args:
        scale: range of the crop's share of the area.
        ratio: range of its width to its height.
        randaugment: magnitude of RandAugment's two operations an image, 0 to 30; 0 for none.
        erasing: probability that a rectangle of an image is erased.
        mixup, cutmix: parameter of the Beta distribution that a pair's shares are drawn from; 0 for none, and one of
            the two at random where both are given. Labels become probabilities (N, classes).
    """

    flip: bool = True
    scale: tuple[float, float] = (0.7, 1.0)
    ratio: tuple[float, float] = (0.8, 1.25)
    randaugment: int = 0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of red, green and blue, of pixels between 0 and 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET_STATISTICS = PixelStatistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def pixel_statistics(arrays: Images) -> PixelStatistics:
    """Of up to 2048 images spread evenly over the arrays; a constant channel gets a deviation of 1."""
    rows = np.unique(np.linspace(0, len(arrays) - 1, _STATISTICS_IMAGES).astype(int))
    pixels = next(arrays.batches([rows])).reshape(-1, 3).astype(np.float32) / 255
    red, green, blue = pixels.mean(axis=0, dtype=np.float64).tolist()
    deviations = [float(value) or 1.0 for value in pixels.std(axis=0, dtype=np.float64)]
    return PixelStatistics((red, green, blue), (deviations[0], deviations[1], deviations[2]))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Training batches in an epoch: a last batch below half the batch size is left out, unless it is the only one."""
    full, rest = divmod(images, batch_size)
    return full + 1 if full == 0 or rest >= max(2, batch_size * _SHORTEST_TRAINING_BATCH) else full


def training_epochs(
    arrays: Images,
    batch_size: int,
    *,
    seed: int,
    augment: Augment,
    statistics: PixelStatistics,
    device: torch.device,
    classes: int = 0,
    share: Share = WHOLE,
) -> tuple[Epochs, int]:
    """``training_batches`` as a function of the epoch and of how many of its batches are done, and how many each epoch
    has: what a loop asks for.

    ``classes`` is only needed for MixUp and CutMix. A GPU is given all images once, where they fit and the host does
    not change them first.
    """
    source = arrays if augment.randaugment else on_card(arrays, device) or arrays

    def epoch_of(epoch: int, done: int = 0) -> Iterator[Batch]:
        batches = training_batches(
            source, batch_size, seed=seed, epoch=epoch, augment=augment, statistics=statistics, device=device,
            share=share, done=done,
        )  # fmt: skip
        plain = not (augment.mixup or augment.cutmix)
        return batches if plain else mixed(batches, augment, classes, seed, epoch, share, done)

    return epoch_of, steps_per_epoch(len(arrays), batch_size)


def on_card(arrays: Images, device: torch.device) -> Batch | None:
    """Images (uint8 [N, 3, S, S], channels_last) and labels in a GPU's memory, where they take at most 1/32 of what is
    free; None on a CPU, and of images that are streamed."""
    if device.type != "cuda" or not isinstance(arrays, ImageArrays):
        return None
    if arrays.images.nbytes > _CARD_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    images = torch.from_numpy(np.array(arrays.images)).to(device).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.array(arrays.labels)).to(device)


def training_batches(
    arrays: Images | Batch,
    batches: int | Sequence[IntArray],
    *,
    seed: int,
    epoch: int,
    augment: Augment,
    statistics: PixelStatistics,
    device: torch.device,
    share: Share = WHOLE,
    done: int = 0,
) -> Iterator[Batch]:
    """One epoch of (images float32 [B, 3, S, S] channels_last, labels int64 [B]), ``steps_per_epoch`` of them.

    Order and augmentation follow from ``seed`` and ``epoch`` alone; an image's crop does not depend on the batch size.

    Args:
        arrays: the images; or, as ``on_card`` gave them, on the device (then not with RandAugment).
        batches: images of a batch; or, where a sampler chose them, the images of each: one that comes twice is cropped
            anew.
        share: (k, n) gives the k-th of n equal parts of each batch, for n processes that train together; images that
            cannot be shared out evenly are left out.
        done: so many batches are passed over: the others are the same, and no time goes into these.
    """
    from torchvision.transforms import v2

    part, count = share[0], len(arrays[1] if isinstance(arrays, tuple) else arrays)
    if count < 2:
        raise UserError("training images", f"{count} is too few: batch norm needs at least 2.")
    generator = torch.Generator().manual_seed(_stream(seed, epoch))
    drawn = itertools.islice(_drawn(count, batches, augment, generator), done, None)
    shared = ((_share_of(rows, share), _share_of(crops, share)) for rows, crops in drawn)
    for step, (whole, classes, crops) in enumerate(_had(arrays, shared, device), start=done):
        images, labels = whole, _moved(classes, device)
        if augment.randaugment:
            with random_state(seed, epoch, step, part):
                images = each(v2.RandAugment(magnitude=augment.randaugment), images)
        images = _moved(images, device)
        if device.type == "cpu":
            images = normalised(_cropped_one_by_one(images, crops), statistics)
        else:
            images = _cropped_at_once(normalised(images, statistics), _moved(crops, device))
        if augment.erasing:
            with random_state(seed, epoch, step, part):
                images = each(v2.RandomErasing(p=augment.erasing), images)
        yield images, labels


def _rows_of(arrays: Images, batches: Iterable[IntArray]) -> Iterator[Batch]:
    """Images uint8 [B, 3, S, S], channels_last, and labels of each batch of rows."""
    asked, known = itertools.tee(batches)  # what streams works ahead
    for pixels, rows in zip(arrays.batches(asked), known, strict=True):
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(arrays.labels[rows])


def _had(
    arrays: Images | Batch, drawn: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images, labels and crops of each batch of rows and crops; on the device where ``arrays`` are."""
    if isinstance(arrays, tuple):
        for rows, crops in drawn:
            there = _moved(rows, device)
            yield arrays[0][there], arrays[1][there], crops
        return
    asked, known = itertools.tee(drawn)
    for (images, labels), (_, crops) in zip(_rows_of(arrays, (rows.numpy() for rows, _ in asked)), known, strict=True):
        yield images, labels, crops


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. A host goes on at once, since a GPU reads page-locked memory by itself."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def _drawn(
    images: int, batches: int | Sequence[IntArray], augment: Augment, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions (B,) and crops (B, 4) of each batch."""
    if not isinstance(batches, int):
        for given in batches:
            yield torch.from_numpy(given), _crops(augment, torch.rand(len(given), 5, generator=generator))
        return
    shuffled = torch.randperm(images, generator=generator)
    crops = _crops(augment, torch.rand(images, 5, generator=generator))
    for step in range(steps_per_epoch(images, batches)):
        rows = shuffled[step * batches : (step + 1) * batches]
        yield rows, crops[rows]


def _share_of(values: Tensor, share: Share) -> Tensor:
    """The part (B // n, …) of a batch's values (B, …) that a process is given."""
    part, parts = share
    return values[: len(values) // parts * parts].chunk(parts)[part]


def mixed(
    batches: Iterator[Batch], augment: Augment, classes: int, seed: int, epoch: int, share: Share = WHOLE,
    done: int = 0,
) -> Iterator[Batch]:  # fmt: skip
    """MixUp or CutMix of each batch with its own images; labels float32 (N, classes); ``done`` batches came before."""
    from torchvision.transforms import v2

    ways: list[v2.Transform] = []
    if augment.mixup:
        ways.append(v2.MixUp(alpha=augment.mixup, num_classes=classes))
    if augment.cutmix:
        ways.append(v2.CutMix(alpha=augment.cutmix, num_classes=classes))
    for step, (images, labels) in enumerate(batches, done):
        with random_state(seed, epoch, step, share[0]):
            images, labels = v2.RandomChoice(ways)(images, labels)  # noqa: PLW2901
        yield images, labels


@contextmanager
def random_state(seed: int, epoch: int, step: int, part: int = 0) -> Iterator[None]:
    """torch's random state seeded by these; afterwards as before."""
    numbers = (seed, epoch, step, part) if part else (seed, epoch, step)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_stream(*numbers))
        yield


def each(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """A transform drawn anew for each image of (N, C, H, W); channels_last."""
    return torch.stack([transform(image) for image in images]).contiguous(memory_format=torch.channels_last)


def evaluation_batches(
    arrays: Images, batch_size: int, *, statistics: PixelStatistics, device: torch.device
) -> Iterator[Batch]:
    """Every image once, in order, whole, with the short last batch; shapes as ``training_batches``."""
    starts = range(0, len(arrays), batch_size)
    for images, labels in _rows_of(arrays, (np.arange(s, min(s + batch_size, len(arrays))) for s in starts)):
        yield normalised(_moved(images, device), statistics), _moved(labels, device)


def _stream(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def normalised(images: Tensor, statistics: PixelStatistics) -> Tensor:
    """Bytes to floats, on the device they are on; stored [B, S, S, 3], seen as [B, 3, S, S], is channels_last.

    One pass over memory: three (convert, scale, shift) would take as long as the crops.
    """
    pairs = zip(statistics.mean, statistics.std, strict=True)
    values = [[1 / (255 * std) for std in statistics.std], [-mean / std for mean, std in pairs]]
    scale, offset = _moved(torch.tensor(values), images.device).view(2, 1, 3, 1, 1)
    return torch.addcmul(offset, images, scale)


def _crops(augment: Augment, uniform: Tensor) -> Tensor:
    """[N, 4]: half width (negative: mirrored), half height, centre x, centre y of each crop in the square [-1, 1]²,
    from five uniform numbers an image."""
    area = augment.scale[0] + (augment.scale[1] - augment.scale[0]) * uniform[:, 0]
    low, high = (math.log(value) / 2 for value in augment.ratio)
    root_ratio = torch.exp(low + (high - low) * uniform[:, 1])
    half_width = (area.sqrt() * root_ratio).clamp_(max=1.0)
    half_height = (area.sqrt() / root_ratio).clamp_(max=1.0)
    centre_x = (2 * uniform[:, 2] - 1) * (1 - half_width)
    centre_y = (2 * uniform[:, 3] - 1) * (1 - half_height)
    if augment.flip:
        half_width = torch.where(uniform[:, 4] < 0.5, -half_width, half_width)
    return torch.stack((half_width, half_height, centre_x, centre_y), dim=1)


def _cropped_one_by_one(images: Tensor, crops: Tensor) -> Tensor:
    """Each image's crop, to the nearest pixel, resampled to the image's size: uint8 [B, 3, S, S], channels_last.

    torch resamples bytes on a CPU with vector instructions, four times as fast as it samples a grid of floats.
    """
    size = images.shape[-1]
    half_width, half_height, centre_x, centre_y = crops.unbind(dim=1)
    widths, heights = ((half.abs() * size).round().clamp(1, size) for half in (half_width, half_height))
    lefts = ((centre_x + 1) / 2 * size - widths / 2).round().clamp(min=0).minimum(size - widths)
    tops = ((centre_y + 1) / 2 * size - heights / 2).round().clamp(min=0).minimum(size - heights)
    result = torch.empty_like(images)
    boxes = torch.stack((lefts, tops, widths, heights), dim=1).int().tolist()
    for place, (left, top, width, height) in enumerate(boxes):
        part = images[place : place + 1, :, top : top + height, left : left + width]
        result[place] = functional.interpolate(part, (size, size), mode="bilinear", antialias=True)[0]
    for place in torch.nonzero(half_width < 0).flatten().tolist():
        result[place] = result[place].flip(-1)
    return result


def _cropped_at_once(images: Tensor, crops: Tensor) -> Tensor:
    """The same on a GPU, in one operation and to a fraction of a pixel. The grid is built axis by axis: crops are not
    rotated, and torch's affine_grid would take as long as the sampling."""
    count, _, height, width = images.shape
    half_width, half_height, centre_x, centre_y = crops.unbind(dim=1)
    x = torch.outer(half_width, _pixel_centres(width, images.device)) + centre_x[:, None]
    y = torch.outer(half_height, _pixel_centres(height, images.device)) + centre_y[:, None]
    grid = torch.empty(count, height, width, 2, device=images.device)
    grid[..., 0] = x[:, None, :]
    grid[..., 1] = y[:, :, None]
    cropped = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return cropped.contiguous(memory_format=torch.channels_last)


def _pixel_centres(count: int, device: torch.device) -> Tensor:
    return (torch.arange(count, device=device, dtype=torch.float32) * 2 + 1) / count - 1
