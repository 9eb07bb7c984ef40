"""A fine-tuning: what is asked, what it comes to, the training, and the model on disk."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from scalesearch.api.design import Scaling, choose_scaling
from scalesearch.api.options import FinetuneOptions, images_of, inherited, path, room, stated, takes
from scalesearch.api.tracking import followed
from scalesearch.data.batches import steps_per_epoch
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.keeping import Keeping, keep, make_room
from scalesearch.design.cost import cost
from scalesearch.design.family import named_spec
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import locked, write_bytes
from scalesearch.files import prepare as prepare_folder
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import WeightSource, adopted, open_weights
from scalesearch.nets.transfer_plan import TransferPlan
from scalesearch.nets.weights import class_names, load_network
from scalesearch.reports.tracking import Destination, destinations
from scalesearch.running.provenance import argument, provenance
from scalesearch.study.config import Strategy, TrainConfig, validate
from scalesearch.table import table, table_html
from scalesearch.training import classifier as training
from scalesearch.training.device import choose_device
from scalesearch.training.distributed import joined, ranks
from scalesearch.training.history import EpochRecord, Watcher
from scalesearch.training.job import MODEL_FILE, continues
from scalesearch.training.memory import FLOAT, least_memory, require_memory
from scalesearch.training.probes import LrRange, lr_range
from scalesearch.training.recipe import BODY_RATIO, Choice, Recipe, augmentation, choose_strategy
from scalesearch.units import show_count, show_interval, show_percent

RATES: dict[str, float] = {"adamw": 3e-3, "sgd": 0.05}
LR_FIGURE = "learning_rate.png"


@dataclass(frozen=True, eq=False)
class FinetuneJob:
    """A fine-tuning that could start.

    Args:
        scaling: where the network is from; ``spec``: the network, for the classes of the data.
        source, plan: what it inherits, and how; None from scratch.
        data: as it was given; ``parts``: its images.
        choice: the strategy with its reason.
        folder: where the model is kept.
        logs: that it is written into, too.
    """

    scaling: Scaling
    spec: NetSpec
    source: WeightSource | None
    plan: TransferPlan | None
    data: str
    parts: Dataset
    keeping: Keeping
    choice: Choice
    recipe: Recipe
    folder: Path
    logs: tuple[Destination, ...] = ()

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return steps_per_epoch(len(self.parts.train), self.recipe.config.batch_size)


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """A trained model: its file, and what ``metrics.json`` beside it holds."""

    file: Path
    metrics: dict[str, Any]

    @property
    def top1(self) -> float:
        """Share of test images that are right."""
        return float(self.metrics["test"]["top1"])

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval (Wilson)."""
        return float(self.metrics["test"]["low"]), float(self.metrics["test"]["high"])

    def network(self) -> MBConvNet:
        """The network with its weights, in evaluation mode on the CPU."""
        return load_network(self.file)[0]

    def _repr_html_(self) -> str:
        metrics, (low, high) = self.metrics, self.interval
        rows = [
            ["test accuracy", f"{show_percent(self.top1)}, 95 % interval {show_interval(low, high)}"],
            ["test images", str(metrics["test"]["images"])],
            ["FLOPs", show_count(metrics["macs"])],
            ["parameters", show_count(metrics["params"])],
            ["resolution", f"{metrics['resolution']} px"],
            ["start", str(metrics["start"])],
            ["strategy", str(metrics["config"]["strategy"])],
            ["file", str(self.file)],
        ]
        return table_html(table(f"{metrics['model']} on {metrics['data']}", ("", ""), rows))


