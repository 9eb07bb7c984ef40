"""The command that trains one network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalesearch.cli import complete
from scalesearch.cli.options import (
    DATA,
    MEMORY,
    NETWORK,
    OUTPUT,
    TRAINING,
    TRANSFER,
    DataOption,
    DeviceOption,
    JsonOption,
    PaddingOption,
    RunOption,
    SkipOption,
    WeightsOption,
)
from scalesearch.errors import UserError

if TYPE_CHECKING:
    import torch

    from scalesearch.api.tuning import PreparedTuning, Subject


def finetune(
    model: Annotated[
        str,
        typer.Option(
            help="b0 to b6, phi2.5, a spec file, a space, or a released one: efficientnet_b3.",
            rich_help_panel=NETWORK,
            autocompletion=complete.models,
        ),
    ] = "b1",
    data: DataOption = None,
    run: RunOption = None,
    weights: WeightsOption = None,
    source_padding: PaddingOption = None,
    strategy: Annotated[
        Literal["auto", "head", "tail", "full", "gradual"],
        typer.Option(
            help="head: on a frozen body. tail: the last blocks too. full: everything, the body more slowly. "
            "gradual: head, tail, everything in turn. auto: by the amount of data.",
            rich_help_panel=TRANSFER,
        ),
    ] = "auto",
    tail_blocks: Annotated[int, typer.Option(min=0, help="Blocks of the tail.", rich_help_panel=TRANSFER)] = 3,
    reset_tail: Annotated[
        bool, typer.Option("--reset-tail", help="New weights for the tail's blocks first.", rich_help_panel=TRANSFER)
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.", rich_help_panel=TRAINING)] = 20,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after so many epochs without a better one, and keep the best; 0: never.",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    resolution: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Side in pixels; the network's own.", rich_help_panel=NETWORK)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.", rich_help_panel=TRAINING)] = 32,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Parts that a step's images are split into.", rich_help_panel=MEMORY)
    ] = 1,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Less memory for a third more time: nothing is kept for backward.",
            rich_help_panel=MEMORY,
        ),
    ] = False,
    optimizer: Annotated[
        Literal["adamw", "sgd"], typer.Option(help="AdamW, or SGD with momentum.", rich_help_panel=TRAINING)
    ] = "adamw",
    lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate of the head: 0.003; 0.05 for sgd.", rich_help_panel=TRAINING),
    ] = None,
    body_lr_ratio: Annotated[
        float | None,
        typer.Option(
            help="The body's learning rate over the head's: 0.3 for inherited weights, else 1.",
            rich_help_panel=TRANSFER,
        ),
    ] = None,
    layer_decay: Annotated[
        float,
        typer.Option(
            help="Each block further from the head learns at this share of the next one's rate.",
            rich_help_panel=TRANSFER,
        ),
    ] = 1.0,
    ema: Annotated[
        float, typer.Option(help="Decay of averaged weights, e.g. 0.99; 0: none.", rich_help_panel=TRAINING)
    ] = 0.0,
    label_smoothing: Annotated[
        float, typer.Option(help="Share of a target spread over all classes.", rich_help_panel=TRAINING)
    ] = 0.1,
    augment: Annotated[
        Literal["light", "medium", "strong"],
        typer.Option(help="Crop and flip; RandAugment and erasing too; MixUp and CutMix too.", rich_help_panel=DATA),
    ] = "light",
    balance: Annotated[
        bool, typer.Option("--balance", help="Rare classes weigh as much as common ones.", rich_help_panel=DATA)
    ] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr", help="Only suggest a learning rate: the loss while it rises, drawn.", rich_help_panel=TRAINING
        ),
    ] = False,
    full_plan: Annotated[
        bool, typer.Option("--plan", help="Only print what becomes of every tensor.", rich_help_panel=OUTPUT)
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of initial weights, order and augmentation.", rich_help_panel=TRAINING)
    ] = 0,
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the model; RUN/models/MODEL-DATA if left out.", rich_help_panel=OUTPUT),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train one member, from scratch or from the weights of another network; judge it on the test images.

    Run it again to continue where it was interrupted. On several GPUs: torchrun --nproc-per-node N -m scalesearch
    finetune, with the same options; --batch-size is that of all of them together.

    Examples:

      scalesearch finetune --model b1 --data path/to/images

      scalesearch finetune --model b1 --weights imagenet --data path/to/images --strategy gradual

      scalesearch finetune --model efficientnet_b3 --weights imagenet --accumulate 4 --find-lr
    """
    from scalesearch.api.tuning import TuneOptions, prepare_tuning, subject
    from scalesearch.cli.progress import interruptible
    from scalesearch.training.device import choose_device
    from scalesearch.training.distributed import joined

    asked = TuneOptions(
        model=model, data=data, weights=weights, source_padding=source_padding, strategy=strategy,
        tail_blocks=tail_blocks, reset_tail=reset_tail, epochs=epochs, patience=patience, resolution=resolution,
        batch_size=batch_size, accumulate=accumulate, recompute=recompute, optimizer=optimizer, lr=lr,
        body_lr_ratio=body_lr_ratio, layer_decay=layer_decay, ema=ema, label_smoothing=label_smoothing,
        augment=augment, balance=balance, seed=seed, skip_broken=skip_broken,
    )  # fmt: skip
    with interruptible(), joined(choose_device(device)) as where:
        found = subject(asked, run)
        if full_plan:
            _print_plan(found, json)
            return
        prepared = prepare_tuning(asked, found, out)
        if not json:
            _introduce(prepared)
        if find_lr:
            _find_lr(prepared, where, json)
        else:
            _train(prepared, where, json)


