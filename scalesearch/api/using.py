"""A saved model judged on images, and asked about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.spec import NetSpec
from scalesearch.nets.weights import load_network
from scalesearch.notebook import html_table
from scalesearch.training.classifier import EVALUATION_BATCH, evaluate_model, report
from scalesearch.training.device import choose_device
from scalesearch.training.evaluation import (
    Calibration,
    calibration,
    class_accuracy,
    confusion,
    image_files,
    predictions,
)
from scalesearch.training.memory import forward_memory, require_memory
from scalesearch.training.model_file import DATA, class_names, statistics_of


@dataclass(frozen=True, eq=False)
class Judged:
    """A model on one part of a data set.

    Args:
        part: "test", "validation" or "train".
        values: ``top1`` with its 95 % interval ``low``, ``high``; ``top5``, ``loss``, ``correct``, ``images``.
        classes: names by label.
        confusion: images by true class (rows) and by what the model said (columns).
        per_class: share of each class that is right; None where it has no image.
        calibration: stated probabilities against the share that is right.
    """

    part: str
    values: dict[str, Any]
    classes: tuple[str, ...]
    confusion: list[list[int]] = field(repr=False)
    per_class: dict[str, float | None] = field(repr=False)
    calibration: Calibration = field(repr=False)

    @property
    def top1(self) -> float:
        """Share of the images that are right."""
        return float(self.values["top1"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.values, "part": self.part, "per_class": self.per_class,
            "expected_calibration_error": self.calibration.ece,
        }  # fmt: skip

    def rows(self) -> list[list[str]]:
        """Class, images, accuracy, as people read them."""
        return [
            [name, str(sum(counts)), "–" if share is None else f"{share:.1%}"]
            for (name, share), counts in zip(self.per_class.items(), self.confusion, strict=True)
        ]

    def _repr_html_(self) -> str:
        v = self.values
        title = f"{v['top1']:.1%} of {v['images']} {self.part} images, 95 % interval {v['low']:.1%}–{v['high']:.1%}"
        return html_table(title, ("class", "images", "accuracy"), self.rows())


@dataclass(frozen=True)
class Named:
    """What a model says about one image.

    Args:
        label: the likeliest class and its ``probability``; None where the file could not be read (see ``error``).
        probabilities: of the likeliest classes, largest first.
    """

    file: str
    label: str | None
    probability: float | None
    probabilities: dict[str, float]
    error: str = ""


def judge(model: Path, data: str | None, part: str, device: str, skip_broken: bool) -> Judged:
    """Evaluates a model file; ``data`` None: what it was trained on. Raises UserError where classes differ."""
    network, metadata = load_network(model)
    name = metadata.get(DATA, "") if data is None else data
    _require_memory(network.spec, EVALUATION_BATCH, choose_device(device))
    parts = dataset(open_data(name, skip_broken=skip_broken), network.spec.resolution)
    found = evaluate_model(network, metadata, parts, part, choose_device(device))
    counts = confusion(found.labels, found.predictions, len(parts.classes))
    shares = [None if share != share else share for share in class_accuracy(counts).tolist()]
    reliability = calibration(found.labels == found.predictions, found.probabilities)
    per_class = dict(zip(parts.classes, shares, strict=True))
    return Judged(part, report(found), parts.classes, counts.tolist(), per_class, reliability)


def named(
    model: Path, images: Sequence[str], top: int | None, batch_size: int, device: str
) -> tuple[tuple[str, ...], int, Iterator[Named]]:
    """The model's classes, how many files there are, and what it says about each, as they are read.

    Args:
        images: files, and folders of them.
        top: classes to name for each image; None: all.

    Raises:
        UserError: no such model, or no image there.
    """
    network, metadata = load_network(model)
    classes = class_names(metadata) or tuple(map(str, range(network.spec.classes)))
    files = image_files(images)
    _require_memory(network.spec, min(batch_size, len(files)), choose_device(device))
    found = predictions(network, statistics_of(metadata), files, batch_size, choose_device(device))
    return classes, len(files), (_named(one.file, one.probabilities, one.error, classes, top) for one in found)


def _require_memory(spec: NetSpec, images: int, device: torch.device) -> None:
    do = "Lower --batch-size, or free some memory."
    require_memory(forward_memory(spec, images), f"{images} image(s) of {spec.resolution} px", device, do)


def _named(file: str, probabilities: Any, error: str, classes: tuple[str, ...], top: int | None) -> Named:
    if probabilities is None:
        return Named(file, None, None, {}, error)
    order = probabilities.argsort()[::-1][:top].tolist()
    shares = {classes[index]: float(probabilities[index]) for index in order}
    best = next(iter(shares))
    return Named(file, best, shares[best], shares)
