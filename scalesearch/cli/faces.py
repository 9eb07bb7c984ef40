"""Commands that recognise the members of a group on photos: fit, enroll, identify, evaluate, list, remove."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalesearch.cli.grouped import Command, Group
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
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.cli.progress import Bar
    from scalesearch.faces.detect import Detector
    from scalesearch.faces.evaluate import Embedded
    from scalesearch.faces.gallery import Gallery
    from scalesearch.faces.model_file import FaceModel
    from scalesearch.faces.network import FloatArray
    from scalesearch.faces.photos import Crowd
    from scalesearch.faces.threshold import Threshold
    from scalesearch.training.history import EpochRecord

FOLDER = Path("runs/faces")
SHOWN = 20

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Recognise the members of a group on photos; tell that anybody else is not one.\n\n"
    "Start with: scalesearch faces fit --data PEOPLE, a folder with a folder of photos per person.",
)

MEMBERS, STRANGERS = "Members", "Strangers"

ModelOption = Annotated[Path, typer.Option(help="A model that faces fit wrote.", rich_help_panel=MEMBERS)]
GalleryOption = Annotated[Path, typer.Option(help="The file that holds the members.", rich_help_panel=MEMBERS)]
StrangersOption = Annotated[
    str | None,
    typer.Option(
        help="Folder with a folder of photos per person, of people who are no members.", rich_help_panel=STRANGERS
    ),
]
FpirOption = Annotated[
    float,
    typer.Option(
        help="Share of strangers' photos that may be taken for a member: 0.01 is one in a hundred.",
        rich_help_panel=STRANGERS,
    ),
]
CropOption = Annotated[
    bool | None,
    typer.Option(
        "--crop/--no-crop",
        help="Find faces and turn them upright first; as the model was trained.",
        rich_help_panel=DATA,
    ),
]


@app.command(cls=Command)
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

    from scalesearch.cli.progress import Bar, EpochProgress, interruptible, say
    from scalesearch.cli.show import print_json
    from scalesearch.design.scaling import PAPER
    from scalesearch.design.space import load_space
    from scalesearch.faces.objective import ObjectiveSettings, check
    from scalesearch.faces.people import list_people
    from scalesearch.faces.photos import read_crowd
    from scalesearch.faces.sampling import steps_per_epoch
    from scalesearch.faces.train import MODEL_FILE, FaceRecipe, FaceWatcher, begin, divide, enough_epochs, notes, train
    from scalesearch.nets.weight_source import open_weights
    from scalesearch.search.facts import provenance
    from scalesearch.search.family import named_spec
    from scalesearch.search.folder import locked, prepare
    from scalesearch.training.config import TrainConfig, validate
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
            listed, spec.resolution, _detector(crop), option="--data", skip_broken=skip_broken, progress=bar.reading
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
    say(f"Next: scalesearch faces enroll PEOPLE{_where(out / MODEL_FILE)}")


def _where(model: Path) -> str:
    return "" if model == FOLDER / "model.safetensors" else f" --model {model}"


def _epoch(bar: "Bar", record: "EpochRecord", epochs: int) -> None:
    values = record.metrics
    text = f"epoch {record.epoch + 1}/{epochs}, loss {record.train_loss:.3f}"
    if "top1" in values:
        text += f", held-out people: rank-1 {values['top1']:.1%}, AUC {1 - values['loss']:.3f}"
    bar.line(f"{text}, {values['active']:.0%} of triplets active, spread {values['spread']:.2f}")


@app.command(cls=Command)
def enroll(
    people: Annotated[
        str | None, typer.Argument(help="Folder with a folder of photos per person; left out, only fit the threshold.")
    ] = None,
    model: ModelOption = FOLDER / "model.safetensors",
    gallery: GalleryOption = FOLDER / "gallery.safetensors",
    strangers: StrangersOption = None,
    fpir: FpirOption = 0.01,
    crop: CropOption = None,
    skip_broken: SkipOption = False,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Add people to the gallery, and fit the threshold below which somebody is a member.

    Who is already in is replaced. Without --strangers, the threshold rests on how near members come to one another.

    Example: scalesearch faces enroll people/ --strangers others/ --fpir 0.01
    """
    from scalesearch.cli.progress import Bar, interruptible, say
    from scalesearch.cli.show import print_json
    from scalesearch.faces.gallery import add, fitted, save_gallery
    from scalesearch.faces.model_file import load_model
    from scalesearch.faces.threshold import check_rate
    from scalesearch.training.device import choose_device

    check_rate(fpir)
    known = load_model(model)
    members = _opened(gallery, known, people is None)
    where = str(choose_device(device))
    added: tuple[str, ...] = ()
    trained_on: int | None = None
    found = others = None
    notes: list[str] = []
    with interruptible(), Bar(0, 0, quiet=json) as bar:
        detect = _detector(known.crop if crop is None else crop)
        if people is not None:
            crowd = _crowd(people, "PEOPLE", known, detect, skip_broken, bar)
            vectors = _vectors(known, crowd, where).vectors
            _check_enrolled(members, crowd, vectors, "PEOPLE")
            for label, name in enumerate(crowd.names):
                members = add(members, name, vectors[crowd.labels == label])
            added, trained_on = crowd.names, len(known.trained_on & set(crowd.digests))
            notes += crowd.notes
        if strangers is not None:
            others = _crowd(strangers, "--strangers", known, detect, skip_broken, bar)
            _check_strangers(members, others)
            found = _vectors(known, others, where)
            _check_enrolled(members, others, found.vectors, "--strangers")
            notes += others.notes
    if found is not None:
        members = fitted(members, fpir, found.vectors, found.labels)
    elif len(members.names) >= 2:
        members = fitted(members, fpir)
    notes += _basis_notes(known, members, others, trained_on)
    save_gallery(gallery, members)
    threshold = members.threshold
    if json:
        print_json({
            "gallery": str(gallery), "people": len(members.names), "photos": len(members), "added": list(added),
            "threshold": threshold.to_dict() if threshold else None, "notes": notes,
        })  # fmt: skip
        return
    for note in notes:
        say(f"Note: {note}")
    enrolled = f"; enrolled {len(added)}" if added else ""
    say(f"{gallery}: {len(members.names)} people, {len(members)} photos{enrolled}")
    if threshold:
        for line in _threshold_lines(threshold):
            say(line)
        say(f"Next: scalesearch faces identify PHOTOS{_options(model, gallery)}")


