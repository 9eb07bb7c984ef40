"""The command that trains one network."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalesearch.cli.design import JsonOption, RunOption
from scalesearch.cli.options import BODY_RATIO, DataOption, DeviceOption, PaddingOption, SkipOption
from scalesearch.errors import UserError
from scalesearch.training.auto import Choice, choose_strategy
from scalesearch.training.config import TrainConfig, validate

if TYPE_CHECKING:
    import torch

    from scalesearch.cli.progress import Bar
    from scalesearch.cli.source import Scaling
    from scalesearch.data.dataset import Dataset
    from scalesearch.design.spec import NetSpec
    from scalesearch.nets.transfer_plan import TransferPlan
    from scalesearch.nets.weight_source import WeightSource
    from scalesearch.training.recipe import Recipe

RATES = {"adamw": 3e-3, "sgd": 0.05}
LR_FIGURE = "learning_rate.png"


def finetune(
    model: Annotated[
        str, typer.Option(help="b0 to b6, phi2.5, a spec file, a space, or a released one: efficientnet_b3.")
    ] = "b1",
    data: DataOption = None,
    run: RunOption = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="What to inherit, whatever its width and depth: imagenet (torchvision's nearest), a name of "
            "torchvision's, a file, a folder of files; scratch if left out."
        ),
    ] = None,
    source_padding: PaddingOption = None,
    strategy: Annotated[
        Literal["auto", "head", "tail", "full", "gradual"],
        typer.Option(
            help="head: on a frozen body. tail: the last blocks too. full: everything, the body more slowly. "
            "gradual: head, tail, everything in turn. auto: by the amount of data."
        ),
    ] = "auto",
    tail_blocks: Annotated[int, typer.Option(min=0, help="Blocks of the tail.")] = 3,
    reset_tail: Annotated[bool, typer.Option("--reset-tail", help="New weights for the tail's blocks first.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after so many epochs without a better one, and keep the best; 0: never.")
    ] = 0,
    resolution: Annotated[int | None, typer.Option(min=8, max=4096, help="Side in pixels; the network's own.")] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 32,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts that a step's images are split into.")] = 1,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Less memory for a third more time: nothing is kept for backward.")
    ] = False,
    optimizer: Annotated[Literal["adamw", "sgd"], typer.Option(help="AdamW, or SGD with momentum.")] = "adamw",
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of the head: 0.003; 0.05 for sgd.")] = None,
    body_lr_ratio: Annotated[
        float | None, typer.Option(help="The body's learning rate over the head's: 0.3 for inherited weights, else 1.")
    ] = None,
    layer_decay: Annotated[
        float, typer.Option(help="Each block further from the head learns at this share of the next one's rate.")
    ] = 1.0,
    ema: Annotated[float, typer.Option(help="Decay of averaged weights, e.g. 0.99; 0: none.")] = 0.0,
    label_smoothing: Annotated[float, typer.Option(help="Share of a target spread over all classes.")] = 0.1,
    augment: Annotated[
        Literal["light", "medium", "strong"],
        typer.Option(help="Crop and flip; RandAugment and erasing too; MixUp and CutMix too."),
    ] = "light",
    balance: Annotated[bool, typer.Option("--balance", help="Rare classes weigh as much as common ones.")] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only suggest a learning rate: the loss while it rises, drawn.")
    ] = False,
    full_plan: Annotated[bool, typer.Option("--plan", help="Only print what becomes of every tensor.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the model; RUN/models/MODEL-DATA if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Train one member, from scratch or from the weights of another network; judge it on the test images.

    Run it again to continue where it was interrupted. On several GPUs: torchrun --nproc-per-node N -m scalesearch
    finetune, with the same options; --batch-size is that of all of them together.

    Example: scalesearch finetune --model b1 --weights imagenet --data path/to/images
    """
    from scalesearch.cli.progress import interruptible
    from scalesearch.training.device import choose_device
    from scalesearch.training.distributed import joined
    from scalesearch.training.recipe import Recipe, augmentation

    with interruptible(), joined(choose_device(device)) as where:
        found = _network(model, run, weights, source_padding, resolution)
        if full_plan:
            _print_plan(found, json)
            return
        name = _searched_data(found.chosen) if data is None else data
        parts = _images(name, skip_broken, found.spec.resolution)
        found = _for_classes(found, parts.classes)
        choice = _strategy(strategy, reset_tail, found, parts)
        config = TrainConfig(
            epochs=epochs, batch_size=batch_size, warmup_epochs=min(1.0, epochs / 4), seed=seed,
            strategy=choice.strategy, lr=RATES[optimizer] if lr is None else lr, optimizer=optimizer,
            body_lr_ratio=_body_ratio(choice.strategy, found.source is not None, body_lr_ratio),
            layer_decay=layer_decay, tail_blocks=tail_blocks, accumulate=accumulate, patience=patience, ema_decay=ema,
            label_smoothing=label_smoothing, recompute=recompute,
        )  # fmt: skip
        validate(config)
        recipe = Recipe(config, augmentation(augment, parts.source.flip), balance, choice.reset_tail)
        folder = out or found.chosen.folder.parent / "models" / f"{found.spec.name}-{parts.source.name}"
        if not json:
            _introduce(found, parts, choice)
        if find_lr:
            _find_lr(found, parts, recipe, folder, where, json)
        else:
            _train(found, parts, recipe, folder, where, name, choice.why, json)


