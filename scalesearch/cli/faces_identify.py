"""The command that names members on photos."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalesearch.cli.faces_options import FOLDER, CropOption, GalleryOption, ModelOption, open_detector
from scalesearch.cli.options import DeviceOption, JsonOption
from scalesearch.errors import UserError

SHOWN = 20


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
    from scalesearch.cli.shell import Bar, interruptible, print_json, print_table, say
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
        detect = open_detector(known.crop if crop is None else crop)
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
