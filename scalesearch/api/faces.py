"""Faces: an embedding trained, people enrolled and removed, photos named and compared, strangers looked for, and all of
it evaluated."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.api.face_outputs import INDEX, HandedOut, command_of, compact, hand_out, planned, write_index
from scalesearch.api.finetune import require_weights
from scalesearch.api.options import (
    FPIR,
    GALLERY,
    EnrollOptions,
    FaceEvaluateOptions,
    FaceVerifyOptions,
    FitOptions,
    IdentifyOptions,
    MembersOptions,
    RemoveOptions,
    StrangersOptions,
    inherited,
    stated,
    table_file,
    takes,
)
from scalesearch.data.listing import warn
from scalesearch.design.family import named_spec
from scalesearch.design.scaling import PAPER
from scalesearch.design.space import load_space
from scalesearch.errors import UserError, pasted
from scalesearch.faces import FACE, protocols
from scalesearch.faces import gallery as galleries
from scalesearch.faces.album import new_folder
from scalesearch.faces.bodies import open_body
from scalesearch.faces.comparison import (
    PairLimit,
    Verdict,
    check_far,
    fitted_limit,
    known_limit,
    nearest_pair,
    verdict,
)
from scalesearch.faces.detection import detector
from scalesearch.faces.gallery import Gallery, Threshold
from scalesearch.faces.identification import Sighting, box_values, flat, sightings
from scalesearch.faces.model import FaceModel, FloatArray, embedding_set
from scalesearch.faces.objective import ObjectiveSettings, check
from scalesearch.faces.photos import (
    NO_FACE,
    Crowd,
    Framing,
    few,
    largest,
    leave_out,
    list_people,
    read_crowd,
    read_shots,
)
from scalesearch.faces.portrait import sentences
from scalesearch.faces.stranger_set import SURE, StrangerGroup, grouped, not_members, write_groups
from scalesearch.faces.train import Base, FaceData, FaceRecipe, begin, body_base, divide, network_base, train
from scalesearch.files import (
    PRIVATE,
    atomic,
    locked,
    prepare,
    private_files,
    together,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)
from scalesearch.nets.sources import adopted, open_weights
from scalesearch.running.provenance import provenance
from scalesearch.study.config import Strategy, TrainConfig, validate
from scalesearch.training.device import choose_device
from scalesearch.training.evaluation import image_files
from scalesearch.training.history import SILENT, EpochRecord, Watcher
from scalesearch.training.job import MODEL_FILE
from scalesearch.units import counted, show_percent

NETWORK_PX = 112  # side of a face for a network, where none is given


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
    people = list_people(asked.data, "--data", asked.follow_links)
    others = None if asked.strangers is None else list_people(asked.strangers, "--strangers", asked.follow_links)
    crop = asked.model == FACE if asked.crop is None else asked.crop
    device = choose_device(asked.device)
    base = _base(asked, device)
    framing = Framing(base.size_px, detector() if crop else None, base.template)
    config = _config(asked, bool(base.inherits))
    prepare(folder, "--out")
    with locked(folder, "--out"), private_files():  # checkpoints hold what was learnt of people's faces
        read = partial(
            read_crowd, framing=framing, chooser=base.chooser, skip_broken=asked.skip_broken,
            progress=watcher.reading,
        )  # fmt: skip
        crowd = read(people, option="--data")
        strangers = None if others is None else read(others, option="--strangers")
        data = divide(crowd, asked.held_out, asked.seed, strangers)
        recipe = FaceRecipe(config, objective, asked.people, asked.photos, asked.dimensions).sized(data, asked.epochs)
        for line in _introduction(base, crowd, data, people.root):
            watcher.tell(line)
        start = begin(base, data, recipe, folder, device, crop=crop)
        if start.plan is not None:
            share = show_percent(start.plan.coverage, 0)
            watcher.tell(f"Weights from {base.inherits}: {share} of the body's values are inherited")
        metrics = train(
            start, data, recipe, folder, device, watcher, keep=asked.keep, provenance=provenance(str(device))
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


def _base(asked: FitOptions, device: torch.device) -> Base:
    """What the training starts from: the face body, or a network and what it inherits."""
    if asked.model == FACE:
        model = open_body(FACE)
        if asked.resolution not in (None, model.card.size_px) or asked.dimensions != model.dimensions:
            problem = f"the face body makes {model.dimensions} numbers of faces of {model.card.size_px} px."
            raise UserError("--resolution, --dimensions", problem, do="Leave them out, or train another --model.")
        if asked.weights not in (None, "imagenet"):
            raise UserError("--weights", "the face body brings its own.", do="Leave it out, or train another --model.")
        return body_base(model, device)
    spec = named_spec(asked.model, load_space("efficientnet_b0").baseline, PAPER, "budget")
    spec, weights = replace(spec, resolution=asked.resolution or NETWORK_PX), inherited(asked.weights)
    if weights is None:
        return network_base(spec, None)
    source = open_weights(weights, spec, stated(asked))
    if source.assumed:
        warn([f"weights: {source.assumed}"])
    return network_base(adopted(spec, source), source)


def _config(asked: FitOptions, inherits: bool) -> TrainConfig:
    """The loop's settings, but for what depends on how many people there are."""
    usual: Strategy = "head" if asked.model == FACE else "tail" if inherits else "full"
    strategy = usual if asked.strategy == "auto" else asked.strategy
    require_weights(strategy, inherits)
    config = TrainConfig(
        epochs=asked.epochs or 1, batch_size=asked.people * asked.photos, lr=asked.lr, warmup_epochs=0.0,
        label_smoothing=0.0, ema_decay=asked.ema, seed=asked.seed, strategy=strategy, tail_blocks=asked.tail_blocks,
        patience=asked.patience,
        body_lr_ratio=asked.body_lr_ratio if inherits and strategy in ("full", "gradual") else 1.0,
    )  # fmt: skip
    validate(config)
    return config