@takes(FinetuneOptions)
def finetune(asked: FinetuneOptions) -> FinetuneResult:
    """Trains one network, from scratch or from other weights, and judges it on the test images.

    Called again, it continues where it was. ``tell`` is told of each epoch; ``tell=print`` shows progress.

    Raises:
        UserError: an option that cannot be used, or a folder that holds another training.
    """
    say = asked.tell or (lambda text: None)

    def epoch(record: EpochRecord) -> None:
        top1 = record.metrics.get("top1", float("nan"))
        say(f"epoch {record.epoch + 1}/{asked.epochs}, validation {show_percent(top1)}, loss {record.train_loss:.3f}")

    with joined(choose_device(asked.device)) as device:
        job = prepare(asked)
        say(f"Strategy: {job.choice.strategy}" + (f" ({job.choice.why})" if job.choice.why else ""))
        return run(job, device, Watcher(note=say, epoch=epoch))


def prepare(asked: FinetuneOptions) -> FinetuneJob:
    """Chooses the network, its weights and the strategy, opens the images; trains nothing and writes nothing.

    Raises:
        UserError: an option that cannot be used.
    """
    logs = destinations(asked.log)
    scaling, spec, source, plan = _start(asked)
    require_weights(asked.strategy, source is not None)
    given = images_of(asked, scaling.data)
    parts = dataset(open_data(given, skip_broken=asked.skip_broken, follow_links=asked.follow_links), spec.resolution)
    parts, keeping = keep(parts, tuple(parts.parts), {spec.resolution}, room(asked.cache_size))
    spec = replace(spec, classes=len(parts.classes))
    if source is not None:  # the classifier, too, where the source has just these classes
        same = class_names(dict(source.metadata)) == parts.classes
        plan = inherit(source.spec, source.state, spec, seed=0, classifier=same)[1]
    coverage = None if plan is None else plan.coverage
    choice = (
        choose_strategy(len(parts.train), len(parts.classes), coverage)
        if asked.strategy == "auto"
        else Choice(asked.strategy, reset_tail=asked.reset_tail)
    )
    config = _config(asked, choice.strategy, source is not None)
    validate(config)
    recipe = Recipe(config, augmentation(asked.augment, parts.source.flip), asked.balance, choice.reset_tail)
    folder = path(asked.out) or scaling.folder.parent / "models" / f"{spec.name}-{parts.source.name}"
    return FinetuneJob(scaling, spec, source, plan, given, parts, keeping, choice, recipe, folder, logs)


def transfer_plan(asked: FinetuneOptions) -> TransferPlan:
    """What becomes of every tensor of the weights; opens no images. Raises UserError where none are given."""
    plan = _start(asked)[3]
    if plan is None:
        raise UserError("--plan", "without weights there is nothing to inherit.", do="Give --weights.")
    return plan


def run(job: FinetuneJob, device: torch.device, watcher: Watcher) -> FinetuneResult:
    """Reads the images, claims the folder, inspects, trains, judges on test; run again, it continues.

    Raises:
        UserError: the folder is in use or holds another training, or preflight found what cannot work.
    """
    _require_memory(job, device)
    prepare_folder(job.folder)
    parts, recipe, folder, spec, source = job.parts, job.recipe, job.folder, job.spec, job.source
    with locked(folder) if ranks().first else contextlib.nullcontext():
        read(job, watcher.reading)
        start = {"start": "scratch"} if source is None or job.plan is None else training.inherited(source, job.plan)
        origin = {
            **provenance(str(device)), "data_argument": argument(job.data), **start, "strategy_why": job.choice.why,
        }  # fmt: skip
        going_on = continues(folder)
        begun = training.begin(spec, parts, recipe, folder, source, device)
        if going_on:
            watcher.tell(f"Continues from the checkpoint in {folder}")
        for finding in training.inspect(begun, parts, recipe, folder, source, device):
            if finding.level == "error":
                raise UserError(f"preflight, {finding.check}", finding.problem, do=finding.do)
            watcher.tell(f"WARNING ({finding.check}): {finding}")
        with followed(job, watcher, origin) as (watcher, end):
            metrics = training.finetune(begun, parts, recipe, folder, device, watcher, origin)
            end(metrics)
    return FinetuneResult(folder / MODEL_FILE, metrics)


