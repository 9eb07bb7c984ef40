"""What a model file says besides its weights, and the model card beside it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from scalesearch.data.batches import IMAGENET_STATISTICS, PixelStatistics
from scalesearch.data.image import Framing
from scalesearch.nets.weights import PIXELS, framing_values, pixel_numbers
from scalesearch.study.config import Interpolation
from scalesearch.units import show_count, show_interval, show_percent

DATA = "data_argument"  # what was given as --data


def metadata_of(statistics: PixelStatistics, data_argument: str) -> dict[str, str]:
    """What ``finetune`` adds to a model file."""
    return {PIXELS: json.dumps(asdict(statistics)), DATA: data_argument}


def statistics_of(metadata: Mapping[str, str]) -> PixelStatistics:
    """The normalisation noted in a model file's metadata; ImageNet's where none is. Raises UserError where damaged."""
    numbers = pixel_numbers(metadata)
    if numbers is None:
        return IMAGENET_STATISTICS
    mean, std = numbers
    return PixelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def framing_of(
    metadata: Mapping[str, str], size_px: int, crop_pct: float | None = None, interpolation: Interpolation | None = None
) -> Framing | None:
    """How images are cut to ``size_px``: as the publisher of the weights does, but for what is given; None: the largest
    square.

    Args:
        crop_pct: share of the short side that is cut from the centre.

    Raises:
        UserError: damaged metadata.
    """
    published = framing_values(metadata)
    if published is None and crop_pct is None and interpolation is None:
        return None
    side, how = published or (size_px, "bicubic")
    side = side if crop_pct is None else math.floor(size_px / crop_pct)
    return Framing(side, interpolation or cast(Interpolation, how))


HOLDS = "`model.safetensors` holds weights, architecture, class names and normalisation."
SETTINGS = ("strategy", "epochs", "batch_size", "optimizer", "lr", "body_lr_ratio", "label_smoothing", "seed")


def model_card(metrics: Mapping[str, Any]) -> str:
    """Markdown, after Mitchell et al. 2019, "Model Cards" (arXiv:1810.03993).

    Args:
        metrics: what ``metrics.json`` holds.
    """
    test, config, classes = metrics["test"], metrics["config"], metrics["classes"]
    named = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    settings = ", ".join(f"{name} {config[name]}" for name in SETTINGS)
    images = metrics["images"]
    lines = [
        f"# {metrics['model']} on {metrics['data']}",
        f"An image classifier for {len(classes)} classes: {named}.",
        "## Accuracy",
        f"{show_percent(test['top1'])} (95 % interval {show_interval(test['low'], test['high'])}) on {test['images']} "
        f"test images of {metrics['data']}, which no choice was made on.",
        "## Network",
        f"{show_count(metrics['macs'])} multiply-adds and {show_count(metrics['params'])} parameters at "
        f"{metrics['resolution']} px. {HOLDS}",
        "## Start",
        _start(metrics),
        "## Training",
        f"{images['train']} training and {images['validation']} validation images (digest {metrics['source_digest']}); "
        f"{settings}.",
        "## Use",
        "Images are cut to their centred square. The network names one of its classes for any image, also for one that "
        "shows none of them, and has only been measured on images of the same source: others, and groups that are rare "
        "in it, may fare worse. It is not made for decisions about people.",
        "## Made by",
        f"`{metrics.get('command', '')}`",
        ", ".join(f"{name} {number}" for name, number in metrics.get("versions", {}).items()),
        f"{metrics.get('hardware', '')} {metrics.get('date', '')}".strip(),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _start(metrics: Mapping[str, Any]) -> str:
    inheritance = metrics.get("inheritance")
    if inheritance is None:
        return "From scratch."
    kept = "its function is kept" if inheritance["preserved"] else "its function is not kept"
    licence = inheritance["licence"] or "Their licence is not known to the tool: see where they came from."
    return (
        f"Weights inherited from {inheritance['source']} (digest {inheritance['digest']}): "
        f"{show_percent(inheritance['coverage'], 0)} of the body's values; {kept}. {licence}"
    )