def _introduction(base: Base, crowd: Crowd, data: FaceData, root: str) -> list[str]:
    held = f", {len(data.held.names)} others held out" if data.held else ""
    judged_by = "not judged: nobody has four photos"
    if data.shown is not None:
        who = f"and {counted(len(data.strangers), 'photo')} of strangers" if data.strangers else "without strangers"
        judged_by = f"judged by {counted(len(data.shown), 'further photo')} of theirs {who}"
    return [
        *(f"Note: {note}" for note in crowd.notes),
        *sentences(crowd, data, root, base.size_px),
        f"{base.name} at {base.size_px} px; {len(data.train)} photos of {len(data.train.names)} people{held}; "
        f"{judged_by}",
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
    crop = _crop(asked.crop, model, _opened(file, model, must_exist=asked.people is None), str(file))
    read = _reader(asked, model, device, crop)
    crowd = None if asked.people is None else read(asked.people, "PEOPLE")
    if asked.without and asked.strangers is None:
        raise UserError("--without", "it leaves out folders of --strangers, which are not given.", do="Give both.")
    without = (asked.without,) if isinstance(asked.without, str) else tuple(asked.without or ())
    strangers = None if asked.strangers is None else read(asked.strangers, "--strangers", without)
    added = embedding_set(model, crowd, device) if crowd else None
    others = embedding_set(model, strangers, device) if strangers else None
    rested, alike = "", list[str]()

    def change() -> Gallery:
        nonlocal rested
        gallery = _opened(file, model, must_exist=asked.people is None)
        gallery = replace(gallery, crop=_crop(crop, model, gallery, str(file)))
        rested = gallery.threshold.basis if gallery.threshold else ""
        alike.clear()
        if crowd and added:
            _check_enrolled(gallery, crowd, added.vectors, "PEOPLE")
            for label, name in enumerate(added.names):
                gallery = galleries.add(gallery, name, added.vectors[added.labels == label])
        if strangers and others:
            if both := sorted(set(strangers.names) & set(gallery.names)):
                raise UserError("--strangers", f"there are members among them: {few(both)}.", do="Take them out.")
            _check_enrolled(gallery, strangers, others.vectors, "--strangers")
            alike.extend(_alike(gallery, model, strangers, others.vectors))
            return galleries.fitted(gallery, asked.fpir, others.vectors, others.labels)
        return galleries.fitted(gallery, asked.fpir) if len(gallery.names) >= 2 else gallery

    gallery = galleries.update(file, change)
    notes = [*(crowd.notes if crowd else ()), *(strangers.notes if strangers else ())]
    notes += _basis_notes(model, gallery, strangers, crowd)
    if alike:
        notes.append(f"as near to a member as photos of one person are, so perhaps members: {few(alike)}")
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


def _alike(gallery: Gallery, model: FaceModel, strangers: Crowd, vectors: FloatArray) -> list[str]:
    """Strangers' photos that hardly can be of somebody else than a member, with whom they are like."""
    if model.card.same_person is None:
        return []
    found = galleries.search(gallery, vectors)
    return [
        f"{strangers.files[row]} ({gallery.names[found.people[row]]}, {found.distances[row]:.3f})"
        for row in np.flatnonzero(found.distances < model.card.same_person / 2).tolist()
    ]


def _basis_notes(model: FaceModel, gallery: Gallery, strangers: Crowd | None, added: Crowd | None) -> list[str]:
    """What makes the threshold worse than it looks."""
    licence = [f"body {model.card.name}: {model.card.licence}"] if model.card.licence else []
    return licence + _threshold_notes(model, gallery, strangers, added)


def _threshold_notes(model: FaceModel, gallery: Gallery, strangers: Crowd | None, added: Crowd | None) -> list[str]:
    if gallery.threshold is None:
        return ["with one member and no --strangers there is nothing to fit a threshold on yet"]
    if strangers is not None:
        return _seen_notes(model, strangers)
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
        copies: what was made of the photos.
    """

    rows: list[dict[str, Any]] = field(repr=False)
    photos: int
    threshold: Threshold
    interval: tuple[float, float]
    copies: HandedOut


@takes(IdentifyOptions)
def identify(asked: IdentifyOptions) -> Identification:
    """Names the members on photos and rejects strangers; writes what is asked for.

    Raises:
        UserError: no such body or gallery, no threshold, no readable photo, or a folder for copies that holds something
            or lies inside the photos'.
    """
    out = table_file(asked.out)
    model, gallery = open_body(asked.body), galleries.load_gallery(Path(asked.gallery))
    galleries.require_model(gallery, model, str(asked.gallery))
    threshold = gallery.threshold
    if not len(gallery):
        do = "Enrol people: scalesearch faces enroll FOLDER"
        raise UserError(str(asked.gallery), "there is nobody in the gallery.", do=do)
    if threshold is None:
        raise UserError(
            str(asked.gallery), "the gallery has no threshold yet.",
            do="Fit it: scalesearch faces enroll --strangers FOLDER (or without strangers, from two members on)",
        )  # fmt: skip
    given, files = _photos(asked)
    outputs = planned(given, asked.annotate, asked.sort_into, asked.page)
    for option, file in (("--out", out), ("--page", outputs.page)):
        if file is not None:
            prepare(file.parent, option)  # not after all photos have been looked at
    device, framing = (
        choose_device(asked.device),
        _framing(model, _crop(asked.crop, model, gallery, str(asked.gallery))),
    )
    found = sightings(model, gallery, files, framing, device, asked.reading)
    seen = [compact(one, crop=asked.page is not None) for one in found]
    plain = [one.sighting for one in seen]
    _check_readable(plain, given)
    rows = [one.to_dict() for one in plain]
    interval = galleries.interval_among(threshold, max(1, sum(not one.error for one in plain)))
    alike = model.card.same_person or threshold.distance
    with nullcontext() if out is None else atomic(out, PRIVATE) as table:  # it says who was where
        if table is not None and table.suffix == ".json":
            write_json(table, rows)
        elif table is not None:
            _write_rows(table, [*map(flat, rows)])
        copies = hand_out(outputs, seen, given, threshold, interval, alike, asked.reading)
    return Identification(rows, len(files), threshold, interval, copies)


def _photos(asked: IdentifyOptions | StrangersOptions) -> tuple[list[str | Path], list[str]]:
    """Files and folders as they were given, and all photos, each once."""
    given = [asked.photos] if isinstance(asked.photos, str | Path) else list(asked.photos)
    return given, list(dict.fromkeys(image_files([str(one) for one in given], asked.follow_links)))


def _check_readable(seen: Sequence[Sighting], given: Sequence[str | Path]) -> None:
    """Raises UserError where no photo can be read."""
    if all(one.error for one in seen) and not any(one.error == NO_FACE for one in seen):
        raise UserError(str(given[0]), f"none of the photos can be read ({seen[0].error}).")


@dataclass(frozen=True, eq=False)
class FaceVerification:
    """Whether two photos show one person.

    Args:
        verdict: "one person", "two people", or "undecided" where no limit is known.
        distance: squared, between their two nearest faces.
        limit: below which it is one person; None where none is known.
        faces: how many each photo has.
        chosen: the two nearest faces, as plain values: photo, which of its faces, box.
        notes: what makes the answer worse than it looks.
    """

    verdict: Verdict
    distance: float
    limit: PairLimit | None
    faces: tuple[int, int]
    chosen: tuple[dict[str, Any], dict[str, Any]]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict, "distance": self.distance, "limit": self.limit.to_dict() if self.limit else None,
            "faces": list(self.faces), "chosen": list(self.chosen), "notes": list(self.notes),
        }  # fmt: skip


@takes(FaceVerifyOptions)
def verify(asked: FaceVerifyOptions) -> FaceVerification:
    """Compares two photos: are they of one person? Of several faces on a photo the two nearest are compared.

    Raises:
        UserError: no such body, a photo that cannot be read or has no face, or strangers of fewer than two people.
    """
    check_far(asked.far)
    model, device = open_body(asked.body), choose_device(asked.device)
    files = [str(asked.a), str(asked.b)]
    for file in files:
        if not Path(file).is_file():
            raise UserError(file, "there is no such photo." if not Path(file).exists() else "this is no photo.")
    shots = read_shots(files, _framing(model, asked.crop))
    if shots.unreadable:
        raise UserError(shots.unreadable[0][0], f"the photo cannot be read ({shots.unreadable[0][1]}).")
    if shots.faceless:
        raise UserError(shots.faceless[0], f"{NO_FACE} on it.", do="Give a photo on which the face is larger.")
    vectors = model.vectors(shots.pixels, device)
    places = [np.flatnonzero(shots.rows == photo) for photo in (0, 1)]
    first, second, distance = nearest_pair(vectors[places[0]], vectors[places[1]])
    limit, notes = known_limit(model.card), []
    if asked.strangers is not None:
        crowd = _reader(asked, model, device, asked.crop)(asked.strangers, "--strangers")
        limit = fitted_limit(embedding_set(model, crowd, device), asked.far)
        notes += [*crowd.notes, *_seen_notes(model, crowd)]
    if np.array_equal(shots.pixels[places[0][first]], shots.pixels[places[1][second]]):
        notes.append("both are the same picture of the face")
    chosen = [
        {"file": file, "face": face + 1, "box": box_values(shots.faces[own[face]])}
        for file, face, own in zip(files, (first, second), places, strict=True)
    ]
    return FaceVerification(
        verdict(distance, limit), distance, limit, (len(places[0]), len(places[1])), (chosen[0], chosen[1]),
        tuple(notes),
    )  # fmt: skip


def _seen_notes(model: FaceModel, strangers: Crowd) -> list[str]:
    seen = len(model.trained_on & set(strangers.digests))
    return [f"{seen} of the strangers' photos were trained on: other strangers will come nearer"] if seen else []


@dataclass(frozen=True, eq=False)
class StrangerSet:
    """A set of strangers that was made of photos.

    Args:
        folder: with a folder for each of ``groups``, and ``index.html``.
        photos: how many were looked at; ``members``: faces left out as a member's.
        limit: squared distance below which a face is taken for a member's.
        basis: what that rests on, and what it means here, a sentence each.
        command: that fits a threshold on those who are no members, before anybody has looked.
        notes: what was left out, a line each.
    """

    folder: Path
    groups: tuple[StrangerGroup, ...] = field(repr=False)
    photos: int
    members: int
    limit: float
    basis: tuple[str, ...]
    command: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder), "photos": self.photos, "members_faces": self.members, "limit": self.limit,
            "groups": [one.to_dict() for one in self.groups], "basis": list(self.basis), "command": self.command,
            "notes": list(self.notes),
        }  # fmt: skip


@takes(StrangersOptions)
def strangers(asked: StrangersOptions) -> StrangerSet:
    """Makes a set of strangers of photos without names: everyone on them who is not enrolled, a folder a person.

    Look at its index.html before ``enroll(strangers=folder)``: a member among them would spoil the threshold.

    Raises:
        UserError: no such body or gallery, nobody enrolled, no limit known, no readable photo, nobody but members on
            them, or a folder that holds something or lies inside the photos'.
    """
    model, gallery = open_body(asked.body), galleries.load_gallery(Path(asked.gallery))
    galleries.require_model(gallery, model, str(asked.gallery))
    limit, basis = _member_limit(model, gallery, str(asked.gallery))
    given, files = _photos(asked)
    folder = new_folder("--out", asked.out, given)
    framing = _framing(model, _crop(asked.crop, model, gallery, str(asked.gallery)))
    found = sightings(model, gallery, files, framing, choose_device(asked.device), asked.reading, limit)
    seen = [compact(one, crop=True) for one in found]
    plain, crops = [one.sighting for one in seen], {id(one.sighting): one.crop for one in seen}
    _check_readable(plain, given)
    strange = not_members(plain, limit)
    faces = sum(not one.error for one in plain)
    if not strange:
        who = f"all {counted(faces, 'face')} on them are members'" if faces else f"{NO_FACE} on them"
        raise UserError(str(given[0]), f"{who}.", do="Give photos on which other people are, too.")
    people = grouped(strange, limit, model.card.same_person or limit)
    usual = "" if Path(asked.gallery) == GALLERY else str(asked.gallery)
    command = command_of(folder, usual, "" if str(asked.body) == FACE else str(asked.body))
    with together(folder, PRIVATE, INDEX) as temporary:
        written = write_groups(temporary, people, plain, framing.detect, asked.reading)
        write_index(temporary, written.groups, crops, given, command, basis)
    notes = []
    if written.lost:
        notes.append(f"{counted(written.lost, 'face')} left out, which would not be found again on a crop")
    if left := [one.folder for one in written.groups if one.doubtful]:
        command += f" {pasted('--without', ','.join(left))}"
    return StrangerSet(
        folder, written.groups, len(files), faces - len(strange), limit, tuple(basis), command, tuple(notes)
    )  # fmt: skip


def _member_limit(model: FaceModel, gallery: Gallery, where: str) -> tuple[float, list[str]]:
    """From which distance on somebody is no member as far as is known yet, and what that rests on, in sentences.

    Raises UserError where nothing is known.
    """
    threshold = gallery.threshold
    if threshold is not None:
        limit = threshold.distance
        rests = "the gallery's threshold, fitted on strangers"
        if threshold.basis == "members":
            rests = "the gallery's threshold, which rests on its members alone so far"
    elif model.card.same_person is not None:
        limit = model.card.same_person
        rests = "the limit of the body for two photos of one person; the gallery has no threshold yet"
    else:
        raise UserError(
            where, "the gallery has no threshold yet, and of its body no limit is known.",
            do="Enrol a second person: scalesearch faces enroll FOLDER",
        )  # fmt: skip
    return limit, [
        f"Limit: {limit:.3f} (squared distance), {rests}.",
        f"Faces nearer to a member than {SURE * limit:.3f} were left out as that member's; those from there to the "
        "limit are in doubt.",
        "Tick those in doubt who are not members: fitted without the strangers who come near, a threshold lets in more "
        "of them than it says. A member among the strangers makes it stricter than it need be.",
        "Where a group holds two people, delete the photos of one of them from its folder.",
    ]


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
    read = _reader(asked, model, device, asked.crop)
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
    with together(out, last="evaluation.md") as folder:
        _write_rows(folder / "per_person.csv", values["open_set"]["per_person"])
        write_json(folder / "evaluation.json", {**values, "curves": curves})
        for name, figure_of in (("roc", roc_figure), ("distances", distance_figure), ("open_set", open_set_figure)):
            figure = figure_of({"this model": curves[name]})
            write_bytes(folder / f"{name}.png", rendered(figure, "png"))
            write_bytes(folder / f"{name}.svg", rendered(figure, "svg"))
        write_text(folder / "evaluation.md", evaluation_markdown(values))


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_csv(path, [list(rows[0]), *(list(row.values()) for row in rows)])


def _crop(asked: bool | None, model: FaceModel, gallery: Gallery, where: str) -> bool:
    """Whether faces are cut out: as they were for the gallery, else as asked, else as the body expects.

    Raises UserError where the gallery's were not as asked: distances between the two mean nothing.
    """
    if asked is not None and gallery.crop is not None and asked != gallery.crop:
        made = "with --crop" if gallery.crop else "with --no-crop"
        do = "Leave the option out, or enrol everybody again into a new --gallery."
        raise UserError(where, f"the gallery was made {made}.", do=do)
    known = gallery.crop if asked is None else asked
    return model.crop if known is None else known


def _framing(model: FaceModel, crop: bool | None) -> Framing:
    """How faces come off photos for a body; ``crop``: as the body expects if None."""
    detect = detector() if (model.crop if crop is None else crop) else None
    return Framing(model.card.size_px, detect, model.card.template)


def _reader(
    asked: EnrollOptions | FaceEvaluateOptions | FaceVerifyOptions, model: FaceModel, device: torch.device,
    crop: bool | None,
) -> Callable[..., Crowd]:  # fmt: skip
    """(folder, option that gave it, names to leave out) → everybody in it, as the body takes them."""
    framing = _framing(model, crop)
    chooser = model.chooser(device) if framing.detect else largest

    def read(folder: str | Path, option: str, without: Sequence[str] = ()) -> Crowd:
        people = list_people(folder, option, asked.follow_links)
        return read_crowd(
            leave_out(people, without, option) if without else people, framing, option=option, chooser=chooser,
            skip_broken=asked.skip_broken, progress=asked.reading,
        )  # fmt: skip

    return read
