"""What the commands on faces share: their options, and how they read photos and say thresholds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalesearch.cli.options import DATA

if TYPE_CHECKING:
    from scalesearch.cli.shell import Bar
    from scalesearch.faces.detect import Detector
    from scalesearch.faces.evaluate import Embedded
    from scalesearch.faces.model_file import FaceModel
    from scalesearch.faces.photos import Crowd
    from scalesearch.faces.threshold import Threshold


FOLDER = Path("runs/faces")
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


def model_option(model: Path) -> str:
    return "" if model == FOLDER / "model.safetensors" else f" --model {model}"


def model_and_gallery(model: Path, gallery: Path) -> str:
    named = "" if gallery == FOLDER / "gallery.safetensors" else f" --gallery {gallery}"
    return model_option(model) + named


def threshold_lines(found: "Threshold") -> list[str]:
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


def open_detector(crop: bool) -> "Detector | None":
    from scalesearch.faces.detect import detector

    return detector() if crop else None


def read_photos(
    folder: str, option: str, model: "FaceModel", detect: "Detector | None", skip_broken: bool, bar: "Bar"
) -> "Crowd":
    from scalesearch.faces.people import list_people
    from scalesearch.faces.photos import read_crowd

    size = model.network.spec.resolution
    return read_crowd(
        list_people(folder, option), size, detect, option=option, skip_broken=skip_broken, progress=bar.reading
    )


def vectors_of(model: "FaceModel", crowd: "Crowd", device: str) -> "Embedded":
    import torch

    from scalesearch.faces.evaluate import Embedded
    from scalesearch.faces.network import embed

    vectors = embed(model.network, crowd.pixels, model.statistics, torch.device(device))
    return Embedded(crowd.names, crowd.labels, vectors)
