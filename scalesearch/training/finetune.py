"""Training one network on one data set to the end: from scratch or from inherited weights."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import (
    PixelStatistics,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
    training_epochs,
)
from scalesearch.data.dataset import Dataset
from scalesearch.design.cost import cost
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json, write_text
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.transfer_plan import TransferPlan
from scalesearch.nets.weights import WeightSource, save_network
from scalesearch.study.config import TrainConfig
from scalesearch.training.distributed import of_first, ranks
from scalesearch.training.evaluate import Evaluation, evaluate
from scalesearch.training.history import EpochRecord, History, best_epoch
from scalesearch.training.loop import fit
from scalesearch.training.loss import Loss, balanced_weights, classification_loss
from scalesearch.training.metrics import wilson_interval
from scalesearch.training.model_card import model_card
from scalesearch.training.model_file import class_names, metadata_of, statistics_of
from scalesearch.training.preflight import Finding, preflight
from scalesearch.training.recipe import Recipe
from scalesearch.training.sections import reset_tail
from scalesearch.training.starting import Start, from_scratch, from_source, settled

MODEL_FILE, CHECKPOINT_FILE = "model.safetensors", "checkpoint.safetensors"
METRICS_FILE, TRAINING_FILE, INHERITANCE_FILE = "metrics.json", "training.json", "inheritance.json"
CARD_FILE = "model_card.md"
EVALUATION_BATCH = 128


@dataclass(frozen=True)
class Watcher:
    """Who is told: ``step(epoch, step)`` after each, ``epoch(record)`` with validation accuracy after each, ``note`` of
    what changed on the way."""

    step: Callable[[int, int], None]
    epoch: Callable[[EpochRecord], None]
    note: Callable[[str], None]


def begin(
    spec: NetSpec, data: Dataset, recipe: Recipe, folder: Path, source: WeightSource | None, device: torch.device
) -> Start:
    """Claims the folder and makes the network that the training starts from.

    Args:
        spec: the network; its classifier is made for the data's classes.
        source: weights to inherit; None starts from scratch.

    Raises:
        UserError: a folder that holds another training.
    """
    check_shares(recipe.config)
    if ranks().first:
        claim_folder(folder, data, source, recipe)
    continues = (folder / CHECKPOINT_FILE).exists()
    start = starting(spec, data, recipe, source, device, repair=not continues)
    if source is not None and start.plan is not None and ranks().first:
        write_json(folder / INHERITANCE_FILE, {"source": source.name, "digest": source.digest, **start.plan.to_dict()})
    return start


def starting(
    spec: NetSpec,
    data: Dataset,
    recipe: Recipe,
    source: WeightSource | None,
    device: torch.device,
    *,
    repair: bool = True,
) -> Start:
    """The network that a training starts from; ``repair`` as in ``from_source``."""
    config, arrays = recipe.config, data.train.at(spec.resolution)
    steps = config.epochs * steps_per_epoch(len(arrays), config.batch_size)
    spec = replace(spec, classes=len(data.classes))
    if source is None:
        return from_scratch(spec, arrays, config.seed)
    start = from_source(settled(spec, steps), source, arrays, data.classes, device, seed=config.seed, repair=repair)
    if recipe.reset_tail and config.strategy == "tail":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            reset_tail(start.network, config)
    return start


def check_shares(config: TrainConfig) -> None:
    """Raises UserError where a step's images cannot be shared out among the processes that train together."""
    count = ranks().count
    if config.batch_size % count or config.batch_size // count < 2:
        raise UserError(
            "--batch-size", f"{config.batch_size} for {count} processes", f"a multiple of {count}, at least {2 * count}"
        )


def inspect(
    start: Start, data: Dataset, recipe: Recipe, folder: Path, source: WeightSource | None, device: torch.device
) -> tuple[Finding, ...]:
    """What preflight finds; nothing for a training that continues."""
    if (folder / CHECKPOINT_FILE).exists():
        return ()
    resolution, config = start.network.spec.resolution, recipe.config
    batches = training_batches(
        data.train.at(resolution), config.batch_size, seed=config.seed, epoch=0, augment=recipe.augment,
        statistics=start.statistics, device=device,
    )  # fmt: skip
    known = None if source is None else (source.spec.resolution, statistics_of(dict(source.metadata)))
    start.network.to(device)
    return preflight(start.network, data, config, resolution, start.statistics, next(batches), known)


