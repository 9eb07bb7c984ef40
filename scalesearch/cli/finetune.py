"""Commands that train one network and read it back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.cli.design import JsonOption, RunOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.cli.source import Scaling

DataOption = Annotated[
    str | None,
    typer.Option(help="A folder, a torchvision set, or glyphs; the search's or the model's own if left out."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave unreadable images out.")]


def finetune(
    model: Annotated[
        str, typer.Option(help="b0 to b6, phi2.5, a spec file, a space, or a released one: efficientnet_b3.")
    ] = "b1",
    data: DataOption = None,
    run: RunOption = None,
    weights: Annotated[
        Path | None, typer.Option(help="State dict of the same architecture to start from; scratch if left out.")
    ] = None,
    strategy: Annotated[
        Literal["full", "head"], typer.Option(help="Train everything, or a new head on a frozen body.")
    ] = "full",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    resolution: Annotated[int | None, typer.Option(min=8, max=4096, help="Side in pixels; the network's own.")] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images a step.")] = 32,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate: 0.003 from scratch and for a head, else 0.001.")
    ] = None,
    body_lr_ratio: Annotated[
        float | None, typer.Option(help="The body's learning rate over the head's: 1 from scratch, else 0.1.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the model; RUN/models/MODEL-DATA if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Train one member; judge it on the test images.

    Run it again to continue where it was interrupted.

    Example: scalesearch finetune --model b1 --data path/to/images
    """
    import shlex
    from dataclasses import replace

    from scalesearch.cli.progress import Bar, EpochProgress, interruptible, say
    from scalesearch.cli.show import print_json
    from scalesearch.cli.source import choose_scaling
    from scalesearch.cli.units import show_count
    from scalesearch.data.batches import steps_per_epoch
    from scalesearch.data.dataset import dataset, open_data
    from scalesearch.design.cost import cost
    from scalesearch.search.facts import argument, provenance
    from scalesearch.search.family import named_spec
    from scalesearch.search.folder import locked, prepare
    from scalesearch.training.config import TrainConfig, validate
    from scalesearch.training.device import choose_device
    from scalesearch.training.finetune import DATA, MODEL_FILE, Watcher
    from scalesearch.training.finetune import finetune as train

    if strategy == "head" and weights is None:
        raise UserError("--strategy head", "no --weights", "weights to freeze", "Give --weights, or --strategy full.")
    chosen = choose_scaling(run, None, (None, None, None), None)
    spec = named_spec(model, chosen.baseline, chosen.coefficients, chosen.rounding)
    spec = spec if resolution is None else replace(spec, resolution=resolution)
    fresh = weights is None or strategy == "head"  # what is trained starts from nothing
    config = TrainConfig(
        epochs=epochs, batch_size=batch_size, warmup_epochs=min(1.0, epochs / 4), seed=seed, strategy=strategy,
        lr=(3e-3 if fresh else 1e-3) if lr is None else lr,
        body_lr_ratio=(1.0 if fresh else 0.1) if body_lr_ratio is None else body_lr_ratio,
    )  # fmt: skip
    validate(config)
    where = choose_device(device)
    name = _searched_data(chosen) if data is None else data
    source = open_data(name, skip_broken=skip_broken)
    parts = dataset(source, spec.resolution)
    folder = out or chosen.folder.parent / "models" / f"{spec.name}-{source.name}"
    prepare(folder)
    spec = replace(spec, classes=len(parts.classes))
    if not json:
        for note in source.notes:
            say(f"Note: {note}")
        say(chosen.origin)
        sizes = cost(spec)
        say(f"{spec.name}: {spec.resolution} px, {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} parameters")
        counts = f"{len(parts.train)} train, {len(parts.validation)} validation, {len(parts.test)} test images"
        say(f"{source.name}: {len(parts.classes)} classes, {counts}")
    steps = steps_per_epoch(len(parts.train), batch_size)
    with interruptible(), locked(folder), Bar(epochs * steps, 0, quiet=json) as bar:
        progress = EpochProgress(bar, epochs, steps)
        for part in (parts.train, parts.validation, parts.test):
            part.at(spec.resolution, bar.reading)
        origin = {**provenance(str(where)), DATA: argument(name)}
        watcher = Watcher(progress.step, progress.epoch)
        metrics = train(spec, parts, config, folder, weights, where, watcher, origin)
    if json:
        print_json({**metrics, "file": str(folder / MODEL_FILE)})
        return
    _print_test(metrics["test"])
    say(f"Model: {folder / MODEL_FILE}")
    say(f"Read it back: scalesearch evaluate {folder / MODEL_FILE} --data {shlex.quote(name)}")


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model.safetensors that finetune wrote.")],
    data: DataOption = None,
    part: Annotated[Literal["test", "validation", "train"], typer.Option(help="Which images.")] = "test",
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    json: JsonOption = False,
) -> None:
    """Judge a saved model: top-1, top-5, per class.

    Example: scalesearch evaluate runs/mbconv_small-glyphs-own/models/b1-glyphs/model.safetensors
    """
    from scalesearch.cli.show import print_json, print_table
    from scalesearch.data.dataset import dataset, open_data
    from scalesearch.nets.weights import load_network
    from scalesearch.training.device import choose_device
    from scalesearch.training.finetune import DATA, evaluate_model, report
    from scalesearch.training.metrics import class_accuracy, confusion

    network, metadata = load_network(model)
    name = metadata.get(DATA, "") if data is None else data
    parts = dataset(open_data(name, skip_broken=skip_broken), network.spec.resolution)
    found = evaluate_model(network, metadata, parts, part, choose_device(device))
    counts = confusion(found.labels, found.predictions, len(parts.classes))
    values = {**report(found), "part": part, "per_class": dict(zip(parts.classes, class_accuracy(counts), strict=True))}
    if json:
        print_json(values)
        return
    _print_test(values, part)
    totals = counts.sum(1)
    print_table(
        "Per class",
        ("class", "images", "accuracy"),
        [
            [name, str(total), f"{share:.1%}"]
            for (name, share), total in zip(values["per_class"].items(), totals, strict=True)
        ],
    )


def _print_test(values: dict[str, Any], part: str = "test") -> None:
    from scalesearch.cli.progress import say

    say(
        f"Accuracy on {values['images']} {part} images: {values['top1']:.1%} (95 % interval {values['low']:.1%}–"
        f"{values['high']:.1%}), top-5 {values['top5']:.1%}"
    )


def _searched_data(chosen: "Scaling") -> str:
    """What the search was given as --data. Raises UserError where nothing was searched."""
    if chosen.data is None:
        raise UserError("--data", "nothing", "a folder of images, a torchvision set, or glyphs")
    return chosen.data
