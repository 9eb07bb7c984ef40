"""A fine-tuning from what was asked to a model on disk. Commands say what goes on; these functions only do it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from scalesearch.api.scaling import Scaling, choose_scaling
from scalesearch.data.batches import steps_per_epoch
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.cost import cost
from scalesearch.design.family import named_spec
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import locked, prepare, write_bytes
from scalesearch.nets.inherit import inherit
from scalesearch.nets.transfer_plan import TransferPlan
from scalesearch.nets.weight_source import WeightSource, open_weights
from scalesearch.notebook import html_table
from scalesearch.running.provenance import argument, provenance
from scalesearch.study.config import Optimizer, Strategy, TrainConfig, validate
from scalesearch.training.classifier import begin, finetune, inherited, inspect, starting, task_of
from scalesearch.training.distributed import ranks
from scalesearch.training.history import EpochRecord, Watcher
from scalesearch.training.job import CHECKPOINT_FILE, MODEL_FILE
from scalesearch.training.memory import FLOAT, least_memory, require_memory
from scalesearch.training.model_file import class_names
from scalesearch.training.probes import LrRange, lr_range
from scalesearch.training.recipe import (
    BODY_RATIO,
    Choice,
    Recipe,
    Strength,
    augmentation,
    choose_strategy,
    require_weights,
)
from scalesearch.units import show_count

if TYPE_CHECKING:
    from scalesearch.nets.modules import MBConvNet

RATES: dict[str, float] = {"adamw": 3e-3, "sgd": 0.05}
LR_FIGURE = "learning_rate.png"


@dataclass(frozen=True)
class TuneOptions:
    """What a fine-tuning is asked for. None: chosen by the model, the data or the strategy.

    Args:
        model: b0 to b6, phi2.5, a spec file, a space, a released network, or a spec itself.
        data: a folder of images, a torchvision set, "glyphs"; None: what was searched on.
        weights: what to inherit: "imagenet", a name of torchvision's, a file, a folder of files; None: nothing.
        source_padding: how the source was padded, where it is not as known.
        strategy: "auto" goes by the amount of data; the others as ``TrainConfig.strategy``.
        reset_tail: new weights for the tail's blocks first.
        resolution: side in pixels; None: the network's own.
        lr: peak learning rate of the head; 0.003 for AdamW, 0.05 for SGD.
        body_lr_ratio: the body's learning rate over the head's; 0.3 for inherited weights that are trained, else 1.
        augment, balance: as ``Recipe``. Everything else: as ``TrainConfig``.
        skip_broken: leaves unreadable images out.
    """

    model: str | NetSpec = "b1"
    data: str | None = None
    weights: str | None = None
    source_padding: Literal["symmetric", "same"] | None = None
    strategy: Literal["auto"] | Strategy = "auto"
    tail_blocks: int = 3
    reset_tail: bool = False
    epochs: int = 20
    patience: int = 0
    resolution: int | None = None
    batch_size: int = 32
    accumulate: int = 1
    recompute: bool = False
    optimizer: Optimizer = "adamw"
    lr: float | None = None
    body_lr_ratio: float | None = None
    layer_decay: float = 1.0
    ema: float = 0.0
    label_smoothing: float = 0.1
    augment: Strength = "light"
    balance: bool = False
    seed: int = 0
    skip_broken: bool = False


@dataclass(frozen=True, eq=False)
class Subject:
    """What is to be trained, and what it starts from."""

    chosen: Scaling
    spec: NetSpec
    source: WeightSource | None
    plan: TransferPlan | None


@dataclass(frozen=True, eq=False)
class PreparedTuning:
    """A fine-tuning that could start: network, images, recipe, the strategy with its reason, where it is kept."""

    subject: Subject
    data: str
    parts: Dataset
    choice: Choice
    recipe: Recipe
    folder: Path

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return steps_per_epoch(len(self.parts.train), self.recipe.config.batch_size)


@dataclass(frozen=True)
class TuneListener:
    """Who is told: ``reading(done, total)`` images, warnings and what changed on the way, each step, each epoch."""

    reading: Callable[[int, int], None]
    note: Callable[[str], None]
    step: Callable[[int, int], None]
    epoch: Callable[[EpochRecord], None]


@dataclass(frozen=True, eq=False)
class FineTuned:
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
            ["test accuracy", f"{self.top1:.1%}, 95 % interval {low:.1%}–{high:.1%}"],
            ["test images", str(metrics["test"]["images"])],
            ["FLOPs", show_count(metrics["macs"])],
            ["parameters", show_count(metrics["params"])],
            ["resolution", f"{metrics['resolution']} px"],
            ["start", str(metrics["start"])],
            ["strategy", str(metrics["config"]["strategy"])],
            ["file", str(self.file)],
        ]
        return html_table(f"{metrics['model']} on {metrics['data']}", ("", ""), rows)


def subject(asked: TuneOptions, run: Path | None = None) -> Subject:
    """The network and the weights it would inherit, for its own number of classes. Raises UserError."""
    chosen = choose_scaling(run, None, (None, None, None), None)
    spec = asked.model
    if isinstance(spec, str):
        spec = named_spec(spec, chosen.baseline, chosen.coefficients, chosen.rounding)
    spec = spec if asked.resolution is None else replace(spec, resolution=asked.resolution)
    if asked.weights is None:
        return Subject(chosen, spec, None, None)
    require_memory(
        2 * FLOAT * cost(spec).params, f"--model {spec.name}", torch.device("cpu"), "Choose a smaller network."
    )
    source = open_weights(asked.weights, spec, asked.source_padding)
    if asked.source_padding is not None:
        spec = replace(spec, padding=source.spec.padding)  # the same tensors; the function is only kept with it
    return Subject(chosen, spec, source, inherit(source.spec, source.state, spec, seed=0)[1])


def prepare_tuning(asked: TuneOptions, found: Subject, out: Path | None = None) -> PreparedTuning:
    """Opens the images, fits the classifier, chooses the strategy; trains nothing and writes nothing.

    Args:
        found: of ``subject``.
        out: folder for the model; RUN/models/MODEL-DATA if None.

    Raises:
        UserError: an option that cannot be used.
    """
    name = _searched_data(found.chosen) if asked.data is None else asked.data
    parts = dataset(open_data(name, skip_broken=asked.skip_broken), found.spec.resolution)
    found = _for_classes(found, parts.classes)
    choice = _strategy(asked, found, parts)
    config = TrainConfig(
        epochs=asked.epochs, batch_size=asked.batch_size, warmup_epochs=min(1.0, asked.epochs / 4), seed=asked.seed,
        strategy=choice.strategy, lr=RATES[asked.optimizer] if asked.lr is None else asked.lr,
        optimizer=asked.optimizer,
        body_lr_ratio=_body_ratio(choice.strategy, found.source is not None, asked.body_lr_ratio),
        layer_decay=asked.layer_decay, tail_blocks=asked.tail_blocks, accumulate=asked.accumulate,
        patience=asked.patience, ema_decay=asked.ema, label_smoothing=asked.label_smoothing, recompute=asked.recompute,
    )  # fmt: skip
    validate(config)
    recipe = Recipe(config, augmentation(asked.augment, parts.source.flip), asked.balance, choice.reset_tail)
    folder = out or found.chosen.folder.parent / "models" / f"{found.spec.name}-{parts.source.name}"
    return PreparedTuning(found, name, parts, choice, recipe, folder)


def train(prepared: PreparedTuning, device: torch.device, listener: TuneListener) -> FineTuned:
    """Reads the images, claims the folder, inspects, trains, judges on test; run again, it continues.

    Raises:
        UserError: the folder is in use or holds another training, or preflight found what cannot work.
    """
    _require_memory(prepared, device)
    prepare(prepared.folder)
    parts, recipe, folder = prepared.parts, prepared.recipe, prepared.folder
    spec, source, plan = prepared.subject.spec, prepared.subject.source, prepared.subject.plan
    with locked(folder) if ranks().first else contextlib.nullcontext():
        read(parts, spec.resolution, listener.reading)
        started = {"start": "scratch"} if source is None or plan is None else inherited(source, plan)
        origin = {
            **provenance(str(device)), "data_argument": argument(prepared.data), **started,
            "strategy_why": prepared.choice.why,
        }  # fmt: skip
        if (folder / CHECKPOINT_FILE).exists():
            listener.note(f"Continues from the checkpoint in {folder}")
        start = begin(spec, parts, recipe, folder, source, device)
        for finding in inspect(start, parts, recipe, folder, source, device):
            if finding.level == "error":
                raise UserError(f"preflight, {finding.check}", finding.found, finding.expected, finding.do)
            listener.note(f"WARNING ({finding.check}): {finding}")
        metrics = finetune(
            start,
            parts,
            recipe,
            folder,
            device,
            Watcher(step=listener.step, epoch=listener.epoch, note=listener.note),
            origin,
        )
    return FineTuned(folder / MODEL_FILE, metrics)


def find_lr(
    prepared: PreparedTuning, device: torch.device, reading: Callable[[int, int], None]
) -> tuple[LrRange, Path]:
    """The loss while the learning rate rises step by step, and where it is drawn; trains nothing that is kept."""
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.lr_figure import lr_figure

    _require_memory(prepared, device)
    prepare(prepared.folder)
    parts, recipe, spec = prepared.parts, prepared.recipe, prepared.subject.spec
    read(parts, spec.resolution, reading)
    start = starting(spec, parts, recipe, prepared.subject.source, device)
    curve = lr_range(start.network, task_of(start, parts, recipe, device), recipe.config, device)
    path = prepared.folder / LR_FIGURE
    write_bytes(path, rendered(lr_figure(curve.lrs, curve.losses, curve.suggestion), "png"))
    return curve, path


def _require_memory(prepared: PreparedTuning, device: torch.device) -> None:
    """Refuses what cannot fit before a network is built; preflight looks more closely once it is."""
    config, count = prepared.recipe.config, len(prepared.parts.train)
    images = max(config.accumulate, min(config.batch_size, count) // ranks().count)
    needed = least_memory(prepared.subject.spec, replace(config, batch_size=images))
    do = "Choose a smaller network, lower --batch-size or --resolution, or give --recompute."
    require_memory(needed, f"--model {prepared.subject.spec.name}", device, do)


def read(parts: Dataset, resolution: int, reading: Callable[[int, int], None]) -> None:
    """Decodes all images, telling ``reading`` how many are done."""
    for part in (parts.train, parts.validation, parts.test):
        part.at(resolution, reading)


def _for_classes(found: Subject, classes: tuple[str, ...]) -> Subject:
    """With a classifier for these classes: inherited where the source has just these, else fresh."""
    spec, source = replace(found.spec, classes=len(classes)), found.source
    if source is None:
        return replace(found, spec=spec)
    kept = class_names(dict(source.metadata)) == classes
    return replace(found, spec=spec, plan=inherit(source.spec, source.state, spec, seed=0, classifier=kept)[1])


def _strategy(asked: TuneOptions, found: Subject, parts: Dataset) -> Choice:
    """As asked, or by the data. Raises UserError where nothing could be frozen."""
    if asked.strategy == "auto":
        coverage = None if found.plan is None else found.plan.coverage
        return choose_strategy(len(parts.train), len(parts.classes), coverage)
    require_weights(asked.strategy, found.source is not None)
    return Choice(asked.strategy, reset_tail=asked.reset_tail)


def _body_ratio(strategy: str, inherits: bool, given: float | None) -> float:
    """The body's share of the head's learning rate."""
    if given is not None:
        return given
    return BODY_RATIO if inherits and strategy in ("full", "gradual") else 1.0


def _searched_data(chosen: Scaling) -> str:
    """What the search was given as --data. Raises UserError where nothing was searched."""
    if chosen.data is None:
        raise UserError("--data", "nothing", "a folder of images, a torchvision set, or glyphs")
    return chosen.data