@dataclass(frozen=True, eq=False)
class _Network:
    """What is to be trained, and what it starts from."""

    chosen: "Scaling"
    spec: "NetSpec"
    source: "WeightSource | None"
    plan: "TransferPlan | None"


def _network(
    model: str, run: Path | None, weights: str | None, source_padding: str | None, resolution: int | None
) -> _Network:
    from scalesearch.cli.source import choose_scaling
    from scalesearch.nets.inherit import inherit
    from scalesearch.nets.weight_source import open_weights
    from scalesearch.search.family import named_spec

    chosen = choose_scaling(run, None, (None, None, None), None)
    spec = named_spec(model, chosen.baseline, chosen.coefficients, chosen.rounding)
    spec = spec if resolution is None else replace(spec, resolution=resolution)
    if weights is None:
        return _Network(chosen, spec, None, None)
    source = open_weights(weights, spec, source_padding)
    if source_padding is not None:
        spec = replace(spec, padding=source.spec.padding)  # the same tensors; the function is only kept with it
    return _Network(chosen, spec, source, inherit(source.spec, source.state, spec, seed=0)[1])


def _for_classes(found: _Network, classes: tuple[str, ...]) -> _Network:
    """With a classifier for these classes: inherited where the source has just these, else fresh."""
    from scalesearch.nets.inherit import inherit
    from scalesearch.training.model_file import class_names

    spec, source = replace(found.spec, classes=len(classes)), found.source
    if source is None:
        return replace(found, spec=spec)
    kept = class_names(dict(source.metadata)) == classes
    return replace(found, spec=spec, plan=inherit(source.spec, source.state, spec, seed=0, classifier=kept)[1])


def _print_plan(found: _Network, json: bool) -> None:
    from scalesearch.cli.inheritance import print_whole_plan
    from scalesearch.cli.show import print_json

    if found.plan is None:
        raise UserError("--plan", "no --weights", "weights to inherit")
    print_json(found.plan.to_dict()) if json else print_whole_plan(found.plan)


def _images(name: str, skip_broken: bool, resolution: int) -> "Dataset":
    from scalesearch.data.dataset import dataset, open_data

    return dataset(open_data(name, skip_broken=skip_broken), resolution)


def _strategy(asked: str, reset_tail: bool, found: _Network, parts: "Dataset") -> Choice:
    """As asked, or by the data. Raises UserError where nothing could be frozen."""
    if asked == "auto":
        coverage = None if found.plan is None else found.plan.coverage
        return choose_strategy(len(parts.train), len(parts.classes), coverage)
    if found.source is None and asked != "full":
        raise UserError(
            f"--strategy {asked}", "no --weights", "weights to freeze", "Give --weights, or --strategy full."
        )
    return Choice(asked, reset_tail=reset_tail)  # type: ignore[arg-type]  # typer admits no other


def _introduce(found: _Network, parts: "Dataset", choice: Choice) -> None:
    """What will be trained on what, and how."""
    from scalesearch.cli.inheritance import print_plan
    from scalesearch.cli.progress import say
    from scalesearch.cli.units import show_count
    from scalesearch.design.cost import cost

    spec, images = found.spec, parts.source
    for note in images.notes:
        say(f"Note: {note}")
    say(found.chosen.origin)
    sizes = cost(spec)
    say(f"{spec.name}: {spec.resolution} px, {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} parameters")
    counts = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test images"
    say(f"{images.name}: {len(parts.classes)} classes, {counts}")
    if found.source is not None and found.plan is not None:
        print_plan(found.source, found.plan)
    say(f"Strategy: {choice.strategy}" + (f" ({choice.why})" if choice.why else ""))