def finetune(
    start: Start,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    watcher: Watcher,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Trains on the train part, watches validation, judges once on test; run again, it continues.

    Writes ``model.safetensors`` (spec, class names and normalisation inside), ``metrics.json``, a model card and a
    checkpoint.

    Args:
        start: from ``begin``.
        provenance: command, versions, start and the like, kept in ``metrics.json``.

    Returns:
        what ``metrics.json`` holds.
    """
    network, config = start.network, recipe.config
    validation = data.validation.at(network.spec.resolution)

    def judge(model: nn.Module) -> dict[str, float]:
        found = evaluate(model, _whole(validation, start.statistics, device), precision=config.precision)
        return {"top1": found.top1, "loss": found.loss}

    epochs, steps, loss = training_of(start, data, recipe, device)
    history = fit(
        network, epochs, steps, config, loss=loss, device=device, evaluate=judge, on_step=watcher.step,
        on_epoch=watcher.epoch, on_note=watcher.note, checkpoint=folder / CHECKPOINT_FILE,
    )  # fmt: skip
    return of_first(_finish(start, data, recipe, folder, device, history, provenance) if ranks().first else {})


def training_of(
    start: Start, data: Dataset, recipe: Recipe, device: torch.device
) -> tuple[Callable[[int], Iterator[tuple[Tensor, Tensor]]], int, Loss]:
    """This process's batches by epoch, how many an epoch has, and the loss."""
    config, together, classes = recipe.config, ranks(), len(data.classes)
    arrays = data.train.at(start.network.spec.resolution)
    epochs, steps = training_epochs(
        arrays, config.batch_size, seed=config.seed, augment=recipe.augment, statistics=start.statistics,
        device=device, classes=classes, share=(together.rank, together.count),
    )  # fmt: skip
    weights = class_weights(arrays, classes, device) if recipe.balance else None
    return epochs, steps, classification_loss(config, weights)


def _finish(
    start: Start,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    history: History,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Judges the trained network on test and writes model, metrics and card; what ``metrics.json`` holds."""
    network, statistics, config = start.network, start.statistics, recipe.config
    spec = network.spec
    test = evaluate(network, _whole(data.test.at(spec.resolution), statistics, device), precision=config.precision)
    data_argument = str(provenance.get("data_argument", ""))
    save_network(folder / MODEL_FILE, network, metadata_of(statistics, data_argument), data.classes)
    kept = history[best_epoch(history)] if config.patience else history[-1]
    metrics = {
        "model": spec.name, "macs": cost(spec).macs, "params": cost(spec).params, "resolution": spec.resolution,
        "data": data.source.name, "source_digest": data.source.digest, "classes": list(data.classes),
        "images": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        "start": "scratch", "config": config.to_dict(), **recipe.to_dict(), "processes": ranks().count,
        "validation": kept.metrics, "test": report(test), "history": [record.to_dict() for record in history],
        **provenance,
    }  # fmt: skip
    write_json(folder / METRICS_FILE, metrics)
    write_text(folder / CARD_FILE, model_card(metrics))
    return metrics


def inherited(source: WeightSource, plan: TransferPlan) -> dict[str, Any]:
    """What ``metrics.json`` says of a network's start."""
    return {
        "start": source.name,
        "inheritance": {
            "source": source.name, "digest": source.digest, "licence": source.licence, "coverage": plan.coverage,
            "preserved": plan.preserved, "losses": list(plan.losses),
        },
    }  # fmt: skip


def class_weights(arrays: ImageArrays, classes: int, device: torch.device) -> Tensor:
    """Of the loss, so that each class counts alike."""
    counts = np.bincount(arrays.labels, minlength=classes).tolist()
    return torch.tensor(balanced_weights(counts), dtype=torch.float32, device=device)


def claim_folder(folder: Path, data: Dataset, source: WeightSource | None, recipe: Recipe) -> None:
    """Notes what a folder's training is on and starts from; raises UserError where it holds another.

    The checkpoint itself knows the architecture and the loop's settings.
    """
    asked = {
        "data": data.source.name, "source_digest": data.source.digest,
        "start": source.digest if source else "scratch", **recipe.to_dict(),
    }  # fmt: skip
    path = folder / TRAINING_FILE
    if path.exists() and (folder / CHECKPOINT_FILE).exists():
        found = read_json(path, "a training of scalesearch")
        wanted = json.loads(json.dumps(asked))  # as it would be read back
        differing = [f"{key} {found.get(key)}, not {wanted[key]}" for key in wanted if found.get(key) != wanted[key]]
        if differing:
            raise UserError(
                "--out", f"{folder}, which holds another training ({'; '.join(differing)})",
                "a folder of its own for each training", "Name another with --out.",
            )  # fmt: skip
    write_json(path, asked)


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
