"""Faces: an embedding trained, people enrolled and removed, photos named, and all of it evaluated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from scalesearch.api.finetune import require_weights
from scalesearch.api.options import (
    FPIR,
    EnrollOptions,
    FaceEvaluateOptions,
    FitOptions,
    IdentifyOptions,
    MembersOptions,
    RemoveOptions,
    inherited,
    table_file,
    takes,
)
from scalesearch.data.arrays import Pixels
from scalesearch.data.source import IntArray
from scalesearch.design.family import named_spec
from scalesearch.design.scaling import PAPER
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.faces import gallery as galleries
from scalesearch.faces import protocols
from scalesearch.faces.bodies import open_body
from scalesearch.faces.detection import CLOSE, detector
from scalesearch.faces.gallery import Gallery, Threshold
from scalesearch.faces.identification import flat, sightings
from scalesearch.faces.model import FaceModel, FloatArray, embedding_set
from scalesearch.faces.objective import ObjectiveSettings, check
from scalesearch.faces.photos import NO_FACE, Crowd, Framing, few, largest, list_people, most_alike, read_crowd
from scalesearch.faces.train import FaceData, FaceRecipe, begin, divide, notes, train
from scalesearch.files import locked, prepare, write_bytes, write_csv, write_json, write_text
from scalesearch.nets.weights import WeightSource, open_weights
from scalesearch.running.provenance import provenance
from scalesearch.study.config import Strategy, TrainConfig, validate
from scalesearch.training.device import choose_device
from scalesearch.training.evaluation import image_files
from scalesearch.training.history import SILENT, EpochRecord, Watcher
from scalesearch.training.job import MODEL_FILE
from scalesearch.units import counted, show_percent


@dataclass(frozen=True, eq=False)
class FaceFit:
    """A trained embedding: its file, and what ``metrics.json`` beside it holds."""

    file: Path
    metrics: dict[str, Any]


@takes(FitOptions)
def fit(asked: FitOptions) -> FaceFit:
    """Trains an embedding on a folder of people. Called again, it continues where it was.

    ``tell`` is told of notes and epochs (``tell=print``), a ``watcher`` of each step, too.

    Raises:
        UserError: an option that cannot be used, photos that cannot be trained on, or a folder of another training.
    """
    watcher, folder = _watcher(asked), Path(asked.out)
    objective = ObjectiveSettings(asked.loss, asked.margin, asked.mining, asked.recover)
    check(objective)
    people = list_people(asked.data, "--data")
    spec, source = _body(asked)
    config = _config(asked, source is not None)
    device = choose_device(asked.device)
    prepare(folder)
    with locked(folder):
        framing = Framing(spec.resolution, detector() if asked.crop else None, CLOSE)
        crowd = read_crowd(people, framing, option="--data", skip_broken=asked.skip_broken, progress=watcher.reading)
        data = divide(crowd, asked.held_out)
        recipe = FaceRecipe(config, objective, asked.people, asked.photos, asked.dimensions).sized(data, asked.epochs)
        for line in _introduction(spec, crowd, data):
            watcher.tell(line)
        start = begin(spec, data, recipe, folder, source, device)
        if start.plan is not None and source is not None:
            watcher.tell(
                f"Weights from {source.name}: {show_percent(start.plan.coverage, 0)} of the body's values are inherited"
            )
        metrics = train(
            start, data, recipe, folder, device, watcher, crop=asked.crop, provenance=provenance(str(device))
        )
    return FaceFit(folder / MODEL_FILE, metrics)


def _watcher(asked: FitOptions) -> Watcher:
    tell = asked.tell
    if asked.watcher is not None or tell is None:
        return asked.watcher or SILENT
    return Watcher(note=tell, epoch=lambda record: tell(epoch_line(record)))


def epoch_line(record: EpochRecord, epochs: int | None = None) -> str:
    """An epoch in words."""
    values = record.metrics
    text = f"epoch {record.epoch + 1}{f'/{epochs}' if epochs else ''}, loss {record.train_loss:.3f}"
    if "top1" in values:
        text += f", held-out people: rank-1 {show_percent(values['top1'])}, AUC {1 - values['loss']:.3f}"
    return f"{text}, {show_percent(values['active'], 0)} of triplets active, spread {values['spread']:.2f}"


def _body(asked: FitOptions) -> tuple[NetSpec, WeightSource | None]:
    """The network, and what it inherits."""
    spec = named_spec(asked.model, load_space("efficientnet_b0").baseline, PAPER, "budget")
    spec, weights = replace(spec, resolution=asked.resolution), inherited(asked.weights)
    if weights is None:
        return spec, None
    source = open_weights(weights, spec, asked.source_padding)
    return (spec if asked.source_padding is None else replace(spec, padding=source.spec.padding)), source


def _config(asked: FitOptions, inherits: bool) -> TrainConfig:
    """The loop's settings, but for what depends on how many people there are."""
    strategy: Strategy = ("tail" if inherits else "full") if asked.strategy == "auto" else asked.strategy
    require_weights(strategy, inherits)
    config = TrainConfig(
        epochs=asked.epochs or 1, batch_size=asked.people * asked.photos, lr=asked.lr, warmup_epochs=0.0,
        label_smoothing=0.0, ema_decay=asked.ema, seed=asked.seed, strategy=strategy, tail_blocks=asked.tail_blocks,
        patience=asked.patience,
        body_lr_ratio=asked.body_lr_ratio if inherits and strategy in ("full", "gradual") else 1.0,
    )  # fmt: skip
    validate(config)
    return config