def find_lr(job: FinetuneJob, device: torch.device, reading: Callable[[int, int], None]) -> tuple[LrRange, Path]:
    """The loss while the learning rate rises step by step, and where it is drawn; trains nothing that is kept."""
    from scalesearch.reports.figures.curves import lr_figure
    from scalesearch.reports.figures.formats import rendered

    _require_memory(job, device)
    prepare_folder(job.folder)
    read(job, reading)
    start = training.starting(job.spec, job.parts, job.recipe, job.source, device)
    task = training.task_of(start, job.parts, job.recipe, device)
    curve = lr_range(start.network, task, job.recipe.config, device)
    file = job.folder / LR_FIGURE
    write_bytes(file, rendered(lr_figure(curve.lrs, curve.losses, curve.suggestion), "png"))
    return curve, file


def read(job: FinetuneJob, reading: Callable[[int, int], None]) -> None:
    """Decodes all images, telling ``reading`` how many are done."""
    make_room(job.keeping)
    for part in job.parts.parts.values():
        part.at(job.spec.resolution, reading)


def require_weights(strategy: str, inherits: bool) -> None:
    """Refuses a strategy that would freeze fresh weights. Raises UserError."""
    if not inherits and strategy not in ("auto", "full"):
        problem = "without weights the network would be frozen as it is drawn at random."
        raise UserError(f"--strategy {strategy}", problem, do="Give --weights, or --strategy full.")


def _start(asked: FinetuneOptions) -> tuple[Scaling, NetSpec, WeightSource | None, TransferPlan | None]:
    """The network and what it inherits, for its own number of classes."""
    scaling, spec, weights = choose_scaling(path(asked.run)), asked.model, inherited(asked.weights)
    if isinstance(spec, str):
        spec = named_spec(spec, scaling.baseline, scaling.coefficients, scaling.rounding)
    spec = spec if asked.resolution is None else replace(spec, resolution=asked.resolution)
    if weights is None:
        return scaling, spec, None, None
    needed, do = 2 * FLOAT * cost(spec).params, "Choose a smaller network."  # the weights are held twice
    require_memory(needed, f"--model {spec.name}", torch.device("cpu"), do)
    source = open_weights(weights, spec, stated(asked))
    spec = adopted(spec, source)
    return scaling, spec, source, inherit(source.spec, source.state, spec, seed=0)[1]


def _config(asked: FinetuneOptions, strategy: Strategy, inherits: bool) -> TrainConfig:
    """The loop's settings; an inherited body that is trained learns more slowly than the head."""
    usual = BODY_RATIO if inherits and strategy in ("full", "gradual") else 1.0
    return TrainConfig(
        epochs=asked.epochs, batch_size=asked.batch_size, warmup_epochs=min(1.0, asked.epochs / 4), seed=asked.seed,
        strategy=strategy, lr=RATES[asked.optimizer] if asked.lr is None else asked.lr, optimizer=asked.optimizer,
        body_lr_ratio=usual if asked.body_lr_ratio is None else asked.body_lr_ratio, layer_decay=asked.layer_decay,
        tail_blocks=asked.tail_blocks, accumulate=asked.accumulate, patience=asked.patience, ema_decay=asked.ema,
        label_smoothing=asked.label_smoothing, recompute=asked.recompute,
    )  # fmt: skip


def _require_memory(job: FinetuneJob, device: torch.device) -> None:
    """Refuses what cannot fit before a network is built; preflight looks more closely once it is."""
    config, count = job.recipe.config, len(job.parts.train)
    images = max(config.accumulate, min(config.batch_size, count) // ranks().count)
    needed = least_memory(job.spec, replace(config, batch_size=images))
    do = "Choose a smaller network, lower --batch-size or --resolution, or give --recompute."
    require_memory(needed, f"--model {job.spec.name}", device, do)
