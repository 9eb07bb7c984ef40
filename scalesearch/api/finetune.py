"""A fine-tuning: what is asked, what it comes to, the training, and the model on disk."""

import contextlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from scalesearch.api.design import Scaling, choose_scaling
from scalesearch.api.options import (
    Data,
    Device,
    Ema,
    Option,
    Patience,
    Run,
    Scheme,
    SkipBroken,
    SourcePadding,
    Tell,
    Weights,
    inherited,
    path,
    takes,
)
from scalesearch.design.cost import cost
from scalesearch.design.family import named_spec
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import locked, write_bytes
from scalesearch.files import prepare as prepare_folder
from scalesearch.notebook import html_table
from scalesearch.study.config import Optimizer, Strategy, TrainConfig, validate
from scalesearch.training.history import EpochRecord, Watcher
from scalesearch.units import show_count, show_interval, show_percent

if TYPE_CHECKING:
    import torch

    from scalesearch.data.dataset import Dataset
    from scalesearch.nets.modules import MBConvNet
    from scalesearch.nets.transfer_plan import TransferPlan
    from scalesearch.nets.weights import WeightSource
    from scalesearch.training.probes import LrRange
    from scalesearch.training.recipe import Choice, Recipe

RATES: dict[str, float] = {"adamw": 3e-3, "sgd": 0.05}
LR_FIGURE = "learning_rate.png"


@dataclass(frozen=True)
class FinetuneOptions:
    """What a fine-tuning is asked for. None: chosen by the model, the data or the strategy."""

    # fmt: off
    model: Annotated[NetSpec | str, Option(
        "The network: b0 to b6 or phi2.5 of the family, a spec file, a space or its file, or a released one such as "
        "efficientnet_b3.", "Network", shell="models")] = "b1"
    data: Data = None
    _: KW_ONLY
    run: Run = None
    weights: Weights = None
    source_padding: SourcePadding = None
    strategy: Annotated[Scheme, Option(
        "What is trained: head on a frozen body, tail (the last blocks, too), full (everything, the body more slowly), "
        "gradual (head, tail and everything in turn), or auto, which chooses by the amount of data.",
        "What is trained")] = "auto"
    tail_blocks: Annotated[int, Option(
        "How many of the last blocks tail and gradual train besides the head.", "What is trained", minimum=0)] = 3
    reset_tail: Annotated[bool, Option(
        "Give the blocks of the tail new weights before training.", "What is trained")] = False
    epochs: Annotated[int, Option("Passes over the training images.", "Training", minimum=1)] = 20
    patience: Patience = 0
    resolution: Annotated[int | None, Option(
        "Side of the images in pixels; the network's own if left out.", "Network", minimum=8, maximum=4096)] = None
    batch_size: Annotated[int, Option("Images of a training step.", "Training", minimum=2)] = 32
    accumulate: Annotated[int, Option(
        "Send the images of a step through in so many parts, which takes less memory.", "Memory and speed",
        minimum=1)] = 1
    recompute: Annotated[bool, Option(
        "Compute what the backward pass needs again instead of keeping it: less memory for a third more time.",
        "Memory and speed")] = False
    optimizer: Annotated[Optimizer, Option("AdamW, or SGD with momentum.", "Training")] = "adamw"
    lr: Annotated[float | None, Option(
        "Peak learning rate of the head; 0.003 for adamw and 0.05 for sgd if left out.", "Training")] = None
    body_lr_ratio: Annotated[float | None, Option(
        "Learning rate of the body as a share of the head's; 0.3 for inherited weights, else 1, if left out.",
        "What is trained")] = None
    layer_decay: Annotated[float, Option(
        "Learning rate of each block as a share of the next one's towards the head.", "What is trained")] = 1.0
    ema: Ema = 0.0
    label_smoothing: Annotated[float, Option("Share of each target that is spread over all classes.", "Training")] = 0.1
    augment: Annotated[Literal["light", "medium", "strong"], Option(
        "How training images are varied: light crops and flips, medium adds RandAugment and erasing, strong adds MixUp "
        "and CutMix.", "Data")] = "light"
    balance: Annotated[bool, Option("Let rare classes weigh as much in the loss as common ones.", "Data")] = False
    seed: Annotated[int, Option(
        "Seed of new weights, of the order of the images and of their augmentation.", "Training", minimum=0)] = 0
    device: Device = "auto"
    skip_broken: SkipBroken = False
    out: Annotated[Path | str | None, Option(
        "Folder for the model; RUN/models/MODEL-DATA if left out.", "Run and output")] = None
    tell: Tell | None = None
    # fmt: on


