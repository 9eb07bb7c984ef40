"""What a trained network says about image files, batch by batch."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scalesearch.data.batches import PixelStatistics, normalised
from scalesearch.data.cache import DRAFT_OVERSIZE
from scalesearch.data.folder import EXTENSIONS
from scalesearch.data.image import read_rgb, square
from scalesearch.data.source import UnreadableImageError
from scalesearch.errors import UserError
from scalesearch.nets.modules import MBConvNet
from scalesearch.training.device import autocast


@dataclass(frozen=True, eq=False)
class Prediction:
    """Of one file: probabilities float32 (classes,), or why it could not be read."""

    file: str
    probabilities: npt.NDArray[np.float32] | None
    error: str = ""


def image_files(inputs: Sequence[str]) -> list[str]:
    """Files as given, and all images below given folders, sorted. Raises UserError where there is none."""
    found: list[str] = []
    for given in inputs:
        path = Path(given).expanduser()
        if path.is_dir():
            inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
            found += sorted(name for name in inside if os.path.splitext(name)[1].lower() in EXTENSIONS)
        elif path.is_file():
            found.append(str(path))
        else:
            found_there = "a pipe or device" if path.exists() else "nothing there"
            raise UserError(given, found_there, "an image or a folder of images")
    if not found:
        raise UserError(", ".join(inputs), "no image", f"files of {' '.join(sorted(e[1:] for e in EXTENSIONS))}")
    return found


def predictions(
    network: MBConvNet, statistics: PixelStatistics, files: Sequence[str], batch_size: int, device: torch.device
) -> Iterator[Prediction]:
    """One for each file, in order. Images are cut, resized and normalised as for training and evaluation."""
    network.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for start in range(0, len(files), batch_size):
        chunk = files[start : start + batch_size]
        read = [_read(file, network.spec.resolution) for file in chunk]
        pixels = [item for item in read if not isinstance(item, str)]
        found = iter(_probabilities(network, statistics, np.stack(pixels), device) if pixels else ())
        for file, item in zip(chunk, read, strict=True):
            yield Prediction(file, None, item) if isinstance(item, str) else Prediction(file, next(found))


def _read(file: str, size_px: int) -> npt.NDArray[np.uint8] | str:
    try:
        return square(read_rgb(file, DRAFT_OVERSIZE * size_px), size_px)
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
    found: npt.NDArray[np.float32] = logits.float().softmax(1).cpu().numpy()
    return found
