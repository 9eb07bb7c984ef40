"""The commands that keep a gallery: who is in, who comes, who goes, and the threshold."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalesearch.cli.faces_options import (
    FOLDER,
    CropOption,
    FpirOption,
    GalleryOption,
    ModelOption,
    StrangersOption,
    model_and_gallery,
    open_detector,
    read_photos,
    threshold_lines,
    vectors_of,
)
from scalesearch.cli.options import DeviceOption, JsonOption, SkipOption
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.faces.gallery import Gallery
    from scalesearch.faces.model_file import FaceModel
    from scalesearch.faces.network import FloatArray
    from scalesearch.faces.photos import Crowd


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
    from scalesearch.cli.shell import Bar, interruptible, print_json, say
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
        detect = open_detector(known.crop if crop is None else crop)
        if people is not None:
            crowd = read_photos(people, "PEOPLE", known, detect, skip_broken, bar)
            vectors = vectors_of(known, crowd, where).vectors
            _check_enrolled(members, crowd, vectors, "PEOPLE")
            for label, name in enumerate(crowd.names):
                members = add(members, name, vectors[crowd.labels == label])
            added, trained_on = crowd.names, len(known.trained_on & set(crowd.digests))
            notes += crowd.notes
        if strangers is not None:
            others = read_photos(strangers, "--strangers", known, detect, skip_broken, bar)
            _check_strangers(members, others)
            found = vectors_of(known, others, where)
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
        for line in threshold_lines(threshold):
            say(line)
        say(f"Next: scalesearch faces identify PHOTOS{model_and_gallery(model, gallery)}")


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


def list_members(gallery: GalleryOption = FOLDER / "gallery.safetensors", json: JsonOption = False) -> None:
    """Show who is enrolled, and the threshold."""
    import numpy as np

    from scalesearch.cli.shell import print_json, print_table, say
    from scalesearch.faces.gallery import load_gallery

    members = load_gallery(gallery)
    counts = np.bincount(members.labels, minlength=len(members.names)).tolist()
    people = dict(zip(members.names, counts, strict=True))
    threshold = members.threshold
    if json:
        print_json({"people": people, "model": members.model, "threshold": threshold.to_dict() if threshold else None})
        return
    print_table(str(gallery), ("name", "photos"), [[name, str(count)] for name, count in people.items()])
    for line in threshold_lines(threshold) if threshold else ["No threshold yet: scalesearch faces enroll"]:
        say(line)


def remove(
    name: Annotated[list[str], typer.Argument(help="Who is to be taken out.")],
    gallery: GalleryOption = FOLDER / "gallery.safetensors",
    json: JsonOption = False,
) -> None:
    """Delete people from the gallery: their names and all their embeddings.

    A threshold that was fitted on strangers stays: without these people nobody else comes nearer. One that rests on the
    members is fitted anew on those who stay.
    """
    from scalesearch.cli.shell import print_json, say
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
    for line in threshold_lines(members.threshold) if members.threshold else []:
        say(line)
