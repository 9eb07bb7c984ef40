"""A saved model evaluated on images, and asked what is on others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.api.options import (
    EvaluateOptions,
    ExportOptions,
    PredictOptions,
    SavedModel,
    images_of,
    room,
    stated,
    table_file,
    takes,
)
from scalesearch.data.arrays import Images
from scalesearch.data.dataset import dataset, open_data, whole
from scalesearch.data.image import Framing
from scalesearch.data.keeping import keep, make_room
from scalesearch.data.listing import warn
from scalesearch.data.source import IntArray, Source
from scalesearch.design.spec import NetSpec
from scalesearch.files import distinct, together, write_bytes, write_csv, write_json
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import trained_network
from scalesearch.nets.weights import class_names
from scalesearch.study.calibration import Calibration, calibration
from scalesearch.table import table, table_html
from scalesearch.training.classifier import EVALUATION_BATCH, evaluate_model, report, require_classes
from scalesearch.training.device import choose_device
from scalesearch.training.evaluation import (
    Evaluation,
    class_accuracy,
    confusion,
    image_files,
    predictions,
)
from scalesearch.training.memory import forward_memory, require_memory
from scalesearch.training.model_file import DATA, framing_of, statistics_of
from scalesearch.units import show_interval, show_percent

ALL_CLASSES = 50  # up to so many a CSV has a column for each


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """A model on one part of a data set.

    Args:
        part: "test", "validation" or "train".
        values: ``top1`` with its 95 % interval ``low``, ``high``; ``top5``, ``loss``, ``correct``, ``images``.
        classes: names by label.
        confusion: images by true class (rows) and by what the model said (columns).
        per_class: share of each class that is right; None where it has no image.
        calibration: stated probabilities against the share that is right.
        mistakes: images that are taken for another class, those first that the model is surest of.
    """

    part: str
    values: dict[str, Any]
    classes: tuple[str, ...]
    confusion: list[list[int]] = field(repr=False)
    per_class: dict[str, float | None] = field(repr=False)
    calibration: Calibration = field(repr=False)
    mistakes: tuple["Mistake", ...] = field(repr=False)

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
            [name, str(sum(counts)), "–" if share is None else show_percent(share)]
            for (name, share), counts in zip(self.per_class.items(), self.confusion, strict=True)
        ]

    def _repr_html_(self) -> str:
        v = self.values
        interval = f"95 % interval {show_interval(v['low'], v['high'])}"
        title = f"{show_percent(v['top1'])} of {v['images']} images ({self.part}), {interval}"
        return table_html(table(title, ("class", "images", "accuracy"), self.rows()))


@takes(EvaluateOptions)
def evaluate(asked: EvaluateOptions) -> EvaluationResult:
    """Evaluates a saved model: top-1 with its interval, per class, confusion, calibration; writes what ``out`` asks.

    Raises:
        UserError: no such model, or data of other classes.
    """
    network, metadata, assumed = trained(asked)
    name, device = images_of(asked, metadata.get(DATA)), choose_device(asked.device)
    _require_memory(network.spec, EVALUATION_BATCH, device)
    source = open_data(name, skip_broken=asked.skip_broken, follow_links=asked.follow_links)
    taken = require_classes(metadata, source, network.spec.classes)
    warn((*source.notes, *(text for text in (assumed, taken) if text)))
    size_px = network.spec.resolution
    framing = framing_of(metadata, size_px, asked.crop_pct, asked.interpolation)
    images, places = _images(source, asked, size_px, framing)
    evaluation = evaluate_model(network, metadata, images, device)
    counts = confusion(evaluation.labels, evaluation.predictions, len(source.classes))
    shares = [None if share != share else share for share in class_accuracy(counts).tolist()]
    reliability = calibration(evaluation.labels == evaluation.predictions, evaluation.probabilities)
    per_class = dict(zip(source.classes, shares, strict=True))
    result = EvaluationResult(
        asked.part, report(evaluation), source.classes, counts.tolist(), per_class, reliability,
        tuple(_mistakes(source, places, evaluation)),
    )  # fmt: skip
    if asked.out is not None:
        _write_evaluation(Path(asked.out), result)
    return result


def trained(asked: EvaluateOptions | PredictOptions | ExportOptions) -> tuple[MBConvNet, dict[str, str], str]:
    """The network that is asked for, what its file or publisher says of it, and what was assumed of it.

    Raises UserError for no such model.
    """
    return trained_network(str(file_of(asked.model)), stated(asked))


def _images(
    source: Source, asked: EvaluateOptions, size_px: int, framing: Framing | None
) -> tuple[Images, IntArray]:  # fmt: skip
    """Those of the part, cut as the model's publisher does, and their places in the source."""
    if asked.part == "all":
        part = whole(source, size_px)
        return part.made(size_px) if framing is None else part.framed(size_px, framing), part.indices
    parts = dataset(source, size_px)
    if framing is None:
        parts, keeping = keep(parts, (asked.part,), {size_px}, room(asked.cache_size))
        make_room(keeping)
    part = parts.parts[asked.part]
    return part.at(size_px) if framing is None else part.framed(size_px, framing), part.indices


