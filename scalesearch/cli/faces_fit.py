"""The command that trains an embedding of faces."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalesearch.cli.faces_options import FOLDER, model_option, open_detector
from scalesearch.cli.options import (
    DATA,
    NETWORK,
    OUTPUT,
    TRAINING,
    TRANSFER,
    DeviceOption,
    JsonOption,
    PaddingOption,
    SkipOption,
)

if TYPE_CHECKING:
    from scalesearch.cli.shell import Bar
    from scalesearch.training.history import EpochRecord


def fit(
    data: Annotated[str, typer.Option(help="Folder with a folder of photos per person.", rich_help_panel=DATA)],
    model: Annotated[
        str,
        typer.Option(
            help="b0 to b6, phi2.5, a spec file, a space, or a released network: efficientnet_b3.",
            rich_help_panel=NETWORK,
        ),
    ] = "b0",
    weights: Annotated[
        str | None,
        typer.Option(
            help="What the body inherits: imagenet (torchvision's nearest, downloaded), a name of torchvision's, a "
            "file, a folder of files; scratch for none.",
            rich_help_panel=NETWORK,
        ),
    ] = "imagenet",
    source_padding: PaddingOption = None,
    crop: Annotated[
        bool,
        typer.Option(
            "--crop", help="Find the largest face on each photo and turn it upright first.", rich_help_panel=DATA
        ),
    ] = False,
    resolution: Annotated[
        int, typer.Option(min=16, max=4096, help="Side of a face in pixels.", rich_help_panel=NETWORK)
    ] = 112,
    dimensions: Annotated[
        int, typer.Option(min=2, max=4096, help="Numbers of an embedding.", rich_help_panel=NETWORK)
    ] = 128,
    loss: Annotated[
        Literal["triplet", "arcface", "cosface", "proxy-nca", "proxy-anchor"],
        typer.Option(help="Triplet loss, or one with a learned vector per person.", rich_help_panel=TRAINING),
    ] = "triplet",
    mining: Annotated[
        Literal["all", "semi-hard", "batch-hard"],
        typer.Option(help="Which triplets of a batch count.", rich_help_panel=TRAINING),
    ] = "all",
    margin: Annotated[
        float, typer.Option(help="Of the triplet loss, between squared distances.", rich_help_panel=TRAINING)
    ] = 0.2,
    recover: Annotated[
        bool,
        typer.Option(
            "--recover/--no-recover", help="After a collapse, go on with gentler mining.", rich_help_panel=TRAINING
        ),
    ] = True,
    people: Annotated[int, typer.Option(min=2, help="P: people of a batch.", rich_help_panel=TRAINING)] = 16,
    photos: Annotated[int, typer.Option(min=2, help="K: photos of each of them.", rich_help_panel=TRAINING)] = 4,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Passes over everybody's photos; as many as make 400 steps, 8 to 40.", rich_help_panel=TRAINING
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after so many epochs without a better one on held-out people; 0: never.",
            rich_help_panel=TRAINING,
        ),
    ] = 0,
    held_out: Annotated[
        float | None,
        typer.Option(
            help="Share of the people to watch the training by; a tenth of 50 or more if left out.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    strategy: Annotated[
        Literal["head", "tail", "full", "gradual"],
        typer.Option(
            help="head: the embedding alone. tail: the last blocks too. full: everything. gradual: in turn.",
            rich_help_panel=TRANSFER,
        ),
    ] = "tail",
    tail_blocks: Annotated[int, typer.Option(min=0, help="Blocks of the tail.", rich_help_panel=TRANSFER)] = 6,
    lr: Annotated[
        float, typer.Option(help="Peak learning rate of the embedding layer.", rich_help_panel=TRAINING)
    ] = 1e-3,
    body_lr_ratio: Annotated[
        float, typer.Option(help="The body's learning rate over that.", rich_help_panel=TRANSFER)
    ] = 0.3,
    ema: Annotated[
        float, typer.Option(help="Decay of averaged weights, e.g. 0.99; 0: none.", rich_help_panel=TRAINING)
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Of order, augmentation and new weights.", rich_help_panel=TRAINING)
    ] = 0,
    device: DeviceOption = "auto",
    skip_broken: SkipOption = False,
    out: Annotated[Path, typer.Option(help="Folder for the model.", rich_help_panel=OUTPUT)] = FOLDER,
    json: JsonOption = False,
) -> None:
    """Train an embedding on a folder of people. Run it again to continue where it was interrupted.

    Example: scalesearch faces fit --data people/ --crop
    """
    from dataclasses import replace

    from scalesearch.cli.shell import Bar, EpochProgress, interruptible, print_json, say
    from scalesearch.design.family import named_spec
    from scalesearch.design.scaling import PAPER
    from scalesearch.design.space import load_space
    from scalesearch.faces.objective import ObjectiveSettings, check
    from scalesearch.faces.people import list_people
    from scalesearch.faces.photos import read_crowd
    from scalesearch.faces.sampling import steps_per_epoch
    from scalesearch.faces.train import MODEL_FILE, FaceRecipe, FaceWatcher, begin, divide, enough_epochs, notes, train
    from scalesearch.nets.weights import open_weights
    from scalesearch.running.folder import locked, prepare
    from scalesearch.running.provenance import provenance
    from scalesearch.study.config import TrainConfig, validate
    from scalesearch.training.device import choose_device

    objective = ObjectiveSettings(loss, margin, mining, recover)
    check(objective)
    listed = list_people(data, "--data")
    source = None
    spec = replace(named_spec(model, load_space("efficientnet_b0").baseline, PAPER, "budget"), resolution=resolution)
    if weights not in (None, "scratch"):
        source = open_weights(str(weights), spec, source_padding)
        if source.spec.padding != spec.padding and source_padding is not None:
            spec = replace(spec, padding=source.spec.padding)
    else:
        strategy = "full"  # there is nothing to freeze
    config = TrainConfig(
        epochs=epochs or 1, batch_size=people * photos, lr=lr, warmup_epochs=0.0, label_smoothing=0.0,
        ema_decay=ema, seed=seed, strategy=strategy, tail_blocks=tail_blocks, patience=patience,
        body_lr_ratio=body_lr_ratio if source is not None and strategy in ("full", "gradual") else 1.0,
    )  # fmt: skip
    validate(config)
    where = choose_device(device)
    prepare(out)
    with interruptible(), locked(out), Bar(0, 0, quiet=json) as bar:
        crowd = read_crowd(
            listed, spec.resolution, open_detector(crop), option="--data", skip_broken=skip_broken, progress=bar.reading
        )
        parts = divide(crowd, held_out)
        recipe = FaceRecipe(config, objective, people=min(people, len(parts.train.names)), photos=photos,
                            dimensions=dimensions)  # fmt: skip
        steps = steps_per_epoch(parts.train.labels, recipe.people, photos)
        epochs = epochs or enough_epochs(steps)
        config = replace(config, epochs=epochs, batch_size=recipe.people * photos, warmup_epochs=min(1.0, epochs / 4))
        recipe = replace(recipe, config=config)
        for note in (*crowd.notes, *notes(parts)):
            bar.note(f"Note: {note}")
        held = f", {len(parts.held.names)} others held out" if parts.held else ""
        bar.note(
            f"{spec.name} at {spec.resolution} px; {len(parts.train)} photos of {len(parts.train.names)} people{held}"
        )
        start = begin(spec, parts, recipe, out, source, where)
        progress = EpochProgress(bar, epochs, steps)
        if start.plan is not None and source is not None:
            bar.note(f"Weights from {source.name}: {start.plan.coverage:.0%} of the body's values are inherited")
        bar.total(epochs * steps)
        metrics = train(
            start, parts, recipe, out, where,
            FaceWatcher(progress.step, lambda record: _epoch(bar, record, config.epochs),
                        lambda text: bar.note(f"WARNING: {text}")),
            crop=crop, provenance=provenance(str(where)),
        )  # fmt: skip
    if json:
        print_json({**metrics, "file": str(out / MODEL_FILE)})
        return
    if metrics["before"]:
        before, after = metrics["before"], metrics["after"]
        say(
            f"On {metrics['held_out_people']} people it was not trained on: nearest photo is of the same person "
            f"{before['top1']:.1%} → {after['top1']:.1%}; AUC over all pairs {1 - before['loss']:.3f} → "
            f"{1 - after['loss']:.3f}"
        )
    say(f"Model: {out / MODEL_FILE}")
    say(f"Next: scalesearch faces enroll PEOPLE{model_option(out / MODEL_FILE)}")


def _epoch(bar: "Bar", record: "EpochRecord", epochs: int) -> None:
    values = record.metrics
    text = f"epoch {record.epoch + 1}/{epochs}, loss {record.train_loss:.3f}"
    if "top1" in values:
        text += f", held-out people: rank-1 {values['top1']:.1%}, AUC {1 - values['loss']:.3f}"
    bar.line(f"{text}, {values['active']:.0%} of triplets active, spread {values['spread']:.2f}")