def _introduction(spec: NetSpec, crowd: Crowd, data: FaceData) -> list[str]:
    held = f", {len(data.held.names)} others held out" if data.held else ""
    return [
        *(f"Note: {note}" for note in (*crowd.notes, *notes(data))),
        f"{spec.name} at {spec.resolution} px; {len(data.train)} photos of {len(data.train.names)} people{held}",
    ]


@dataclass(frozen=True, eq=False)
class GalleryChange:
    """A gallery after people came or went.

    Args:
        file: where it is; ``gallery``: what it holds.
        people: who came or went.
        threshold_kept: whether its threshold is as before.
        notes: what was left out, and what makes the threshold worse than it looks.
    """

    file: Path
    gallery: Gallery
    people: tuple[str, ...]
    threshold_kept: bool = False
    notes: tuple[str, ...] = ()


@takes(EnrollOptions)
def enroll(asked: EnrollOptions) -> GalleryChange:
    """Adds people to the gallery, and fits the threshold below which somebody is a member.

    Who is already in is replaced. Without strangers, the threshold rests on how near members come to one another. It
    may be called by several processes at once.

    Raises:
        UserError: no such body, a gallery of another body, or photos that are under two names.
    """
    galleries.check_rate(asked.fpir)
    model, file, device = open_body(asked.body), Path(asked.gallery), choose_device(asked.device)
    _opened(file, model, must_exist=asked.people is None)
    read = _reader(asked, model, device)
    crowd = None if asked.people is None else read(asked.people, "PEOPLE")
    strangers = None if asked.strangers is None else read(asked.strangers, "--strangers")
    added = embedding_set(model, crowd, device) if crowd else None
    others = embedding_set(model, strangers, device) if strangers else None
    rested = ""

    def change() -> Gallery:
        nonlocal rested
        gallery = _opened(file, model, must_exist=asked.people is None)
        rested = gallery.threshold.basis if gallery.threshold else ""
        if crowd and added:
            _check_enrolled(gallery, crowd, added.vectors, "PEOPLE")
            for label, name in enumerate(added.names):
                gallery = galleries.add(gallery, name, added.vectors[added.labels == label])
        if strangers and others:
            if both := sorted(set(strangers.names) & set(gallery.names)):
                raise UserError("--strangers", f"there are members among them: {few(both)}.", do="Take them out.")
            _check_enrolled(gallery, strangers, others.vectors, "--strangers")
            return galleries.fitted(gallery, asked.fpir, others.vectors, others.labels)
        return galleries.fitted(gallery, asked.fpir) if len(gallery.names) >= 2 else gallery

    gallery = galleries.update(file, change)
    notes = [*(crowd.notes if crowd else ()), *(strangers.notes if strangers else ())]
    notes += _basis_notes(model, gallery, strangers, crowd)
    if rested == "strangers" and strangers is None:
        notes.append("the threshold rested on strangers and now rests on the members: give --strangers again")
    return GalleryChange(file, gallery, crowd.names if crowd else (), notes=tuple(notes))


def _opened(path: Path, model: FaceModel, *, must_exist: bool) -> Gallery:
    """The gallery at a path, or an empty one. Raises UserError where another body made it."""
    if not path.exists() and not must_exist:
        return galleries.empty_gallery(model.digest, model.dimensions, model.card.name)
    gallery = galleries.load_gallery(path)
    galleries.require_model(gallery, model, str(path))
    return gallery


def _check_enrolled(gallery: Gallery, crowd: Crowd, vectors: FloatArray, option: str) -> None:
    """Raises UserError where a photo is enrolled under another name."""
    shared = [
        f"{crowd.files[row]} (enrolled as {name})"
        for row, name in galleries.enrolled_already(gallery, vectors)
        if name != crowd.names[crowd.labels[row]]
    ]
    if shared:
        raise UserError(
            option, f"the gallery holds these photos under another name: {few(shared)}.",
            do="Remove them, or the wrong person: scalesearch faces remove NAME",
        )  # fmt: skip


