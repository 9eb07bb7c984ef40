"""Training one network on one data set to the end: from scratch or from given weights, whole or its head alone."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import (
    IMAGENET_STATISTICS,
    Augment,
    PixelStatistics,
    evaluation_batches,
    pixel_statistics,
    training_epochs,
)
from scalesearch.data.dataset import Dataset
from scalesearch.design.cost import cost
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.weights import load_state_into, read_safetensors, read_state, save_network
from scalesearch.training.config import TrainConfig
from scalesearch.training.evaluate import Evaluation, evaluate
from scalesearch.training.history import EpochRecord
from scalesearch.training.loop import fit
from scalesearch.training.loss import classification_loss
from scalesearch.training.metrics import wilson_interval

MODEL_FILE, CHECKPOINT_FILE = "model.safetensors", "checkpoint.safetensors"
METRICS_FILE, TRAINING_FILE = "metrics.json", "training.json"
EVALUATION_BATCH = 128
DATA = "data_argument"  # what was given as --data
PIXELS = "pixel_statistics"  # key of the file's metadata: how images were normalised


@dataclass(frozen=True)
class Watcher:
    """Who is told: ``step(epoch, step)`` after each, ``epoch(record)`` with validation accuracy after each."""

    step: Callable[[int, int], None]
    epoch: Callable[[EpochRecord], None]


def finetune(
    spec: NetSpec,
    data: Dataset,
    config: TrainConfig,
    folder: Path,
    weights: Path | None,
    device: torch.device,
    watcher: Watcher,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Trains on the train part, watches validation, judges once on test; run again, it continues.

    Writes ``model.safetensors`` (spec, class names and normalisation inside), ``metrics.json`` and a checkpoint.

    Args:
        spec: the network; its classifier is made for the data's classes.
        weights: a state dict of the same architecture to start from; None starts from scratch.
        provenance: command, versions and the like, kept in ``metrics.json``.

    Returns:
        what ``metrics.json`` holds.

    Raises:
        UserError: weights that do not fit, or a folder that holds another training.
    """
    spec = replace(spec, classes=len(data.classes))
    network = build(spec, seed=config.seed)
    claim_folder(folder, data, weights)
    arrays, validation = data.train.at(spec.resolution), data.validation.at(spec.resolution)
    statistics = start_from(network, weights) if weights else pixel_statistics(arrays)

    def judge(model: nn.Module) -> dict[str, float]:
        found = evaluate(model, _whole(validation, statistics, device), precision=config.precision)
        return {"top1": found.top1, "loss": found.loss}

    augment = Augment(flip=data.source.flip)
    epochs, steps = training_epochs(
        arrays, config.batch_size, seed=config.seed, augment=augment, statistics=statistics, device=device
    )
    history = fit(
        network, epochs, steps, config, loss=classification_loss(config), device=device, evaluate=judge,
        on_step=watcher.step, on_epoch=watcher.epoch, checkpoint=folder / CHECKPOINT_FILE,
    )  # fmt: skip
    test = evaluate(network, _whole(data.test.at(spec.resolution), statistics, device), precision=config.precision)
    metadata = {PIXELS: json.dumps(asdict(statistics)), DATA: str(provenance.get(DATA, ""))}
    save_network(folder / MODEL_FILE, network, metadata, data.classes)
    metrics = {
        "model": spec.name, "macs": cost(spec).macs, "params": cost(spec).params, "resolution": spec.resolution,
        "data": data.source.name, "source_digest": data.source.digest, "start": str(weights) if weights else "scratch",
        "config": config.to_dict(), "validation": history[-1].metrics, "test": report(test),
        "history": [record.to_dict() for record in history], **provenance,
    }  # fmt: skip
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def claim_folder(folder: Path, data: Dataset, weights: Path | None) -> None:
    """Notes what a folder's training is on and starts from; raises UserError where it holds another.

    The checkpoint itself knows the architecture and the settings.
    """
    start = hashlib.sha256(weights.read_bytes()).hexdigest()[:12] if weights and weights.is_file() else "scratch"
    asked = {"data": data.source.name, "source_digest": data.source.digest, "start": start}
    path = folder / TRAINING_FILE
    if path.exists() and (folder / CHECKPOINT_FILE).exists():
        found = read_json(path, "a training of scalesearch")
        differing = [f"{key} {found.get(key)}, not {asked[key]}" for key in asked if found.get(key) != asked[key]]
        if differing:
            raise UserError(
                "--out", f"{folder}, which holds another training ({'; '.join(differing)})",
                "a folder of its own for each training", "Name another with --out.",
            )  # fmt: skip
    write_json(path, asked)


def start_from(network: MBConvNet, weights: Path) -> PixelStatistics:
    """Loads weights into a network; the normalisation they expect: the file's own, else ImageNet's.

    Raises UserError where they do not fit.
    """
    load_state_into(network, read_state(weights), str(weights))
    metadata = read_safetensors(weights)[1] if weights.suffix == ".safetensors" else {}
    return statistics_of(metadata)


def statistics_of(metadata: dict[str, str]) -> PixelStatistics:
    """The normalisation noted in a model file's metadata; ImageNet's where none is."""
    if PIXELS not in metadata:
        return IMAGENET_STATISTICS
    try:
        values = json.loads(metadata[PIXELS])
        mean, std = ([float(value) for value in values[key]] for key in ("mean", "std"))
        return PixelStatistics((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError("model file", f"damaged {PIXELS} ({error})", "metadata as finetune writes it") from None


def evaluate_model(
    network: MBConvNet, metadata: dict[str, str], data: Dataset, part: str, device: torch.device
) -> Evaluation:
    """Judges a loaded model on a part ("train", "validation", "test") of a data set.

    Raises UserError where the model's classes are not the data's.
    """
    known = class_names(metadata)
    if known != data.classes:
        raise UserError(
            "--data", f"{len(data.classes)} classes of {data.source.name} ({_few(data.classes)})",
            f"the model's {len(known)} classes ({_few(known)})", "Give the data the model was trained for.",
        )  # fmt: skip
    arrays = {"train": data.train, "validation": data.validation, "test": data.test}[part].at(network.spec.resolution)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return evaluate(network, _whole(arrays, statistics_of(metadata), device))


def class_names(metadata: dict[str, str]) -> tuple[str, ...]:
    """Class names noted in a model file's metadata. Raises UserError where they are damaged."""
    try:
        names = json.loads(metadata.get("classes", "[]"))
    except ValueError:
        names = None
    if not isinstance(names, list):
        raise UserError("model file", "damaged class names", "metadata as finetune writes it")
    return tuple(map(str, names))


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def report(found: Evaluation) -> dict[str, Any]:
    """An evaluation as plain values: top-1 with its Wilson 95 % interval, top-5, loss, counts."""
    correct, images = int((found.labels == found.predictions).sum()), len(found.labels)
    low, high = wilson_interval(correct, images)
    return {
        "top1": found.top1, "low": low, "high": high, "top5": found.top5, "loss": found.loss,
        "correct": correct, "images": images,
    }  # fmt: skip


def _whole(arrays: ImageArrays, statistics: PixelStatistics, device: torch.device) -> Any:
    return evaluation_batches(arrays, EVALUATION_BATCH, statistics=statistics, device=device)
