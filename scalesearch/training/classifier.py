"""Training a classifier on one data set to the end: from scratch or from inherited weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scalesearch.data.arrays import Images
from scalesearch.data.batches import (
    PixelStatistics,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
    training_epochs,
)
from scalesearch.data.dataset import Dataset
from scalesearch.data.source import Source
from scalesearch.design.cost import cost
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import write_json, write_text
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import WeightSource
from scalesearch.nets.transfer_plan import TransferPlan
from scalesearch.nets.weights import FORMAT, class_names, save_network
from scalesearch.study.config import TrainConfig
from scalesearch.study.statistics import wilson_interval
from scalesearch.training.distributed import ranks
from scalesearch.training.evaluation import Evaluation, evaluate, require_finite
from scalesearch.training.history import EpochRecord, History, Watcher
from scalesearch.training.job import MODEL_FILE, carry_out, claim, continues
from scalesearch.training.loop import Task
from scalesearch.training.model_file import metadata_of, model_card, statistics_of
from scalesearch.training.preflight import Finding, preflight
from scalesearch.training.recipe import Recipe
from scalesearch.training.sections import reset_tail
from scalesearch.training.start import Start, start_of
from scalesearch.training.step import balanced_weights, classification_loss

INHERITANCE_FILE, CARD_FILE = "inheritance.json", "model_card.md"
EVALUATION_BATCH = 128


def begin(
    spec: NetSpec, data: Dataset, recipe: Recipe, folder: Path, source: WeightSource | None, device: torch.device
) -> Start[MBConvNet]:
    """Claims the folder and makes the network that the training starts from.

    Args:
        spec: the network; its classifier is made for the data's classes.
        source: weights to inherit; None starts from scratch.

    Raises:
        UserError: a folder that holds another training.
    """
    check_shares(recipe.config)
    claim(
        folder,
        {
            "data": data.source.name, "source_digest": data.source.digest,
            "start": source.digest if source else "scratch", **recipe.to_dict(),
        },
    )  # fmt: skip
    start = starting(spec, data, recipe, source, device, repair=not continues(folder))
    if source is not None and start.plan is not None and ranks().first:
        write_json(folder / INHERITANCE_FILE, {"source": source.name, "digest": source.digest, **start.plan.to_dict()})
    return start


def starting(
    spec: NetSpec, data: Dataset, recipe: Recipe, source: WeightSource | None, device: torch.device, *,
    repair: bool = True,
) -> Start[MBConvNet]:  # fmt: skip
    """The network that a training starts from; ``repair`` as in ``from_source``."""
    config, arrays = recipe.config, data.train.at(spec.resolution)
    steps = steps_per_epoch(len(arrays), config.batch_size)
    spec = replace(spec, classes=len(data.classes))
    start = start_of(spec, source, arrays, data.classes, config, steps, device, repair=repair)
    if source is not None and recipe.reset_tail and config.strategy == "tail":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            reset_tail(start.network, config)
    return start


def check_shares(config: TrainConfig) -> None:
    """Raises UserError where a step's images cannot be shared out among the processes that train together."""
    count = ranks().count
    if config.batch_size % count or config.batch_size // count < 2:
        problem = (
            f"{config.batch_size} images cannot be shared by {count} processes: it takes a multiple of {count}, at "
        )
        raise UserError("--batch-size", f"{problem}least {2 * count}.")


