"""The command that trains one network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalesearch.cli.design import JsonOption, RunOption
from scalesearch.cli.options import DataOption, DeviceOption, SkipOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.cli.source import Scaling


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
    source_padding: Annotated[
        Literal["symmetric", "same"] | None,
        typer.Option(help="How the source was padded, if not as known: same for weights from TensorFlow."),
    ] = None,
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
    full_plan: Annotated[bool, typer.Option("--plan", help="Only print what becomes of every tensor.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the model; RUN/models/MODEL-DATA if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Train one member, from scratch or from the weights of another network; judge it on the test images.

    Run it again to continue where it was interrupted.

    Example: scalesearch finetune --model b1 --weights imagenet --data path/to/images
    """
    import shlex
    from dataclasses import replace

    from scalesearch.cli.evaluate import print_test
    from scalesearch.cli.inheritance import print_plan, print_whole_plan
    from scalesearch.cli.progress import Bar, EpochProgress, interruptible, say
    from scalesearch.cli.show import print_json
    from scalesearch.cli.source import choose_scaling
    from scalesearch.cli.units import show_count
    from scalesearch.data.batches import steps_per_epoch
    from scalesearch.data.dataset import dataset, open_data
    from scalesearch.design.cost import cost
    from scalesearch.nets.inherit import inherit
    from scalesearch.nets.weight_source import open_weights
    from scalesearch.search.facts import argument, provenance
    from scalesearch.search.family import named_spec
    from scalesearch.search.folder import locked, prepare
    from scalesearch.training.auto import Choice, choose_strategy
    from scalesearch.training.config import TrainConfig, validate
    from scalesearch.training.device import choose_device
    from scalesearch.training.finetune import MODEL_FILE, Watcher, begin, inherited, inspect
    from scalesearch.training.finetune import finetune as train
    from scalesearch.training.recipe import Recipe, augmentation

    if weights is None and strategy in ("head", "tail", "gradual"):
        raise UserError(
            f"--strategy {strategy}", "no --weights", "weights to freeze", "Give --weights, or --strategy full."
        )
    chosen = choose_scaling(run, None, (None, None, None), None)
    spec = named_spec(model, chosen.baseline, chosen.coefficients, chosen.rounding)
    spec = spec if resolution is None else replace(spec, resolution=resolution)
    source = None if weights is None else open_weights(weights, spec, source_padding)
    if source is not None and source.spec.padding != spec.padding and source_padding is not None:
        spec = replace(spec, padding=source.spec.padding)  # the same tensors; the function is only kept with it
    plan = None if source is None else inherit(source.spec, source.state, spec, seed=seed)[1]
    if full_plan:
        if plan is None:
            raise UserError("--plan", "no --weights", "weights to inherit")
        print_json(plan.to_dict()) if json else print_whole_plan(plan)
        return
    where = choose_device(device)
    name = _searched_data(chosen) if data is None else data
    images = open_data(name, skip_broken=skip_broken)
    parts = dataset(images, spec.resolution)
    found = (
        choose_strategy(len(parts.train), len(parts.classes), None if plan is None else plan.coverage)
        if strategy == "auto"
        else Choice(strategy, reset_tail=reset_tail)
    )
    config = TrainConfig(
        epochs=epochs, batch_size=batch_size, warmup_epochs=min(1.0, epochs / 4), seed=seed, strategy=found.strategy,
        lr=(3e-3 if optimizer == "adamw" else 0.05) if lr is None else lr, optimizer=optimizer,
        body_lr_ratio=_body_ratio(found.strategy, source is not None) if body_lr_ratio is None else body_lr_ratio,
        layer_decay=layer_decay, tail_blocks=tail_blocks, accumulate=accumulate, patience=patience, ema_decay=ema,
        label_smoothing=label_smoothing,
    )  # fmt: skip
    validate(config)
    recipe = Recipe(config, augmentation(augment, images.flip), balance, found.reset_tail)
    folder = out or chosen.folder.parent / "models" / f"{spec.name}-{images.name}"
    prepare(folder)
    spec = replace(spec, classes=len(parts.classes))
    if not json:
        for note in images.notes:
            say(f"Note: {note}")
        say(chosen.origin)
        sizes = cost(spec)
        say(f"{spec.name}: {spec.resolution} px, {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} parameters")
        counts = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test images"
        say(f"{images.name}: {len(parts.classes)} classes, {counts}")
        if source is not None and plan is not None:
            print_plan(source, plan)
        say(f"Strategy: {found.strategy}" + (f" ({found.why})" if found.why else ""))
    steps = steps_per_epoch(len(parts.train), batch_size)
    with interruptible(), locked(folder), Bar(epochs * steps, 0, quiet=json) as bar:
        progress = EpochProgress(bar, epochs, steps)
        for part in (parts.train, parts.validation, parts.test):
            part.at(spec.resolution, bar.reading)
        started = {"start": "scratch"} if source is None or plan is None else inherited(source, plan)
        origin = {**provenance(str(where)), "data_argument": argument(name), **started, "strategy_why": found.why}
        start = begin(spec, parts, recipe, folder, source, where)
        for finding in inspect(start, parts, recipe, folder, source, where):
            if finding.level == "error":
                raise UserError(f"preflight, {finding.check}", finding.found, finding.expected, finding.do)
            bar.note(f"WARNING ({finding.check}): {finding}")
        metrics = train(start, parts, recipe, folder, where, Watcher(progress.step, progress.epoch), origin)
    if json:
        print_json({**metrics, "file": str(folder / MODEL_FILE)})
        return
    print_test(metrics["test"])
    say(f"Model: {folder / MODEL_FILE}")
    say(f"Read it back: scalesearch evaluate {folder / MODEL_FILE} --data {shlex.quote(name)}")
    say(f"Use it: scalesearch predict {folder / MODEL_FILE} IMAGES")


def _body_ratio(strategy: str, inherits: bool) -> float:
    """The body's share of the head's learning rate: measured on flowers (reports/LOG.md), 0.3 beats 0.1 and 1."""
    return 0.3 if inherits and strategy in ("full", "gradual") else 1.0


def _searched_data(chosen: "Scaling") -> str:
    """What the search was given as --data. Raises UserError where nothing was searched."""
    if chosen.data is None:
        raise UserError("--data", "nothing", "a folder of images, a torchvision set, or glyphs")
    return chosen.data