def _print_plan(found: "Subject", json: bool) -> None:
    from scalesearch.cli.inheritance import print_whole_plan
    from scalesearch.cli.show import print_json

    if found.plan is None:
        raise UserError("--plan", "no --weights", "weights to inherit")
    print_json(found.plan.to_dict()) if json else print_whole_plan(found.plan)


def _introduce(prepared: "PreparedTuning") -> None:
    """What will be trained on what, and how."""
    from scalesearch.cli.inheritance import print_plan
    from scalesearch.cli.progress import detail, explain
    from scalesearch.design.cost import cost
    from scalesearch.units import show_count

    found, parts, choice = prepared.subject, prepared.parts, prepared.choice
    spec, images = found.spec, parts.source
    for note in images.notes:
        explain(f"Note: {note}")
    explain(found.chosen.origin)
    sizes = cost(spec)
    explain(f"{spec.name}: {spec.resolution} px, {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} parameters")
    counts = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test images"
    explain(f"{images.name}: {len(parts.classes)} classes, {counts}")
    if found.source is not None and found.plan is not None:
        print_plan(found.source, found.plan)
    explain(f"Strategy: {choice.strategy}" + (f" ({choice.why})" if choice.why else ""))
    detail(f"Network {spec.digest}, images {parts.digest}, folder {prepared.folder}")
    detail(f"Training: {prepared.recipe}")


def _train(prepared: "PreparedTuning", where: "torch.device", json: bool) -> None:
    """Trains, and says where the model is."""
    import shlex

    from scalesearch.api.tuning import TuneListener, train
    from scalesearch.cli.evaluate import print_test
    from scalesearch.cli.progress import Bar, EpochProgress, explain, say
    from scalesearch.cli.show import print_json
    from scalesearch.training.distributed import ranks

    epochs, steps = prepared.recipe.config.epochs, prepared.steps
    with Bar(epochs * steps, 0, quiet=json or not ranks().first) as bar:
        progress = EpochProgress(bar, epochs, steps)
        listener = TuneListener(bar.reading, bar.note, progress.step, progress.epoch)
        found = train(prepared, where, listener)
    if json:
        print_json({**found.metrics, "file": str(found.file)})
        return
    print_test(found.metrics["test"])
    say(f"Model: {found.file}")
    explain(f"Read it back: scalesearch evaluate {found.file} --data {shlex.quote(prepared.data)}")
    explain(f"Use it: scalesearch predict {found.file} IMAGES")


def _find_lr(prepared: "PreparedTuning", where: "torch.device", json: bool) -> None:
    """Raises the learning rate step by step, draws the loss and says which rate suits."""
    from dataclasses import asdict

    from scalesearch.api.tuning import find_lr
    from scalesearch.cli.progress import Bar, explain, say
    from scalesearch.cli.show import print_json

    if not json:
        explain("Raising the learning rate for up to 100 steps; as long as 100 steps of training take")
    with Bar(0, 0, quiet=json) as bar:
        curve, figure = find_lr(prepared, where, bar.reading)
    if json:
        print_json({**asdict(curve), "figure": str(figure)})
        return
    say(f"Suggested: --lr {curve.suggestion:g} (a tenth of the rate with the lowest loss, {len(curve.lrs)} steps)")
    say(f"Figure: {figure}")