def _opened(path: Path, model: "FaceModel", must_exist: bool) -> "Gallery":
    """The gallery at a path, or an empty one. Raises UserError where another model made it."""
    from scalesearch.faces.gallery import empty_gallery, load_gallery, require_model

    if not path.exists() and not must_exist:
        return empty_gallery(model.digest, model.network.spec.classes)
    members = load_gallery(path)
    require_model(members, model.digest, str(path))
    return members


def _check_enrolled(members: "Gallery", crowd: "Crowd", vectors: "FloatArray", option: str) -> None:
    """Raises UserError where a photo is enrolled under another name."""
    from scalesearch.faces.gallery import enrolled_already
    from scalesearch.faces.people import few

    shared = [
        f"{crowd.files[row]} (enrolled as {name})"
        for row, name in enrolled_already(members, vectors)
        if name != crowd.names[crowd.labels[row]]
    ]
    if shared:
        raise UserError(
            option, f"{len(shared)} photo(s) that are in the gallery under another name: {few(shared)}",
            "each photo under one person", "Remove them, or the wrong person: scalesearch faces remove NAME",
        )  # fmt: skip


def _check_strangers(members: "Gallery", strangers: "Crowd") -> None:
    if both := sorted(set(strangers.names) & set(members.names)):
        raise UserError("--strangers", f"people who are members: {', '.join(both[:5])}", "people who are not")


def _basis_notes(
    model: "FaceModel", members: "Gallery", strangers: "Crowd | None", trained_on: int | None
) -> list[str]:
    """What makes the threshold worse than it looks."""
    if members.threshold is None:
        return ["one member and no --strangers: there is nothing to fit a threshold on yet"]
    if strangers is not None:
        seen = len(model.trained_on & set(strangers.digests))
        if seen:
            return [f"{seen} of the strangers' photos were trained on: other strangers will come nearer"]
    elif trained_on:
        return [
            "the model was trained on these people and keeps them apart better than it will strangers: expect more "
            "false positives than stated; --strangers gives a threshold to rely on"
        ]
    return []


def _options(model: Path, gallery: Path) -> str:
    named = "" if gallery == FOLDER / "gallery.safetensors" else f" --gallery {gallery}"
    return _where(model) + named