@dataclass(frozen=True, eq=False)
class FinetuneJob:
    """A fine-tuning that could start.

    Args:
        scaling: where the network is from; ``spec``: the network, for the classes of the data.
        source, plan: what it inherits, and how; None from scratch.
        data: as it was given; ``parts``: its images.
        choice: the strategy with its reason.
        folder: where the model is kept.
    """

    scaling: Scaling
    spec: NetSpec
    source: "WeightSource | None"
    plan: "TransferPlan | None"
    data: str
    parts: "Dataset"
    choice: "Choice"
    recipe: "Recipe"
    folder: Path

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        from scalesearch.data.batches import steps_per_epoch

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

    def network(self) -> "MBConvNet":
        """The network with its weights, in evaluation mode on the CPU."""
        from scalesearch.nets.weights import load_network

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
        return html_table(f"{metrics['model']} on {metrics['data']}", ("", ""), rows)


@takes(FinetuneOptions)
def finetune(asked: FinetuneOptions) -> FinetuneResult:
    """Trains one network, from scratch or from other weights, and judges it on the test images.

    Called again, it continues where it was. ``tell`` is told of each epoch; ``tell=print`` shows progress.

    Raises:
        UserError: an option that cannot be used, or a folder that holds another training.
    """
    from scalesearch.training.device import choose_device
    from scalesearch.training.distributed import joined

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
    from scalesearch.data.dataset import dataset, open_data
    from scalesearch.nets.inherit import inherit
    from scalesearch.training.model_file import class_names
    from scalesearch.training.recipe import Choice, Recipe, augmentation, choose_strategy

    scaling, spec, source, plan = _start(asked)
    require_weights(asked.strategy, source is not None)
    given = str(asked.data) if asked.data else scaling.data
    if given is None:
        raise UserError("--data", "no images were named.", do="Name a folder of images, a torchvision set, or glyphs.")
    parts = dataset(open_data(given, skip_broken=asked.skip_broken), spec.resolution)
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
    return FinetuneJob(scaling, spec, source, plan, given, parts, choice, recipe, folder)


def transfer_plan(asked: FinetuneOptions) -> "TransferPlan":
    """What becomes of every tensor of the weights; opens no images. Raises UserError where none are given."""
    plan = _start(asked)[3]
    if plan is None:
        raise UserError("--plan", "without weights there is nothing to inherit.", do="Give --weights.")
    return plan


def run(job: FinetuneJob, device: "torch.device", watcher: Watcher) -> FinetuneResult:
    """Reads the images, claims the folder, inspects, trains, judges on test; run again, it continues.

    Raises:
        UserError: the folder is in use or holds another training, or preflight found what cannot work.
    """
    from scalesearch.running.provenance import argument, provenance
    from scalesearch.training import classifier as training
    from scalesearch.training.distributed import ranks
    from scalesearch.training.job import MODEL_FILE, continues

    _require_memory(job, device)
    prepare_folder(job.folder)
    parts, recipe, folder, spec, source = job.parts, job.recipe, job.folder, job.spec, job.source
    with locked(folder) if ranks().first else contextlib.nullcontext():
        read(parts, spec.resolution, watcher.reading)
        start = {"start": "scratch"} if source is None or job.plan is None else training.inherited(source, job.plan)
        origin = {
            **provenance(str(device)), "data_argument": argument(job.data), **start, "strategy_why": job.choice.why,
        }  # fmt: skip
        if continues(folder):
            watcher.tell(f"Continues from the checkpoint in {folder}")
        begun = training.begin(spec, parts, recipe, folder, source, device)
        for finding in training.inspect(begun, parts, recipe, folder, source, device):
            if finding.level == "error":
                raise UserError(f"preflight, {finding.check}", finding.problem, do=finding.do)
            watcher.tell(f"WARNING ({finding.check}): {finding}")
        metrics = training.finetune(begun, parts, recipe, folder, device, watcher, origin)
    return FinetuneResult(folder / MODEL_FILE, metrics)