def _basis_notes(model: FaceModel, gallery: Gallery, strangers: Crowd | None, added: Crowd | None) -> list[str]:
    """What makes the threshold worse than it looks."""
    licence = [f"body {model.card.name}: {model.card.licence}"] if model.card.licence else []
    return licence + _threshold_notes(model, gallery, strangers, added)


def _threshold_notes(model: FaceModel, gallery: Gallery, strangers: Crowd | None, added: Crowd | None) -> list[str]:
    if gallery.threshold is None:
        return ["with one member and no --strangers there is nothing to fit a threshold on yet"]
    if strangers is not None:
        seen = len(model.trained_on & set(strangers.digests))
        return [f"{seen} of the strangers' photos were trained on: other strangers will come nearer"] if seen else []
    if added is not None and model.trained_on & set(added.digests):
        return [
            "the model was trained on these people and keeps them apart better than it will strangers: expect more "
            "false positives than stated; --strangers gives a threshold to rely on"
        ]
    return []


@dataclass(frozen=True, eq=False)
class Identification:
    """Who is on photos.

    Args:
        rows: of each face as plain values (see ``faces.identification.Sighting.to_dict``).
        photos: how many were looked at.
        threshold: by which somebody is a member.
        interval: 95 % interval of the share that would be taken for a member if all these faces were strangers.
    """

    rows: list[dict[str, Any]] = field(repr=False)
    photos: int
    threshold: Threshold
    interval: tuple[float, float]


@takes(IdentifyOptions)
def identify(asked: IdentifyOptions) -> Identification:
    """Names the members on photos and rejects strangers; writes what is asked for.

    Raises:
        UserError: no such body or gallery, no threshold, or no readable photo.
    """
    out = table_file(asked.out)
    model, gallery = open_body(asked.body), galleries.load_gallery(Path(asked.gallery))
    galleries.require_model(gallery, model, str(asked.gallery))
    threshold = gallery.threshold
    if threshold is None:
        raise UserError(
            str(asked.gallery), "the gallery has no threshold yet.",
            do="Fit it: scalesearch faces enroll --strangers FOLDER (or without strangers, from two members on)",
        )  # fmt: skip
    given = [asked.photos] if isinstance(asked.photos, str | Path) else list(asked.photos)
    files = image_files([str(one) for one in given])
    device = choose_device(asked.device)
    seen = list(sightings(model, gallery, files, _framing(model, asked.crop), device, asked.reading))
    if all(one.error for one in seen) and not any(one.error == NO_FACE for one in seen):
        raise UserError(str(given[0]), f"none of the photos can be read ({seen[0].error}).")
    rows = [one.to_dict() for one in seen]
    if out is not None:
        write_json(out, rows) if out.suffix == ".json" else _write_rows(out, list(map(flat, rows)))
    faces = max(1, sum(not one.error for one in seen))
    return Identification(rows, len(files), threshold, galleries.interval_among(threshold, faces))


@takes(MembersOptions)
def members(asked: MembersOptions) -> Gallery:
    """Who is enrolled, and the threshold.

    Raises:
        UserError: no such gallery.
    """
    return galleries.load_gallery(Path(asked.gallery))


@takes(RemoveOptions)
def remove(asked: RemoveOptions) -> GalleryChange:
    """Deletes people from the gallery: their names and all their embeddings.

    A threshold that was fitted on strangers stays: without these people nobody else comes nearer. One that rests on the
    members is fitted anew on those who stay.

    Raises:
        UserError: nobody of that name.
    """
    names = (asked.name,) if isinstance(asked.name, str) else tuple(asked.name)
    file, stays = Path(asked.gallery), False

    def change() -> Gallery:
        nonlocal stays
        kept = galleries.load_gallery(file)
        rate = kept.threshold.fpir if kept.threshold else FPIR
        for name in names:
            kept = galleries.remove(kept, name)
        stays = kept.threshold is not None
        return galleries.fitted(kept, rate) if not stays and len(kept.names) >= 2 else kept

    galleries.load_gallery(file)  # says where there is none, before anything is made to wait for it
    kept = galleries.update(file, change)
    return GalleryChange(file, kept, names, stays)


@dataclass(frozen=True, eq=False)
class FaceEvaluation:
    """A model on people whom it never saw.

    Args:
        values: as ``evaluation.json`` holds them: ``verification`` of pairs, ``open_set`` recognition among strangers.
        curves: "roc", "distances" and "open_set", as they are drawn.
    """

    values: dict[str, Any]
    curves: dict[str, Any] = field(repr=False)