def _threshold_lines(found: "Threshold") -> list[str]:
    """The threshold, its error and what it rests on, in words."""
    who = "strangers" if found.basis == "strangers" else "members, each in turn taken for a stranger"
    lines = [
        f"Threshold {found.distance:.3f} (squared distance), fitted on {found.photos} photos of {found.people} {who}",
        f"False positives to expect: {found.expected:.1%} of strangers' photos; 95 % interval {found.low:.1%} to "
        f"{found.high:.1%} in the long run, {found.low_next:.1%} to {found.high_next:.1%} among {found.photos} further "
        "photos of such people",
    ]
    if found.expected > found.fpir:
        needed = -(-1 // found.fpir) - 1
        lines.append(
            f"WARNING: {found.photos} photos are too few for {found.fpir:.2%}: it takes {needed:.0f}. The threshold is "
            "below the nearest stranger"
        )
    if found.basis == "members":
        lines.append("WARNING: no photos of strangers: real ones may come nearer than members come to one another")
    return lines


@app.command(cls=Command)
def identify(
    photos: Annotated[list[str], typer.Argument(help="Photos, or folders of them.")],
    model: ModelOption = FOLDER / "model.safetensors",
    gallery: GalleryOption = FOLDER / "gallery.safetensors",
    crop: CropOption = None,
    out: Annotated[Path | None, typer.Option(help="A .csv or .json file; a table is printed if left out.")] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Name the members on photos; say of anybody else that they are not one.

    Confidence is the share of strangers' photos that stayed farther away.

    Example: scalesearch faces identify photos/
    """
    from scalesearch.cli.progress import Bar, interruptible, say
    from scalesearch.cli.show import print_json, print_table
    from scalesearch.faces.gallery import load_gallery, require_model
    from scalesearch.faces.identify import identified
    from scalesearch.faces.model_file import load_model
    from scalesearch.training.device import choose_device
    from scalesearch.training.predict import image_files

    if out is not None and out.suffix not in (".csv", ".json"):
        raise UserError("--out", str(out), "a name that ends in .csv or .json")
    known = load_model(model)
    members = load_gallery(gallery)
    require_model(members, known.digest, str(gallery))
    if members.threshold is None:
        raise UserError(
            str(gallery), "no threshold", "one that fits its people",
            "Fit it: scalesearch faces enroll --strangers FOLDER (or without strangers, from two members on)",
        )  # fmt: skip
    files = image_files(photos)
    with interruptible(), Bar(len(files), 0, quiet=json) as bar:
        detect = _detector(known.crop if crop is None else crop)
        rows = identified(known, members, files, detect, choose_device(device), bar.reading)
    if all(row["error"] for row in rows) and not any(row["error"] == "no face found" for row in rows):
        raise UserError(str(photos[0]), f"no readable photo ({rows[0]['error']})", "at least one photo")
    if out is not None:
        _write_rows(out, rows)
    if json:
        print_json(rows)
        return
    if out is None:
        title = "Photos" if len(rows) <= SHOWN else f"The first {SHOWN} (all with --out or --json)"
        print_table(
            title, ("photo", "name", "distance", "confidence"),
            [_shown(row) for row in rows[:SHOWN]],
        )  # fmt: skip
    named = sum(row["member"] for row in rows)
    say(f"{len(files)} photos, {sum(not row['error'] for row in rows)} faces: {named} of members")
    if named:
        say("Confidence: the share of strangers' photos that stayed farther away than this one")
    threshold = members.threshold
    say(
        f"Not a member: from {threshold.distance:.3f} on; false positives {threshold.low:.1%} to {threshold.high:.1%} "
        f"(95 %), fitted on {threshold.basis}"
    )
    if out is not None:
        say(f"Written: {out}")


def _shown(row: dict[str, Any]) -> list[str]:
    where = row["file"] + (f" (face {row['face']} of {row['faces']})" if row["faces"] > 1 else "")
    if row["error"]:
        return [where, row["error"], "–", "–"]
    sure = f"{row['confidence']:.1%}" if row["member"] else "–"  # that somebody is no member is not what it says
    return [where, row["name"] or "not a member", f"{row['distance']:.3f}", sure]


def _write_rows(out: Path, rows: list[dict[str, Any]]) -> None:
    import csv
    import io

    from scalesearch.files import write_json, write_text

    if out.suffix == ".json":
        write_json(out, rows)
        return
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out, table.getvalue())


@app.command(name="list", cls=Command)
def list_members(gallery: GalleryOption = FOLDER / "gallery.safetensors", json: JsonOption = False) -> None:
    """Show who is enrolled, and the threshold."""
    import numpy as np

    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_json, print_table
    from scalesearch.faces.gallery import load_gallery

    members = load_gallery(gallery)
    counts = np.bincount(members.labels, minlength=len(members.names)).tolist()
    people = dict(zip(members.names, counts, strict=True))
    threshold = members.threshold
    if json:
        print_json({"people": people, "model": members.model, "threshold": threshold.to_dict() if threshold else None})
        return
    print_table(str(gallery), ("name", "photos"), [[name, str(count)] for name, count in people.items()])
    for line in _threshold_lines(threshold) if threshold else ["No threshold yet: scalesearch faces enroll"]:
        say(line)


@app.command(cls=Command)
def remove(
    name: Annotated[list[str], typer.Argument(help="Who is to be taken out.")],
    gallery: GalleryOption = FOLDER / "gallery.safetensors",
    json: JsonOption = False,
) -> None:
    """Delete people from the gallery: their names and all their embeddings.

    A threshold that was fitted on strangers stays: without these people nobody else comes nearer. One that rests on the
    members is fitted anew on those who stay.
    """
    from scalesearch.cli.progress import say
    from scalesearch.cli.show import print_json
    from scalesearch.faces.gallery import fitted, load_gallery, save_gallery
    from scalesearch.faces.gallery import remove as without

    members = load_gallery(gallery)
    rate = members.threshold.fpir if members.threshold else 0.01
    for one in name:
        members = without(members, one)
    stays = members.threshold is not None
    if not stays and len(members.names) >= 2:
        members = fitted(members, rate)
    save_gallery(gallery, members)
    if json:
        threshold = members.threshold.to_dict() if members.threshold else None
        print_json(
            {"removed": name, "people": len(members.names), "photos": len(members), "threshold": threshold,
             "threshold_kept": stays}
        )  # fmt: skip
        return
    say(f"Removed {', '.join(name)}; {len(members.names)} people stay")
    say("The threshold stays, too: it was fitted on strangers" if stays else "The threshold is fitted on who stays:")
    for line in _threshold_lines(members.threshold) if members.threshold else []:
        say(line)


@app.command(cls=Command)
def evaluate(
    people: Annotated[str, typer.Argument(help="Folder with a folder of photos per person, none of them trained on.")],
    model: ModelOption = FOLDER / "model.safetensors",
    strangers: StrangersOption = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV of pairs, columns a, b, same; every pair of the folder if left out.")
    ] = None,
    fpir: FpirOption = 0.01,
    crop: CropOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the division into enrolled and shown, and of folds.")] = 0,
    skip_broken: SkipOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json, tables and figures.")] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Judge a model: verification of pairs, rank-1, recognition among strangers.

    Example: scalesearch faces evaluate people/ --strangers others/ --out report
    """
    from scalesearch.cli.progress import Bar, interruptible
    from scalesearch.cli.show import print_json
    from scalesearch.faces.evaluate import (
        every_pair,
        histogram,
        listed_pairs,
        open_set,
        open_set_curve,
        open_set_values,
        read_pairs,
        roc_curve,
        verification,
    )
    from scalesearch.faces.model_file import load_model
    from scalesearch.faces.threshold import check_rate
    from scalesearch.training.device import choose_device

    check_rate(fpir)
    known = load_model(model)
    where = str(choose_device(device))
    notes: list[str] = []
    with interruptible(), Bar(0, 0, quiet=json) as bar:
        detect = _detector(known.crop if crop is None else crop)
        crowd = _crowd(people, "PEOPLE", known, detect, skip_broken, bar)
        others = _crowd(strangers, "--strangers", known, detect, skip_broken, bar) if strangers else None
        notes += [*crowd.notes, *(others.notes if others else ())]
        _check_disjoint(known, crowd, others)
        embedded = _vectors(known, crowd, where)
        strange = _vectors(known, others, where) if others else None
    if pairs is None:
        compared, folds = every_pair(embedded), None
    else:
        places = {file: place for place, file in enumerate(crowd.files)}
        left, right, folds = read_pairs(pairs, places)
        compared = listed_pairs(embedded, left, right)
    found = open_set(embedded, strange, fpir, seed)
    values: dict[str, Any] = {
        "model": known.digest, "people": len(crowd.names), "photos": len(crowd), "seed": seed, "notes": notes,
        "verification": verification(compared, folds, seed), "open_set": open_set_values(found),
    }  # fmt: skip
    if out is not None:
        curves = {"roc": roc_curve(compared), "distances": histogram(compared), "open_set": open_set_curve(found)}
        _write_evaluation(out, {**values, "curves": curves})
    if json:
        print_json(values)
        return
    _print_evaluation(values, out)


def _check_disjoint(model: "FaceModel", people: "Crowd", strangers: "Crowd | None") -> None:
    """Raises UserError where photos were trained on, or a person is on both sides."""
    for option, crowd in (("PEOPLE", people), ("--strangers", strangers)):
        if crowd and (seen := len(model.trained_on & set(crowd.digests))):
            raise UserError(
                option, f"{seen} photo(s) that the model was trained on", "people whom training never saw",
                "Keep some people apart from the start, for evaluation alone.",
            )  # fmt: skip
    if strangers and (both := sorted(set(people.names) & set(strangers.names))):
        raise UserError("--strangers", f"people of {', '.join(both[:5])} on both sides", "other people")
    if strangers and (shared := len(set(people.digests) & set(strangers.digests))):
        raise UserError("--strangers", f"{shared} photo(s) of members", "photos of other people")


def _print_evaluation(values: dict[str, Any], out: Path | None) -> None:
    from scalesearch.cli.progress import say

    for note in values["notes"]:
        say(f"Note: {note}")
    pairs, known = values["verification"], values["open_set"]
    say(f"Verification, {pairs['pairs']} pairs ({pairs['same']} of one person), folds {pairs['folds']}:")
    say(f"  accuracy {pairs['accuracy']:.1%} ± {pairs['accuracy_error']:.1%} (10 folds), AUC {pairs['auc']:.3f}")
    for far, found in pairs["tar"].items():
        say(f"  TAR at FAR {far}: {found['tar']:.1%} {_interval(found['interval'])}")
    say(f"Identification, {known['members']} members, {known['probes']} photos of them shown:")
    say(f"  rank-1 {known['rank1']:.1%} {_interval(known['rank1_interval'])}")
    for rate, found in known["tpir_at"].items():
        say(f"  TPIR at FPIR {rate}: {found['tpir']:.1%} {_interval(found['interval'])}")
    threshold = known["threshold"]
    say(
        f"Threshold {threshold['distance']:.3f} fitted on {threshold['photos']} photos of {threshold['people']} "
        f"strangers for {threshold['fpir']:g}:"
    )
    say(
        f"  on {known['stranger_photos']} photos of other strangers {known['fpir']:.1%} are false positives (predicted "
        f"{_interval(known['fpir_interval'])}); {known['tpir']:.1%} {_interval(known['tpir_interval'])} of members' "
        "photos are recognised"
    )
    say("Brackets: 95 % intervals, people resampled")
    if out is not None:
        say(f"Written: {out}/evaluation.json, evaluation.md, per_person.csv, roc.png, distances.png, open_set.png")


def _interval(values: "tuple[float, float] | list[float]") -> str:
    return f"[{values[0]:.1%}, {values[1]:.1%}]"


def _write_evaluation(out: Path, values: dict[str, Any]) -> None:
    import csv
    import io

    from scalesearch.files import write_bytes, write_json, write_text
    from scalesearch.reports.axes import rendered
    from scalesearch.reports.face_figures import distance_figure, evaluation_markdown, open_set_figure, roc_figure

    table = io.StringIO()
    rows = values["open_set"]["per_person"]
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "per_person.csv", table.getvalue())
    write_json(out / "evaluation.json", values)
    curves = values["curves"]
    figures = {
        "roc": roc_figure({"this model": curves["roc"]}),
        "distances": distance_figure({"this model": curves["distances"]}),
        "open_set": open_set_figure({"this model": curves["open_set"]}),
    }
    for name, figure in figures.items():
        write_bytes(out / f"{name}.png", rendered(figure, "png"))
        write_bytes(out / f"{name}.svg", rendered(figure, "svg"))
    write_text(out / "evaluation.md", evaluation_markdown(values))


def _detector(crop: bool) -> "Detector | None":
    from scalesearch.faces.detect import detector

    return detector() if crop else None


def _crowd(
    folder: str, option: str, model: "FaceModel", detect: "Detector | None", skip_broken: bool, bar: "Bar"
) -> "Crowd":
    from scalesearch.faces.people import list_people
    from scalesearch.faces.photos import read_crowd

    size = model.network.spec.resolution
    return read_crowd(
        list_people(folder, option), size, detect, option=option, skip_broken=skip_broken, progress=bar.reading
    )


def _vectors(model: "FaceModel", crowd: "Crowd", device: str) -> "Embedded":
    import torch

    from scalesearch.faces.evaluate import Embedded
    from scalesearch.faces.network import embed

    vectors = embed(model.network, crowd.pixels, model.statistics, torch.device(device))
    return Embedded(crowd.names, crowd.labels, vectors)