def inspect(
    start: Start[MBConvNet],
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    source: WeightSource | None,
    device: torch.device,
) -> tuple[Finding, ...]:  # fmt: skip
    """What preflight finds; nothing for a training that continues."""
    if continues(folder):
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
    start: Start[MBConvNet], data: Dataset, recipe: Recipe, folder: Path, device: torch.device, watcher: Watcher,
    provenance: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Trains on the train part, watches validation, judges once on test; run again, it continues.

    Writes ``model.safetensors`` (spec, class names and normalisation inside), ``metrics.json``, a model card and a
    checkpoint.

    Args:
        start: from ``begin``.
        provenance: command, versions, start and the like, kept in ``metrics.json``.

    Returns:
        what ``metrics.json`` holds.
    """
    network, statistics, config, spec = start.network, start.statistics, recipe.config, start.network.spec

    def finish(_: History, last: EpochRecord, folder: Path) -> dict[str, Any]:
        test = evaluate(network, _whole(data.test.at(spec.resolution), statistics, device), precision=config.precision)
        watcher.judged(test)
        metadata = metadata_of(statistics, str(provenance.get("data_argument", "")))
        save_network(folder / MODEL_FILE, network, metadata, data.classes)
        values = {
            "model": spec.name, "macs": cost(spec).macs, "params": cost(spec).params, "resolution": spec.resolution,
            "data": data.source.name, "source_digest": data.source.digest, "classes": list(data.classes),
            "images": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
            "start": "scratch", **recipe.to_dict(), "processes": ranks().count, "validation": last.metrics,
            "test": report(test), **provenance,
        }  # fmt: skip
        write_text(folder / CARD_FILE, model_card({**values, "config": config.to_dict()}))
        return values

    return carry_out(network, task_of(start, data, recipe, device), config, folder, device, watcher, finish)


def task_of(start: Start[MBConvNet], data: Dataset, recipe: Recipe, device: torch.device) -> Task:
    """This process's batches, the loss, and the accuracy on validation after each epoch."""
    config, together, classes, statistics = recipe.config, ranks(), len(data.classes), start.statistics
    resolution = start.network.spec.resolution
    arrays, validation = data.train.at(resolution), data.validation.at(resolution)
    batches, steps = training_epochs(
        arrays, config.batch_size, seed=config.seed, augment=recipe.augment, statistics=statistics,
        device=device, classes=classes, share=(together.rank, together.count),
    )  # fmt: skip
    weights = None
    if recipe.balance:
        counts = np.bincount(arrays.labels, minlength=classes).tolist()
        weights = torch.tensor(balanced_weights(counts), dtype=torch.float32, device=device)

    def judge(network: nn.Module) -> dict[str, float]:
        result = evaluate(network, _whole(validation, statistics, device), precision=config.precision)
        return {"top1": result.top1, "loss": result.loss}

    return Task(batches, steps, classification_loss(config, weights), judge, batches)


def inherited(source: WeightSource, plan: TransferPlan) -> dict[str, Any]:
    """What ``metrics.json`` says of a network's start."""
    return {
        "start": source.name,
        "inheritance": {
            "source": source.name, "digest": source.digest, "licence": source.licence, "coverage": plan.coverage,
            "preserved": plan.preserved, "losses": list(plan.losses),
        },
    }  # fmt: skip


def evaluate_model(network: MBConvNet, metadata: dict[str, str], arrays: Images, device: torch.device) -> Evaluation:
    """Judges a loaded model on images of its classes."""
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    evaluation = evaluate(network, _whole(arrays, statistics_of(metadata), device))
    require_finite(evaluation.probabilities)
    return evaluation


def require_classes(metadata: dict[str, str], source: Source, outputs: int) -> str:
    """What is assumed of the data's classes: "" for a model of ours, which names them; published weights are taken to
    have them in the order of their names.

    Raises UserError where the model's classes are not the data's.
    """
    known, ours = class_names(metadata), metadata.get("format") == FORMAT
    if known == source.classes:
        return ""
    if ours and not known:
        do = "Evaluate the file that finetune wrote; predict gives its outputs by number."
        raise UserError("model", "it names no classes, so nothing says which of its outputs is which.", do=do)
    theirs = f"the {len(source.classes)} classes of {source.name} ({_few(source.classes)})"
    if sorted(known) == sorted(source.classes):
        problem = f"{theirs} are those of the model in another order ({_few(known)})."
        raise UserError("--data", problem, do="Name the folders so that they sort as the model has them.")
    if ours or len(source.classes) != outputs:
        problem = f"{theirs} are not the {outputs} of the model" + (f" ({_few(known)})." if known else ".")
        raise UserError("--data", problem, do="Give the data that the model was trained for.")
    return f"{theirs} are taken for the model's outputs in this order" + (f" ({_few(known)})" if known else "")


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def report(result: Evaluation) -> dict[str, Any]:
    """An evaluation as plain values: top-1 with its Wilson 95 % interval, top-5, loss, counts."""
    correct, images = int((result.labels == result.predictions).sum()), len(result.labels)
    top1 = wilson_interval(correct, images)
    return {
        "top1": result.top1, "low": top1.low, "high": top1.high, "top5": result.top5, "loss": result.loss,
        "correct": correct, "images": images,
    }  # fmt: skip


def _whole(arrays: Images, statistics: PixelStatistics, device: torch.device) -> Any:
    return evaluation_batches(arrays, EVALUATION_BATCH, statistics=statistics, device=device)