def find_lr(job: FinetuneJob, device: "torch.device", reading: Callable[[int, int], None]) -> "tuple[LrRange, Path]":
    """The loss while the learning rate rises step by step, and where it is drawn; trains nothing that is kept."""
    from scalesearch.reports.figures.curves import lr_figure
    from scalesearch.reports.figures.formats import rendered
    from scalesearch.training.classifier import starting, task_of
    from scalesearch.training.probes import lr_range

    _require_memory(job, device)
    prepare_folder(job.folder)
    read(job.parts, job.spec.resolution, reading)
    start = starting(job.spec, job.parts, job.recipe, job.source, device)
    task = task_of(start, job.parts, job.recipe, device)
    curve = lr_range(start.network, task, job.recipe.config, device)
    file = job.folder / LR_FIGURE
    write_bytes(file, rendered(lr_figure(curve.lrs, curve.losses, curve.suggestion), "png"))
    return curve, file


def read(parts: "Dataset", resolution: int, reading: Callable[[int, int], None]) -> None:
    """Decodes all images, telling ``reading`` how many are done."""
    for part in (parts.train, parts.validation, parts.test):
        part.at(resolution, reading)


def require_weights(strategy: str, inherits: bool) -> None:
    """Refuses a strategy that would freeze fresh weights. Raises UserError."""
    if not inherits and strategy not in ("auto", "full"):
        problem = "without weights the network would be frozen as it is drawn at random."
        raise UserError(f"--strategy {strategy}", problem, do="Give --weights, or --strategy full.")


def _start(asked: FinetuneOptions) -> "tuple[Scaling, NetSpec, WeightSource | None, TransferPlan | None]":
    """The network and what it inherits, for its own number of classes."""
    import torch

    from scalesearch.nets.inherit import inherit
    from scalesearch.nets.weights import open_weights
    from scalesearch.training.memory import FLOAT, require_memory

    scaling, spec, weights = choose_scaling(path(asked.run)), asked.model, inherited(asked.weights)
    if isinstance(spec, str):
        spec = named_spec(spec, scaling.baseline, scaling.coefficients, scaling.rounding)
    spec = spec if asked.resolution is None else replace(spec, resolution=asked.resolution)
    if weights is None:
        return scaling, spec, None, None
    needed, do = 2 * FLOAT * cost(spec).params, "Choose a smaller network."  # the weights are held twice
    require_memory(needed, f"--model {spec.name}", torch.device("cpu"), do)
    source = open_weights(weights, spec, asked.source_padding)
    if asked.source_padding is not None:
        spec = replace(spec, padding=source.spec.padding)  # the same tensors; the function is only kept with it
    return scaling, spec, source, inherit(source.spec, source.state, spec, seed=0)[1]


def _config(asked: FinetuneOptions, strategy: Strategy, inherits: bool) -> TrainConfig:
    """The loop's settings; an inherited body that is trained learns more slowly than the head."""
    from scalesearch.training.recipe import BODY_RATIO

    usual = BODY_RATIO if inherits and strategy in ("full", "gradual") else 1.0
    return TrainConfig(
        epochs=asked.epochs, batch_size=asked.batch_size, warmup_epochs=min(1.0, asked.epochs / 4), seed=asked.seed,
        strategy=strategy, lr=RATES[asked.optimizer] if asked.lr is None else asked.lr, optimizer=asked.optimizer,
        body_lr_ratio=usual if asked.body_lr_ratio is None else asked.body_lr_ratio, layer_decay=asked.layer_decay,
        tail_blocks=asked.tail_blocks, accumulate=asked.accumulate, patience=asked.patience, ema_decay=asked.ema,
        label_smoothing=asked.label_smoothing, recompute=asked.recompute,
    )  # fmt: skip


def _require_memory(job: FinetuneJob, device: "torch.device") -> None:
    """Refuses what cannot fit before a network is built; preflight looks more closely once it is."""
    from scalesearch.training.distributed import ranks
    from scalesearch.training.memory import least_memory, require_memory

    config, count = job.recipe.config, len(job.parts.train)
    images = max(config.accumulate, min(config.batch_size, count) // ranks().count)
    needed = least_memory(job.spec, replace(config, batch_size=images))
    do = "Choose a smaller network, lower --batch-size or --resolution, or give --recompute."
    require_memory(needed, f"--model {job.spec.name}", device, do)