@takes(FaceEvaluateOptions)
def evaluate(asked: FaceEvaluateOptions) -> FaceEvaluation:
    """Judges a model: verification of pairs, rank-1, recognition among strangers; writes what ``out`` asks for.

    Raises:
        UserError: people or photos that were trained on, people on both sides, or too few of them.
    """
    galleries.check_rate(asked.fpir)
    model, device = open_body(asked.body), choose_device(asked.device)
    read = _reader(asked, model, device)
    people = read(asked.people, "PEOPLE")
    strangers = None if asked.strangers is None else read(asked.strangers, "--strangers")
    _check_disjoint(model, people, strangers)
    known = embedding_set(model, people, device)
    strange = embedding_set(model, strangers, device) if strangers else None
    if asked.pairs is None:
        pairs, folds = protocols.all_pairs(known.vectors, known.labels), None
    else:
        places = {file: place for place, file in enumerate(people.files)}
        left, right, folds = protocols.read_pairs(Path(asked.pairs), places)
        pairs = protocols.pairs_of(known.vectors, known.labels, left, right)
    division = protocols.open_set(known, strange, asked.fpir, asked.seed)
    evaluation = FaceEvaluation(
        {
            "body": model.card.name, "model": model.digest, "people": len(people.names), "photos": len(people),
            "seed": asked.seed,
            "notes": [*people.notes, *(strangers.notes if strangers else ())],
            "verification": protocols.verification(pairs, folds, asked.seed),
            "open_set": protocols.open_set_values(division),
        },
        {
            "roc": protocols.roc_curve(pairs), "distances": protocols.histogram(pairs),
            "open_set": protocols.open_set_curve(division),
        },
    )  # fmt: skip
    if asked.out is not None:
        _write_evaluation(Path(asked.out), evaluation)
    return evaluation


def _check_disjoint(model: FaceModel, people: Crowd, strangers: Crowd | None) -> None:
    """Raises UserError where photos were trained on, or a person is on both sides."""
    for option, crowd in (("PEOPLE", people), ("--strangers", strangers)):
        if crowd and (seen := len(model.trained_on & set(crowd.digests))):
            do = "Keep some people apart from the start, for evaluation alone."
            raise UserError(option, f"the model was trained on {counted(seen, 'photo')} of these people.", do=do)
    if strangers and (both := sorted(set(people.names) & set(strangers.names))):
        raise UserError("--strangers", f"there are members among them: {few(both)}.", do="Take them out.")
    if strangers and (shared := len(set(people.digests) & set(strangers.digests))):
        raise UserError("--strangers", f"there are photos of members among them ({shared}).", do="Take them out.")


def _write_evaluation(out: Path, evaluation: FaceEvaluation) -> None:
    from scalesearch.reports.face_figures import distance_figure, evaluation_markdown, open_set_figure, roc_figure
    from scalesearch.reports.figures.formats import rendered

    values, curves = evaluation.values, evaluation.curves
    _write_rows(out / "per_person.csv", values["open_set"]["per_person"])
    write_json(out / "evaluation.json", {**values, "curves": curves})
    for name, figure_of in (("roc", roc_figure), ("distances", distance_figure), ("open_set", open_set_figure)):
        figure = figure_of({"this model": curves[name]})
        write_bytes(out / f"{name}.png", rendered(figure, "png"))
        write_bytes(out / f"{name}.svg", rendered(figure, "svg"))
    write_text(out / "evaluation.md", evaluation_markdown(values))


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_csv(path, [list(rows[0]), *(list(row.values()) for row in rows)])


def _framing(model: FaceModel, crop: bool | None) -> Framing:
    """How faces come off photos for a body; ``crop``: as the body expects if None."""
    detect = detector() if (model.crop if crop is None else crop) else None
    return Framing(model.card.size_px, detect, model.card.template)


def _reader(
    asked: EnrollOptions | FaceEvaluateOptions, model: FaceModel, device: torch.device
) -> Callable[[str | Path, str], Crowd]:
    """(folder, option that gave it) → everybody in it, as the body takes them."""
    framing = _framing(model, asked.crop)

    def chooser(pixels: Pixels, labels: IntArray, photos: IntArray) -> IntArray:
        return most_alike(model.vectors(pixels, device), labels, photos)

    def read(folder: str | Path, option: str) -> Crowd:
        return read_crowd(
            list_people(folder, option), framing, option=option, chooser=chooser if framing.detect else largest,
            skip_broken=asked.skip_broken, progress=asked.reading,
        )  # fmt: skip

    return read