@dataclass(frozen=True)
class Mistake:
    """An image, its class, and the other one that a model takes it for, with the probability that it gives it."""

    file: str
    true: str
    predicted: str
    probability: float


def _mistakes(source: Source, places: IntArray, evaluation: Evaluation) -> Iterator[Mistake]:
    wrong = np.flatnonzero(evaluation.labels != evaluation.predictions)
    for row in wrong[np.argsort(-evaluation.probabilities[wrong], kind="stable")].tolist():
        true, predicted = (source.classes[values[row]] for values in (evaluation.labels, evaluation.predictions))
        yield Mistake(source.describe(places[row]), true, predicted, float(evaluation.probabilities[row]))


def _write_evaluation(out: Path, result: EvaluationResult) -> None:
    from scalesearch.reports.figures.confusion import calibration_figure, confusion_figure
    from scalesearch.reports.figures.formats import rendered

    classes, counts, reliability = result.classes, result.confusion, result.calibration.to_dict()
    rows = [[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)]
    with together(out, last="evaluation.json") as folder:
        write_json(folder / "evaluation.json", {**result.to_dict(), "calibration": reliability})
        write_csv(folder / "confusion.csv", [distinct(["true"], classes), *rows])
        told = [[one.file, one.true, one.predicted, f"{one.probability:.4f}"] for one in result.mistakes]
        write_csv(folder / "mistakes.csv", [["file", "true", "predicted", "probability"], *told])
        write_bytes(folder / "confusion.png", rendered(confusion_figure(counts, classes), "png"))
        write_bytes(folder / "calibration.png", rendered(calibration_figure(result.calibration), "png"))


@dataclass(frozen=True)
class Prediction:
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "file": self.file, "class": self.label, "probability": self.probability, "error": self.error,
            "probabilities": self.probabilities,
        }  # fmt: skip


@takes(PredictOptions)
def predict(asked: PredictOptions) -> list[Prediction]:
    """What is on images, with probabilities; unreadable files carry an ``error``. Writes what ``out`` asks for.

    ``reading`` is told how many are done, and of how many.

    Raises:
        UserError: no such model, or no image there.
    """
    out = table_file(asked.out)
    network, metadata, assumed = trained(asked)
    warn((assumed,) if assumed else ())
    classes = class_names(metadata) or tuple(map(str, range(network.spec.classes)))
    top = None if out is not None and out.suffix == ".csv" and len(classes) <= ALL_CLASSES else asked.top
    given = [asked.images] if isinstance(asked.images, str | Path) else asked.images
    files, device = image_files([str(one) for one in given], asked.follow_links), choose_device(asked.device)
    _require_memory(network.spec, min(asked.batch_size, len(files)), device)
    named = []
    statistics = statistics_of(metadata)
    framing = framing_of(metadata, network.spec.resolution, asked.crop_pct, asked.interpolation)
    for file, probabilities, error in predictions(network, statistics, files, asked.batch_size, device, framing):
        named.append(_prediction(file, probabilities, error, classes, top))
        if asked.reading:
            asked.reading(len(named), len(files))
    if out is not None and not all(one.error for one in named):
        _write_predictions(out, named, classes)
    return named


def _prediction(file: str, probabilities: Any, error: str, classes: tuple[str, ...], top: int | None) -> Prediction:
    if probabilities is None:
        return Prediction(file, None, None, {}, error)
    order = probabilities.argsort()[::-1][:top].tolist()
    shares = {classes[index]: float(probabilities[index]) for index in order}
    best = next(iter(shares))
    return Prediction(file, best, shares[best], shares)


def _write_predictions(out: Path, named: Sequence[Prediction], classes: tuple[str, ...]) -> None:
    if out.suffix == ".json":
        write_json(out, [one.to_dict() for one in named])
        return
    columns = [name for name in classes if any(name in one.probabilities for one in named)]
    header = distinct(["file", "class", "probability", "error"], columns)
    write_csv(out, [header, *(
        [one.file, one.label or "", one.probability or "", one.error,
         *(one.probabilities.get(name, "") for name in columns)]
        for one in named
    )])  # fmt: skip


def file_of(model: SavedModel | Path | str) -> Path:
    """The file of a model, which Python may give as what ``finetune`` returned."""
    return Path(model) if isinstance(model, str | Path) else model.file


def _require_memory(spec: NetSpec, images: int, device: torch.device) -> None:
    do = "Lower --batch-size, or free some memory."
    require_memory(forward_memory(spec, images), f"{images} image(s) of {spec.resolution} px", device, do)