def _train(
    found: _Network, parts: "Dataset", recipe: "Recipe", folder: Path, where: "torch.device", name: str, why: str,
    json: bool,
) -> None:  # fmt: skip
    """Trains, and says where the model is."""
    import shlex
    from contextlib import nullcontext

    from scalesearch.cli.evaluate import print_test
    from scalesearch.cli.progress import Bar, EpochProgress, say
    from scalesearch.cli.show import print_json
    from scalesearch.data.batches import steps_per_epoch
    from scalesearch.search.facts import argument, provenance
    from scalesearch.search.folder import locked, prepare
    from scalesearch.training.distributed import ranks
    from scalesearch.training.finetune import MODEL_FILE, Watcher, begin, finetune, inherited, inspect

    prepare(folder)
    config, source, first = recipe.config, found.source, ranks().first
    steps = steps_per_epoch(len(parts.train), config.batch_size)
    with (
        locked(folder) if first else nullcontext(),
        Bar(config.epochs * steps, 0, quiet=json or not first) as bar,
    ):
        _read(parts, found.spec.resolution, bar)
        started = {"start": "scratch"} if source is None or found.plan is None else inherited(source, found.plan)
        origin = {**provenance(str(where)), "data_argument": argument(name), **started, "strategy_why": why}
        start = begin(found.spec, parts, recipe, folder, source, where)
        for finding in inspect(start, parts, recipe, folder, source, where):
            if finding.level == "error":
                raise UserError(f"preflight, {finding.check}", finding.found, finding.expected, finding.do)
            bar.note(f"WARNING ({finding.check}): {finding}")
        progress = EpochProgress(bar, config.epochs, steps)
        metrics = finetune(
            start, parts, recipe, folder, where, Watcher(progress.step, progress.epoch, bar.note), origin
        )
    if json:
        print_json({**metrics, "file": str(folder / MODEL_FILE)})
        return
    print_test(metrics["test"])
    say(f"Model: {folder / MODEL_FILE}")
    say(f"Read it back: scalesearch evaluate {folder / MODEL_FILE} --data {shlex.quote(name)}")
    say(f"Use it: scalesearch predict {folder / MODEL_FILE} IMAGES")


def _find_lr(
    found: _Network, parts: "Dataset", recipe: "Recipe", folder: Path, where: "torch.device", json: bool
) -> None:
    """Raises the learning rate step by step, draws the loss and says which rate suits."""
    from dataclasses import asdict

    from scalesearch.cli.progress import Bar, say
    from scalesearch.cli.show import print_json
    from scalesearch.files import write_bytes
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.lr_figure import lr_figure
    from scalesearch.search.folder import prepare
    from scalesearch.training.finetune import starting, training_of
    from scalesearch.training.lr_range import lr_range

    prepare(folder)
    with Bar(0, 0, quiet=json) as bar:
        _read(parts, found.spec.resolution, bar)
        start = starting(found.spec, parts, recipe, found.source, where)
        batches, _, loss = training_of(start, parts, recipe, where)
        curve = lr_range(start.network, batches, recipe.config, loss, where)
    write_bytes(folder / LR_FIGURE, rendered(lr_figure(curve.lrs, curve.losses, curve.suggestion), "png"))
    if json:
        print_json({**asdict(curve), "figure": str(folder / LR_FIGURE)})
        return
    say(f"Suggested: --lr {curve.suggestion:g} (a tenth of the rate with the lowest loss, {len(curve.lrs)} steps)")
    say(f"Figure: {folder / LR_FIGURE}")


def _read(parts: "Dataset", resolution: int, bar: "Bar") -> None:
    """Decodes all images while the bar shows it."""
    for part in (parts.train, parts.validation, parts.test):
        part.at(resolution, bar.reading)


def _body_ratio(strategy: str, inherits: bool, given: float | None) -> float:
    """The body's share of the head's learning rate."""
    if given is not None:
        return given
    return BODY_RATIO if inherits and strategy in ("full", "gradual") else 1.0


def _searched_data(chosen: "Scaling") -> str:
    """What the search was given as --data. Raises UserError where nothing was searched."""
    if chosen.data is None:
        raise UserError("--data", "nothing", "a folder of images, a torchvision set, or glyphs")
    return chosen.data
