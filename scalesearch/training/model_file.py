"""What a model file says besides its weights: class names, normalisation, data."""

import json
import math
from dataclasses import asdict

from scalesearch.data.batches import IMAGENET_STATISTICS, PixelStatistics
from scalesearch.errors import UserError

DATA = "data_argument"  # what was given as --data
PIXELS = "pixel_statistics"  # key of the file's metadata: how images were normalised


def metadata_of(statistics: PixelStatistics, data_argument: str) -> dict[str, str]:
    """What ``finetune`` adds to a model file."""
    return {PIXELS: json.dumps(asdict(statistics)), DATA: data_argument}


def statistics_of(metadata: dict[str, str]) -> PixelStatistics:
    """The normalisation noted in a model file's metadata; ImageNet's where none is."""
    if PIXELS not in metadata:
        return IMAGENET_STATISTICS
    try:
        values = json.loads(metadata[PIXELS])
        mean, std = ([float(value) for value in values[key][:3]] for key in ("mean", "std"))
        if not all(abs(value) < math.inf for value in (*mean, *std)) or min(std) <= 0:
            raise ValueError("no finite numbers")
        return PixelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise UserError("model file", f"damaged {PIXELS} ({error})", "metadata as finetune writes it") from None


def class_names(metadata: dict[str, str]) -> tuple[str, ...]:
    """Class names noted in a model file's metadata. Raises UserError where they are damaged."""
    try:
        names = json.loads(metadata.get("classes", "[]"))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError("model file", "damaged class names", "metadata as finetune writes it")
    return tuple(names)
